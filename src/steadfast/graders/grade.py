"""What a judge takes and gives."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from steadfast.tasks.scenario import Scenario


@dataclass(frozen=True)
class Answer:
    """An answer to be graded by its scenario's rubric.

    Attributes:
        scenario: the conversation and the rubric.
        text: the answer.
        finished: False if a token limit cut it off.
    """

    scenario: Scenario
    text: str
    finished: bool = True


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

    def grade(self, answers: Sequence[Answer]) -> list[Grade]:
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

    def grade(self, answers: Sequence[Answer]) -> list[Grade]:
        """The inner judge's grades."""
        return self.judge.grade(answers)


def rubric_score(points: Sequence[int], met: Sequence[float]) -> float:
    """The score in [0, 1] of an answer that meets each criterion to the given degree.

    The points earned, on a scale from the worst sum the rubric allows (every pitfall, nothing else) to the best.
    Linear throughout: no answer is so bad that doing one thing better goes unnoticed.

    Args:
        points: of each criterion.
        met: degree in [0, 1] to which each is met.
    """
    lowest = sum(p for p in points if p < 0)
    highest = sum(p for p in points if p > 0)
    earned = sum(p * m for p, m in zip(points, met, strict=True))
    return (earned - lowest) / (highest - lowest)
