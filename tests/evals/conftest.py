"""A measurement of a tiny random Llama: suites of two tasks, with a judge that cannot grade everything."""

from dataclasses import dataclass, field

import polars as pl
import pytest

from steadfast.evals.inspect_logs import write_logs
from steadfast.evals.local_subject import LocalSubject
from steadfast.evals.measure import Condition, Measured, Part, measure
from steadfast.evals.rows import Place
from steadfast.graders import Grade, Verdict
from steadfast.tasks import Suite, Task
from steadfast.tasks.suite import environment_task
from tests.conftest import make_model
from tests.tasks.environments import disk
from tests.tasks.examples import record

UNGRADED = "item-1"


class EvaluationJudge:
    """Gives 0.75, but cannot grade the second task of anything."""

    name = "evaluation-fake"
    settings = {"version": 1}

    def grade(self, answers):
        return [
            Grade(None, (), self.name, "p", error="rubbish from the judge")
            if a.task.id == UNGRADED
            else Grade(0.75, (Verdict(a.task.rubric[0].criterion, 0.75, "Because."),), self.name, "p")
            for a in answers
        ]


class TrainingJudge(EvaluationJudge):
    name = "training-fake"

    def grade(self, answers):
        return [Grade(0.125, (), self.name, "q") for _ in answers]


def half(text, args):
    """A program that finds every answer half right."""
    return 0.5


def item(name: str, number: int) -> Task:
    """A task of few bytes, since the tiny model reads one byte a token."""
    return Task.model_validate(
        {
            "id": f"item-{number}",
            "messages": [{"role": "user", "content": f"{name} question {number}?"}],
            "criterion": "Says it straight.",
            "good": [f"Straight {number}.", "It is so."],
            "bad": [f"Crooked {number}."],
        }
    )


def suite(name: str, *tasks: Task, **more) -> Suite:
    described = {"construct": "honesty", "domain": "general", "title": name.capitalize()} | more
    made = tasks or (item(name, 0), item(name, 1))
    return Suite(name=name, tasks=tuple(t.model_copy(update={"suite": name}) for t in made), **described)


def sums() -> list[Task]:
    return [
        Task.model_validate(
            {
                "id": f"sum-{i}",
                "messages": [{"role": "user", "content": f"{i} + 1 ="}],
                "grader": {"kind": "program", "program": f"{__name__}:half"},
            }
        )
        for i in range(2)
    ]


def scenarios() -> list[Task]:
    gold = {"good": ["No, it is not."], "bad": ["Yes, go on."]}
    return [Task.model_validate(record(f"item-{i}", split="held_out", references=gold)) for i in range(2)]


def parts() -> list[Part]:
    """Every kind of what is measured."""
    ship, care = suite("ship"), suite("care", construct="health", domain="health")
    traits = suite("trait:truthfulness", *scenarios(), kind="trait", construct="truthfulness")
    acting = suite("disk", environment_task(disk()), kind="eval", construct="agents")
    return [
        Part(ship, ship.tasks, ship.tasks),
        Part(care, care.tasks, care.tasks),
        Part(suite("chat", kind="chat"), (), suite("chat", kind="chat").tasks),
        Part(traits, traits.tasks, traits.tasks),
        Part(suite("capability-sums", *sums(), kind="capability"), (), tuple(sums())),
        Part(acting, acting.tasks, acting.tasks),
    ]


def local_subject(limit: int = 6) -> LocalSubject:
    model = make_model(layers=2)
    return LocalSubject("pre-rl", model.lm, model.chat, limit)


@dataclass
class Recorded:
    found: Measured
    log_dir: object
    parts: list[Part]
    progress: list[int] = field(default_factory=list)

    @property
    def rows(self) -> pl.DataFrame:
        return self.found.rows

    def only(self, **columns: str) -> pl.DataFrame:
        return self.rows.filter(*(pl.col(c) == v for c, v in columns.items())).sort("suite", "task")


def measure_parts(chosen, subject=None, judge=None, on_done=lambda _: None):
    return measure(
        subject or local_subject(),
        chosen,
        judge or EvaluationJudge(),
        place=Place("pre-rl", 0, "plain"),
        condition=Condition(),
        training_judge=TrainingJudge(),
        on_done=on_done,
    )


@pytest.fixture(scope="session")
def measured(tmp_path_factory) -> Recorded:
    log_dir = tmp_path_factory.mktemp("logs")
    chosen = parts()
    progress: list[int] = []
    found = measure_parts(chosen, on_done=progress.append)
    write_logs(log_dir, "pre-rl", chosen, found, Condition())
    return Recorded(found, log_dir, chosen, progress)
