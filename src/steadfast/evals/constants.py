"""Answers that have nothing to do with the question: what the best of them earns is the floor of a judged score.

A judge gives something to almost any text, so a score means little until one knows what nonsense earns. Each constant
answer is a subject of its own, measured on the same tasks by the same graders as every checkpoint is, and its rows
stand under a condition of their own beside the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from steadfast.evals.completion import complete, rows_of, unscored
from steadfast.evals.measure import Condition, Measured, OnDone, Part, Preference, measure
from steadfast.evals.rows import CONSTANT, PREFERENCE, Place
from steadfast.evals.surface import CONSTANTS
from steadfast.graders.grade import Judge
from steadfast.graders.protocol import protocol_hash
from steadfast.rollouts import Rollout
from steadfast.tasks.task import Task

_KINDS = ("eval", "trait")
"""Suites of these kinds are reported by what a model answers to them, and have a floor."""


@dataclass(frozen=True)
class ConstantSubject:
    """A subject that gives the same answer to everything.

    Attributes:
        label: The answer's name among the constants.
        text: The answer.
    """

    label: str
    text: str
    prefers_by: str = PREFERENCE

    @property
    def name(self) -> str:
        """Its name in the results, as that of a checkpoint."""
        return f"constant: {self.label}"

    @property
    def identity(self) -> Any:
        """What tells it from other subjects: its text."""
        return {"constant": self.text}

    def prefer(
        self, tasks: Sequence[Task], mismatched: Sequence[Task | None], condition: Condition, on_done: OnDone
    ) -> list[Preference]:
        """Give no preference: an answer that is always the same has none."""
        on_done(len(tasks))
        return [Preference(None, reason="a constant answer prefers no reference", shown=False) for _ in tasks]

    def answer(self, tasks: Sequence[Task], condition: Condition, on_done: OnDone) -> list[Rollout]:
        """Give the answer to each task."""
        on_done(len(tasks))
        return [Rollout.of_text(task, self.text) for task in tasks]


SUBJECTS = tuple(ConstantSubject(label, text) for label, text in CONSTANTS.items())
"""A subject for each constant answer, in the order of `CONSTANTS`."""


def constants_protocol() -> str:
    """Return the hash of the constant answers."""
    return protocol_hash("constant answers", dict(CONSTANTS))


def parts_with_floor(parts: Sequence[Part]) -> list[Part]:
    """Select what constants answer: the answered tasks of suites that are reported by answers; none without a rubric.

    Tasks with another grader stand beside those with a rubric, because a suite may have both; they cost no judge.
    """
    found = [replace(p, compared=()) for p in parts if p.answered and p.suite.kind in _KINDS]
    return found if any(t.grader.kind == "rubric" for p in found for t in p.answered) else []


def constants_done(parts: Sequence[Part], file_of: Callable[[str], Path]) -> bool:
    """Tell whether every constant answer is graded on all tasks of some parts; `file_of` maps its label to its rows."""
    files = ((subject, file_of(subject.label)) for subject in SUBJECTS)
    return all(f.is_file() and not unscored(parts, rows_of(f, subject.name)) for subject, f in files)


def measure_constants(
    parts: Sequence[Part],
    judge: Judge,
    file_of: Callable[[str], Path],
    *,
    training_judge: Judge | None = None,
    on_done: OnDone = lambda _: None,
) -> pl.DataFrame:
    """Measure every constant answer on some parts, as far as that is not done yet.

    Args:
        parts: What to answer; see `parts_with_floor`.
        judge: The evaluation judge.
        file_of: Maps the label of a constant to the file of its rows.
        training_judge: Grades the suites of kind "trait" too, so that its scores have a floor as well.
        on_done: Told the number of answers graded since the last call.

    Returns:
        The rows of all constants; see `ROW_SCHEMA`.

    Raises:
        SteadfastError: A judge cannot do its work, its budget is spent, or a file is damaged.
    """
    tables: list[pl.DataFrame] = []
    for subject in SUBJECTS:

        def run(left: list[Part], subject: ConstantSubject = subject) -> Measured:
            place, condition = Place(subject.name, None, CONSTANT), Condition(CONSTANT)
            measured = measure(subject, left, judge, place=place, condition=condition, training_judge=training_judge)
            on_done(sum(p.requests for p in left))
            return measured

        tables.append(complete(file_of(subject.label), subject.name, parts, run))
    return pl.concat(tables)
