"""What a grader gives, and what a judge is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl

from steadfast.rollouts import Rollout

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

    `name` and `settings` identify the judge: whatever changes its grades must show in them.
    """

    @property
    def name(self) -> str:
        """Its name in files and reports."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that its grades depend on: models with their checksums, constants, prompts."""
        ...

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

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        """The inner judge's grades."""
        return self.judge.grade(answers)
