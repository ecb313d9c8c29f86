"""What a grader gives, and what a judge is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl

from steadfast.errors import DataError
from steadfast.messages import printable
from steadfast.rollouts import Rollout
from steadfast.tasks.task import Task

VERDICTS = pl.List(pl.Struct({"criterion": pl.String, "score": pl.Float64, "reason": pl.String}))
"""The verdicts of a grade as a column of a table."""


@dataclass(frozen=True)
class Verdict:
    """How far an answer meets one criterion, in [0, 1]; for a pitfall, how far it falls into it."""

    criterion: str
    score: float
    reason: str | None = None


@dataclass(frozen=True)
class Grade:
    """A judge's grade of one answer.

    Attributes:
        score: in [0, 1]; None where the judge could not grade, which is not the same as zero.
        verdicts: one a criterion, in the rubric's order; empty where a gate decided or nothing was graded.
        judge: its name.
        protocol: hash of all that decides the grade besides the answer (see `protocol_hash`).
        gate: "empty", "truncated", "looping", "copied" or, of the embedded judges, "overlong", where the text earned
            nothing before any rubric was read.
        error: why there is no score.
        out_of_budget: the error is that the judge's limits forbade asking.
        detail: what else is kept with the grade, such as a language model's raw replies.
    """

    score: float | None
    verdicts: tuple[Verdict, ...]
    judge: str
    protocol: str
    gate: str | None = None
    error: str | None = None
    out_of_budget: bool = False
    detail: dict[str, Any] = field(default_factory=dict[str, Any])


class Judge(Protocol):
    """Grades answers in batches.

    `name` and `settings` identify the judge: whatever changes its grades must show in them. A judge that has
    `grade_each(answers)` too, an iterator of places in `answers` with their grades as they come, has each of its grades
    kept at once; where one is paid for, that matters.
    """

    @property
    def name(self) -> str:
        """Its name in files and reports."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that its grades depend on: models with their checksums, constants, prompts."""
        ...

    def cannot_grade(self, scenario: Task) -> str | None:
        """Why the judge can grade no answer to a scenario; None if it can. A judge without this method grades all."""
        return None

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        """One grade for each answer, in order."""
        ...


class WrappedJudge:
    """A judge around another, under the other's name and settings: it must not change a grade."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    @property
    def name(self) -> str:
        """The inner judge's name."""
        return self.judge.name

    @property
    def settings(self) -> dict[str, Any]:
        """The inner judge's settings."""
        return self.judge.settings

    def cannot_grade(self, scenario: Task) -> str | None:
        """The inner judge's reason."""
        return reason_against(self.judge, scenario)

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        """The inner judge's grades."""
        return self.judge.grade(answers)


_BATCH = 256
"""Answers that a judge is given at a time where it does not give its grades one by one."""


def grades_as_they_come(judge: Judge, answers: Sequence[Rollout]) -> Iterator[list[tuple[int, Grade]]]:
    """Places in `answers` with their grades: one by one if the judge can (see `Judge`), else batch by batch."""
    each = getattr(judge, "grade_each", None)
    if each is not None:
        yield from ([graded] for graded in each(answers))
        return
    for start in range(0, len(answers), _BATCH):
        yield list(enumerate(judge.grade(answers[start : start + _BATCH]), start))


def reason_against(judge: Judge, scenario: Task) -> str | None:
    """Why a judge can grade no answer to a scenario; None if it can, or has no such method."""
    asked = getattr(judge, "cannot_grade", None)
    return None if asked is None else asked(scenario)


def refuse_without_rubric(scenarios: Sequence[Task]) -> None:
    """Refuse scenarios that no judge grades, where judges themselves are looked at.

    Raises:
        DataError: naming each of them with the grader that it has instead of a rubric.
    """
    problems = [
        f"scenario {printable(s.id)!r}: it has no rubric for a judge, but a {s.grader.kind} grader"
        for s in scenarios
        if not s.rubric
    ]
    if problems:
        raise DataError(problems)


def refuse_ungradable(judge: Judge, scenarios: Sequence[Task]) -> None:
    """Refuse, before any work begins, scenarios that a judge cannot grade.

    Raises:
        DataError: naming each of them with the reason.
    """
    reasons = {s.id: reason for s in scenarios if (reason := reason_against(judge, s))}
    if reasons:
        raise DataError(
            [
                f"scenario {printable(scenario)!r}: the judge {judge.name!r} cannot grade it: {reason}"
                for scenario, reason in reasons.items()
            ]
        )
