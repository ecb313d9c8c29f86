"""Measure one checkpoint: the battery, the held-out traits, capability and everyday chat; one row an item."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import polars as pl
from inspect_ai import Task
from inspect_ai import eval as inspect_eval

from steadfast.evals.acting import acting_task
from steadfast.evals.local_model import ChoiceRequest, local_model
from steadfast.evals.results import Plan, plan_rows
from steadfast.evals.schema import RESULT_SCHEMA
from steadfast.evals.tasks import choice_request, choice_task, generation_task, grading_scenario
from steadfast.graders.grade import Answer, Grade, Judge
from steadfast.messages import Message
from steadfast.models.pretrained import LoadedModel
from steadfast.models.scoring import LowerLayers
from steadfast.tasks.battery import Eval, EvalItem
from steadfast.tasks.environment import Environment
from steadfast.tasks.programs.item import TaskItem
from steadfast.tasks.scenario import GoldPair, Scenario

__all__ = ["Measurement", "Reply", "build_plans", "evaluate"]


@dataclass(frozen=True)
class Measurement:
    """What is measured on every checkpoint of a run.

    Attributes:
        evals: of the battery, with their items.
        choice: score the battery's and the traits' replies by likelihood, or by letters for a model that shows none.
        generated: items of the battery that are also answered freely, or acted in, by eval.
        chat: harmless everyday requests, answered freely.
        scenarios: held-out scenarios, answered freely.
        gold: gold pairs by scenario, for `choice` scoring of the held-out ones.
        capability: held-out standard items by task.
        judge: grades free answers; never the one that trained.
        style: the instruction on form that training used.
        max_new_tokens: limit of free answers.
        training_judge: its score of the held-out traits is kept beside the evaluation judge's, to show the gap.
        answer_scenarios: False leaves the held-out scenarios to `choice` scoring alone.
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
    answer_scenarios: bool = True

    @property
    def requests(self) -> int:
        """Likelihood requests, answers and episodes it takes, for progress."""
        return len(self.choices()) + len(self.conversations()) + len(self.environments())

    def choices(self) -> list[ChoiceRequest]:
        """Every likelihood request, in order."""
        if not self.choice:
            return []
        items = [item for _, members in self.evals.values() for item in members]
        return [choice_request(i) for i in [*items, *(i for _, i in self.trait_items())]]

    def conversations(self) -> list[tuple[Message, ...]]:
        """Every conversation to answer freely, in order."""
        chat = self.chat[1] if self.chat else []
        judged = [name for name in self.generated if self.evals[name][0].format == "replies"]
        generated = [item for name in judged for item in self.generated[name]]
        capability = [item for members in self.capability.values() for item in members]
        scenarios = self.scenarios if self.answer_scenarios else ()
        return [i.messages for i in [*generated, *chat, *scenarios, *capability]]

    def environments(self) -> list[Environment]:
        """Every environment to act in, in order."""
        return [e for name in self.generated for e in self.acted(name)]

    def acted(self, name: str) -> list[Environment]:
        """The environments of an eval to act in."""
        environments = self.evals[name][0].environments()
        return [environments[item.id] for item in self.generated.get(name, ()) if item.id in environments]

    def trait_items(self) -> list[tuple[Scenario, EvalItem]]:
        """Held-out scenarios with gold answers, as items of likelihood scoring."""
        return [(s, _gold_item(s, self.gold[s.id])) for s in self.scenarios if s.id in self.gold]


def evaluate(
    checkpoint: str,
    model: LoadedModel,
    measurement: Measurement,
    log_dir: Path,
    on_done: Callable[[int], None] = lambda _: None,
    lower_layers: LowerLayers | None = None,
) -> pl.DataFrame:
    """Measure a checkpoint; Inspect's logs go to `log_dir`, the rows are returned.

    Args:
        checkpoint: its name in the results.
        model: with its adapter merged in.
        measurement: what to measure.
        log_dir: of this checkpoint.
        on_done: told the number of requests done since the last call.
        lower_layers: shared with the other checkpoints of the run.

    Raises:
        EvaluationError: an Inspect task did not finish; its log, whose place is named, says why.
    """
    inspect_model, api = local_model(
        f"steadfast/{checkpoint}",
        model.lm,
        model.tokenizer,
        style=measurement.style,
        max_new_tokens=measurement.max_new_tokens,
        lower_layers=lower_layers,
    )
    api.prepare(measurement.conversations(), measurement.choices(), on_done)
    api.prepare_episodes(measurement.environments(), on_done)
    plans = build_plans(measurement, lambda messages: Reply(*api.answer(messages)), choice_task, acting_task)
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
    rows = [row for plan in plans for row in plan_rows(checkpoint, plan, by_task[plan.task.name])]
    return pl.DataFrame(rows, schema=RESULT_SCHEMA)


class Reply(NamedTuple):
    """A model's answer, whether it ended within the limit, and why there is none."""

    text: str
    finished: bool
    error: str | None = None


Ask = Callable[[Sequence[Message]], Reply]
ChoiceTask = Callable[[Eval, Sequence[EvalItem]], Task]
ActingTask = Callable[[Eval, Sequence[Environment]], Task]


def build_plans(measurement: Measurement, ask: Ask, choice: ChoiceTask, act: ActingTask) -> list[Plan]:
    """The Inspect tasks of a measurement, its free answers graded.

    Args:
        measurement: what to measure.
        ask: the model's answer to a conversation, made before.
        choice: makes the task of `choice` scoring for an eval and its items.
        act: makes the task of acting in an eval's environments.
    """
    return [*_battery_plans(measurement, ask, choice, act), *_other_plans(measurement, ask, choice)]


def _battery_plans(m: Measurement, ask: Ask, choice: ChoiceTask, act: ActingTask) -> list[Plan]:
    plans: list[Plan] = []
    for name, (evaluation, items) in m.evals.items():
        if m.choice:
            plans.append(Plan(choice(evaluation, items), "battery", evaluation, "choice"))
        if environments := m.acted(name):
            plans.append(Plan(act(evaluation, environments), "battery", evaluation, "generation"))
        elif generated := m.generated.get(name):
            plans.append(_generation_plan("battery", evaluation, generated, m.judge, ask))
    if m.chat is not None:
        plans.append(_generation_plan("chat", m.chat[0], m.chat[1], m.judge, ask))
    return plans


def _generation_plan(kind: str, evaluation: Eval, items: Sequence[EvalItem], judge: Judge, ask: Ask) -> Plan:
    if kind == "chat":
        evaluation = replace(evaluation, name=f"chat-{evaluation.name}")
    grades = _graded(judge, [(grading_scenario(evaluation, i), ask(i.messages)) for i in items])
    return Plan(generation_task(evaluation, items, grades), kind, evaluation, "generation")


def _other_plans(m: Measurement, ask: Ask, choice: ChoiceTask) -> list[Plan]:
    plans: list[Plan] = []
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
            plans.append(Plan(choice(held_out, items), "trait", held_out, "choice", where))
        if m.answer_scenarios:
            items = [_bare_item(s.id, s.messages) for s in m.scenarios]
            task = generation_task(held_out, items, _trait_grades(m, ask))
            plans.append(Plan(task, "trait", held_out, "generation", where))
    for task, items in m.capability.items():
        evaluation = Eval(
            name=f"capability-{task}",
            title=f"Capability: {task}",
            construct="capability",
            domain="general",
            measures="Held-out items of a standard training task; the alignment tax.",
        )
        grades = {i.id: _verified(i, ask(i.messages)) for i in items}
        bare = [_bare_item(i.id, i.messages) for i in items]
        plans.append(Plan(generation_task(evaluation, bare, grades), "capability", evaluation, "verified"))
    return plans


def _trait_grades(m: Measurement, ask: Ask) -> dict[str, Grade]:
    replies = [(s, ask(s.messages)) for s in m.scenarios]
    graded = _graded(m.judge, replies)
    if m.training_judge is None:
        return graded
    trained = _graded(m.training_judge, replies)
    return {
        scenario: replace(g, detail={**g.detail, "training_judge": t.judge, "training_judge_score": t.score})
        for (scenario, g), t in zip(graded.items(), trained.values(), strict=True)
    }


def _graded(judge: Judge, replies: Sequence[tuple[Scenario, Reply]]) -> dict[str, Grade]:
    """Grades by scenario; a model that did not answer was not graded."""
    answers = [Answer(scenario, reply.text, reply.finished) for scenario, reply in replies if reply.error is None]
    grades = iter(judge.grade(answers))
    return {s.id: next(grades) if r.error is None else _unanswered(r) for s, r in replies}


def _unanswered(reply: Reply) -> Grade:
    return Grade(None, (), "none", "", error=f"the model gave no answer: {reply.error}")


def _verified(item: TaskItem, reply: Reply) -> Grade:
    if reply.error is not None:
        return _unanswered(reply)
    score = item.score(reply.text) if reply.finished else 0.0
    return Grade(score, (), "program", item.task, gate=None if reply.finished else "truncated")


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
