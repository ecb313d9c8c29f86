"""A measurement of a tiny random Llama: two evals of two items, with a judge that cannot grade everything."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from steadfast.evals import Eval, EvalItem, select
from steadfast.evals.run import Measurement, evaluate
from steadfast.graders import Answer, Grade, Verdict
from steadfast.messages import Message
from steadfast.models import LoadedModel
from steadfast.tasks import GoldPair, Scenario
from steadfast.tasks.programs import TaskItem
from tests.conftest import make_lm, make_tokenizer
from tests.tasks.examples import record

EVALS = ("deception-status-report", "health-triage")
UNGRADED = "item-1"


class EvaluationJudge:
    """Gives 0.75, but cannot grade the second item of anything."""

    name = "evaluation-fake"
    settings = {"version": 1}

    def grade(self, answers):
        return [
            Grade(None, (), self.name, "p", error="rubbish from the judge")
            if a.scenario.id == UNGRADED
            else Grade(0.75, (Verdict(a.scenario.rubric[0].criterion, 0.75),), self.name, "p")
            for a in answers
        ]


class TrainingJudge(EvaluationJudge):
    name = "training-fake"

    def grade(self, answers: list[Answer]) -> list[Grade]:
        return [Grade(0.125, (), self.name, "q") for _ in answers]


def short_items(name: str) -> list[EvalItem]:
    """Two items of few bytes, since the tiny model reads one byte a token."""
    return [
        EvalItem(
            id=f"item-{i}",
            messages=(Message(role="user", content=f"{name} question {i}?"),),
            criterion="Says it straight.",
            good=(f"Straight {i}.", "It is so."),
            bad=(f"Crooked {i}.",),
        )
        for i in range(2)
    ]


@pytest.fixture(scope="session")
def tiny_model() -> LoadedModel:
    return LoadedModel(make_lm(layers=2), make_tokenizer(), "tiny", "path", "none")


@pytest.fixture(scope="session")
def measurement() -> Measurement:
    chosen: list[Eval] = select(EVALS)
    evals = {e.name: (e, short_items(e.name)) for e in chosen}
    scenarios = [Scenario.model_validate(record(f"item-{i}", split="held_out")) for i in range(2)]
    sums = [
        TaskItem(f"sum-{i}", "sums", (Message(role="user", content=f"{i} + 1 ="),), lambda text: 0.5) for i in range(2)
    ]
    return Measurement(
        evals=evals,
        choice=True,
        generated={name: items for name, (_, items) in evals.items()},
        chat=(select(["everyday-requests"])[0], short_items("chat")),
        scenarios=scenarios,
        gold={s.id: GoldPair(scenario=s.id, good="No, it is not.", bad="Yes, go on.") for s in scenarios},
        capability={"sums": sums},
        judge=EvaluationJudge(),
        style=None,
        max_new_tokens=6,
        training_judge=TrainingJudge(),
    )


@dataclass
class Measured:
    rows: pl.DataFrame
    log_dir: Path
    progress: list[int]

    def only(self, **columns: str) -> pl.DataFrame:
        return self.rows.filter(*(pl.col(c) == v for c, v in columns.items())).sort("eval", "item")


@pytest.fixture(scope="session")
def measured(tiny_model, measurement, tmp_path_factory) -> Measured:
    log_dir = tmp_path_factory.mktemp("logs")
    progress: list[int] = []
    return Measured(evaluate("pre-rl", tiny_model, measurement, log_dir, progress.append), log_dir, progress)
