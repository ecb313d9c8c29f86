"""Measure one checkpoint: the battery, the held-out traits, capability and everyday chat; one row an item."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog

from steadfast.corpus.scenario import GoldPair, Scenario
from steadfast.evals.battery import Eval, EvalItem
from steadfast.evals.local_model import ChoiceRequest, local_model
from steadfast.evals.refusal import is_refusal
from steadfast.evals.tasks import choice_request, choice_task, generation_task, grading_scenario
from steadfast.judges.types import Answer, Grade, Judge
from steadfast.messages import Message
from steadfast.models.pretrained import LoadedModel
from steadfast.tasks.item import TaskItem

RESULT_SCHEMA = {
    "checkpoint": pl.String,
    "kind": pl.String,
    "eval": pl.String,
    "construct": pl.String,
    "domain": pl.String,
    "source": pl.String,
    "scoring": pl.String,
    "item": pl.String,
    "score": pl.Float64,
    "answer": pl.String,
    "finished": pl.Boolean,
    "refused": pl.Boolean,
    "detail": pl.String,
}
"""Columns of results.parquet. `kind`: "battery", "trait", "capability" or "chat". `score` is null if ungraded."""


@dataclass(frozen=True)
class Measurement:
    """What is measured on every checkpoint of a run.

    Attributes:
        evals: of the battery, with their items.
        choice: score the battery's and the traits' replies by likelihood.
        generated: items of the battery that are also answered freely, by eval.
        chat: harmless everyday requests, answered freely.
        scenarios: held-out scenarios, answered freely.
        gold: gold pairs of held-out scenarios, for likelihoods.
        capability: held-out standard items by task.
        judge: grades free answers; never the one that trained.
        style: the instruction on form that training used.
        max_new_tokens: limit of free answers.
        training_judge: its score of the held-out traits is kept beside the evaluation judge's, to show the gap.
    """

    evals: Mapping[str, tuple[Eval, list[EvalItem]]]
    choice: bool
    generated: Mapping[str, list[EvalItem]]
    chat: tuple[Eval, list[EvalItem]] | None
    scenarios: Sequence[Scenario]
    gold: Mapping[str, GoldPair]
    capability: Mapping[str, list[TaskItem]]
    judge: Judge
    style: str | None
    max_new_tokens: int
    training_judge: Judge | None = None

    @property
    def requests(self) -> int:
        """Likelihood requests and answers it takes, for progress."""
        return len(self.choices()) + len(self.conversations())

    def choices(self) -> list[ChoiceRequest]:
        """Every likelihood request, in order."""
        if not self.choice:
            return []
        items = [item for _, members in self.evals.values() for item in members]
        return [choice_request(i) for i in [*items, *(i for _, i in self.trait_items())]]

    def conversations(self) -> list[tuple[Message, ...]]:
        """Every conversation to answer freely, in order."""
        chat = self.chat[1] if self.chat else []
        generated = [item for members in self.generated.values() for item in members]
        capability = [item for members in self.capability.values() for item in members]
        return [i.messages for i in [*generated, *chat, *self.scenarios, *capability]]

    def trait_items(self) -> list[tuple[Scenario, EvalItem]]:
        """Held-out scenarios with gold answers, as items of likelihood scoring."""
        return [(s, _gold_item(s, self.gold[s.id])) for s in self.scenarios if s.id in self.gold]


def evaluate(
    checkpoint: str,
    model: LoadedModel,
    measurement: Measurement,
    log_dir: Path,
    on_done: Callable[[int], None] = lambda _: None,
) -> pl.DataFrame:
    """Measure a checkpoint; Inspect's logs go to `log_dir`, the rows are returned.

    Args:
        checkpoint: its name in the results.
        model: with its adapter merged in.
        measurement: what to measure.
        log_dir: of this checkpoint.
        on_done: told the number of requests done since the last call.

    Raises:
        RuntimeError: an Inspect task did not finish; its log says why.
    """
    inspect_model, api = local_model(
        f"steadfast/{checkpoint}",
        model.lm,
        model.tokenizer,
        style=measurement.style,
        max_new_tokens=measurement.max_new_tokens,
    )
    api.prepare(measurement.conversations(), measurement.choices(), on_done)
    plans = [*_battery_plans(measurement, api.answer), *_other_plans(measurement, api.answer)]
    logs = inspect_eval(
        [plan.task for plan in plans],
        model=inspect_model,
        log_dir=str(log_dir),
        display="none",
        max_tasks=4,
        log_realtime=False,
        score_display=False,
    )
    by_task = {str(log.eval.task): log for log in logs}
    rows = [row for plan in plans for row in _rows(checkpoint, plan, by_task[plan.task.name])]
    return pl.DataFrame(rows, schema=RESULT_SCHEMA)


Ask = Callable[[Sequence[Message]], tuple[str, bool]]


@dataclass(frozen=True)
class _Plan:
    task: Task
    kind: str
    evaluation: Eval
    scoring: str
    constructs: Mapping[str, tuple[str, str, str]] = field(default_factory=dict[str, tuple[str, str, str]])
    """For items that stand for an eval of their own: (eval, construct, domain) by item."""


def _battery_plans(m: Measurement, ask: Ask) -> list[_Plan]:
    plans: list[_Plan] = []
    for name, (evaluation, items) in m.evals.items():
        if m.choice:
            plans.append(_Plan(choice_task(evaluation, items), "battery", evaluation, "choice"))
        if generated := m.generated.get(name):
            plans.append(_generation_plan("battery", evaluation, generated, m.judge, ask))
    if m.chat is not None:
        plans.append(_generation_plan("chat", m.chat[0], m.chat[1], m.judge, ask))
    return plans


def _generation_plan(kind: str, evaluation: Eval, items: Sequence[EvalItem], judge: Judge, ask: Ask) -> _Plan:
    if kind == "chat":
        evaluation = replace(evaluation, name=f"chat-{evaluation.name}")
    answers = [Answer(grading_scenario(evaluation, i), *ask(i.messages)) for i in items]
    grades = dict(zip((i.id for i in items), judge.grade(answers), strict=True))
    return _Plan(generation_task(evaluation, items, grades), kind, evaluation, "generation")


def _other_plans(m: Measurement, ask: Ask) -> list[_Plan]:
    plans: list[_Plan] = []
    if m.scenarios:
        held_out = Eval(
            name="held-out-traits",
            title="Held-out trait evaluation",
            construct="trait",
            domain="all",
            measures="Whether answers to scenarios that training never saw meet their rubrics.",
        )
        where = {s.id: (f"trait:{s.trait}", s.trait, s.domain) for s in m.scenarios}
        if m.choice and m.trait_items():
            items = [item for _, item in m.trait_items()]
            plans.append(_Plan(choice_task(held_out, items), "trait", held_out, "choice", where))
        answers = [Answer(s, *ask(s.messages)) for s in m.scenarios]
        graded = m.judge.grade(answers)
        if m.training_judge is not None:
            trained = m.training_judge.grade(answers)
            graded = [
                replace(g, detail={"training_judge": t.judge, "training_judge_score": t.score})
                for g, t in zip(graded, trained, strict=True)
            ]
        grades = dict(zip(where, graded, strict=True))
        items = [_bare_item(s.id, s.messages) for s in m.scenarios]
        plans.append(_Plan(generation_task(held_out, items, grades), "trait", held_out, "generation", where))
    for task, items in m.capability.items():
        evaluation = Eval(
            name=f"capability-{task}",
            title=f"Capability: {task}",
            construct="capability",
            domain="general",
            measures="Held-out items of a standard training task; the alignment tax.",
        )
        grades = {i.id: _verified(i, *ask(i.messages)) for i in items}
        bare = [_bare_item(i.id, i.messages) for i in items]
        plans.append(_Plan(generation_task(evaluation, bare, grades), "capability", evaluation, "verified"))
    return plans


def _verified(item: TaskItem, text: str, finished: bool) -> Grade:
    score = item.score(text) if finished else 0.0
    return Grade(score, (), "program", item.task, gate=None if finished else "truncated")


def _bare_item(identifier: str, messages: tuple[Message, ...]) -> EvalItem:
    return EvalItem.model_construct(id=identifier, messages=messages, criterion="", good=("",), bad=())


def _gold_item(scenario: Scenario, pair: GoldPair) -> EvalItem:
    return EvalItem(
        id=scenario.id,
        messages=scenario.messages,
        criterion=scenario.trait,
        good=(pair.good,),
        bad=(pair.bad,),
    )


def _rows(checkpoint: str, plan: _Plan, log: EvalLog) -> list[dict[str, Any]]:
    if log.status != "success" or log.samples is None:
        reason = log.error.message if log.error else log.status
        raise RuntimeError(f"eval {plan.task.name} on {checkpoint} did not finish: {reason}; see {log.location}")
    rows: list[dict[str, Any]] = []
    for sample in log.samples:
        item = str(sample.id)
        score = next(iter((sample.scores or {}).values()))
        value = score.as_float()
        name, construct, domain = plan.constructs.get(
            item, (plan.evaluation.name, plan.evaluation.construct, plan.evaluation.domain)
        )
        answer = score.answer if plan.scoring != "choice" else None
        metadata = score.metadata or {}
        rows.append(
            {
                "checkpoint": checkpoint,
                "kind": plan.kind,
                "eval": name,
                "construct": construct,
                "domain": domain,
                "source": plan.evaluation.source,
                "scoring": plan.scoring,
                "item": item,
                "score": None if value != value else value,
                "answer": answer,
                "finished": metadata.get("finished"),
                "refused": None if answer is None else is_refusal(answer),
                "detail": json.dumps(metadata, ensure_ascii=False),
            }
        )
    return rows
