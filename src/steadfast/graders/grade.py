"""The grade that a grader gives, and the protocol that every judge follows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl

from steadfast.errors import DataError
from steadfast.messages import printable
from steadfast.rollouts import Rollout
from steadfast.tasks.task import Task

VERDICTS = pl.List(pl.Struct({"criterion": pl.String, "score": pl.Float64, "reason": pl.String}))
"""The polars type of a column that holds the verdicts of a grade."""


@dataclass(frozen=True)
class Verdict:
    """A judge's verdict on one criterion: how far an answer meets it, or falls into a pitfall, in [0, 1]."""

    criterion: str
    score: float
    reason: str | None = None


@dataclass(frozen=True)
class Grade:
    """The grade of one answer.

    Attributes:
        score: The score in [0, 1]; None where the answer could not be graded, which is not the same as zero.
        verdicts: One verdict for each criterion, in the rubric's order. It is empty where a gate decided, where
            nothing could be graded, and where the grader reads no rubric.
        judge: The name of the judge, or of the kind of grader.
        protocol: A judge's hash of all that decides the grade besides the answer (see `protocol_hash`); for any other
            grader, the name of what decided.
        gate: The gate that stopped the text before any rubric was read: "empty", "truncated", "looping", "copied" or,
            with the embedded judges, "overlong". None if no gate did.
        error: The reason why there is no score.
        out_of_budget: Whether that reason is that the judge's limits forbade another call.
        detail: Whatever else is kept with the grade, such as a language model's raw replies.
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
    """A judge grades answers in batches.

    `name` and `settings` identify the judge: whatever changes its grades must show in them. A judge may also have
    `grade_each(answers)`, an iterator over pairs of a place in `answers` and the grade there, in the order in which
    the grades come. Each grade is then stored at once, so that a later fault costs none that was paid for.
    """

    @property
    def name(self) -> str:
        """The judge's name in files and reports."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that the judge's grades depend on, as JSON data: model checksums, constants and prompts."""
        ...

    def cannot_grade(self, scenario: Task) -> str | None:
        """Say why the judge can grade no answer to a scenario; None if it can. A judge may lack this method."""
        return None

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        """Give one grade for each answer, in order."""
        ...


class WrappedJudge:
    """A judge around another judge. It bears the inner judge's name and settings, so it must not change a grade."""

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
        """Give the inner judge's reason."""
        return reason_against(self.judge, scenario)

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        """Give the inner judge's grades."""
        return self.judge.grade(answers)


_BATCH = 256
"""A judge that does not give its grades one by one is handed so many answers at a time."""


def grades_as_they_come(judge: Judge, answers: Sequence[Rollout]) -> Iterator[list[tuple[int, Grade]]]:
    """Yield places in `answers` with their grades: one by one if the judge can (see `Judge`), else batch by batch."""
    each = getattr(judge, "grade_each", None)
    if each is not None:
        yield from ([graded] for graded in each(answers))
        return
    for start in range(0, len(answers), _BATCH):
        yield list(enumerate(judge.grade(answers[start : start + _BATCH]), start))


def reason_against(judge: Judge, scenario: Task) -> str | None:
    """Ask a judge why it can grade no answer to a scenario; None if it can, or has no `cannot_grade`."""
    asked = getattr(judge, "cannot_grade", None)
    return None if asked is None else asked(scenario)


def refuse_without_rubric(scenarios: Sequence[Task]) -> None:
    """Refuse scenarios that have no rubric, where a judge itself is examined.

    Raises:
        DataError: Some scenarios have another grader instead of a rubric; the message names each with its grader.
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
        DataError: The judge cannot grade some scenarios; the message names each of them with the reason.
    """
    reasons = {s.id: reason for s in scenarios if (reason := reason_against(judge, s))}
    if reasons:
        raise DataError(
            [
                f"scenario {printable(scenario)!r}: the judge {judge.name!r} cannot grade it: {reason}"
                for scenario, reason in reasons.items()
            ]
        )
