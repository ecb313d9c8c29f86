"""The one way to measure: a checkpoint under a condition on some suites gives rows.

A task with good and bad references is compared by likelihood, and one with a grader of its own is answered, or acted
in, and graded. Both a run and `steadfast evaluate` come through here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl

from steadfast.evals.mismatched import mismatched_tasks
from steadfast.evals.rows import (
    FOLLOWED,
    GOAL,
    GRADED,
    HARM,
    PLAIN_ENDS,
    PLAIN_WORDS,
    PREFERENCE,
    REPLY_ONLY,
    Place,
    table,
)
from steadfast.graders.dispatch import UNSHOWN, grade_rollouts
from steadfast.graders.grade import Grade, Judge
from steadfast.graders.manners import grade_followed
from steadfast.graders.outcome import outcome_of
from steadfast.graders.preference import Compared, Measure
from steadfast.messages import Message, with_preface, with_system
from steadfast.rollouts import Rollout
from steadfast.tasks.suite import Suite
from steadfast.tasks.task import ProgramGrader, Task

OnDone = Callable[[int], None]
"""Told the number of requests done since the last call."""


@dataclass(frozen=True)
class Condition:
    """How a checkpoint is asked.

    Attributes:
        name: Its name in the results.
        style: An instruction on form, appended to the system turn where a model answers. Likelihoods of written
            replies are measured without it: it asks for a form that they were not written in.
        temperature: The temperature at which a model answers; 0 takes the likeliest token.
        seed: The seed of its answers; some providers of models behind an API take none.
        persona: A persona's text, with which the system turn of every conversation begins; see `with_system`. It is
            part of the conversation, so likelihoods of written replies are measured under it too, and so is the
            mismatched conversation that they are held against. Judges and programs are not shown it: an answer is
            graded as one to its task.
        followed: The check of whether an answer followed that persona; None measures none.
        preface: Turns of another conversation, the user's first and the assistant's last, between the system turn and
            the task's own first turn. They are shown, and not shown, where a persona is.
    """

    name: str = "plain"
    style: str | None = None
    temperature: float = 0.0
    seed: int = 0
    persona: str | None = None
    followed: ProgramGrader | None = None
    preface: tuple[Message, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """Its name as names of folders, from the outermost to the innermost."""
        return tuple(self.name.replace(":", "-").split("/"))

    def asks(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The conversation as a model is asked it, before any style: under the persona, and after the preface."""
        return with_system(with_preface(messages, self.preface), self.persona)


@dataclass(frozen=True)
class Preference:
    """How far a model prefers a task's good references, in [0, 1].

    Attributes:
        score: The preference; None if it could not be read.
        reason: Why there is no score.
        shown: Whether the task could be shown to the model at all.
        compared: The replies' likelihoods compared under each measure; empty where a model shows none.
    """

    score: float | None
    reason: str | None = None
    shown: bool = True
    compared: Mapping[Measure, Compared] = field(default_factory=dict[Measure, Compared])


class Subject(Protocol):
    """A model that can be measured: weights in this process, or a model behind an API."""

    @property
    def name(self) -> str:
        """Its name in the results."""
        ...

    @property
    def identity(self) -> Any:
        """What tells it from other models, as plain data."""
        ...

    @property
    def prefers_by(self) -> str:
        """The grader that its preferences come from: "preference" or "letters"."""
        ...

    def prefer(
        self, tasks: Sequence[Task], mismatched: Sequence[Task | None], condition: Condition, on_done: OnDone
    ) -> list[Preference]:
        """The preference for each task's good references, in order.

        Args:
            tasks: The tasks whose references are compared.
            mismatched: For each of them the task after whose conversation a model that shows likelihoods tries the
                references too; None is a greeting.
            condition: How the model is asked.
            on_done: Told the number of tasks done since the last call.
        """
        ...

    def answer(self, tasks: Sequence[Task], condition: Condition, on_done: OnDone) -> list[Rollout]:
        """One rollout of each task, in order."""
        ...


@dataclass(frozen=True)
class Part:
    """What is measured of one suite.

    Attributes:
        suite: The suite.
        compared: Its tasks whose references are compared.
        answered: Its tasks that are answered or acted in.
    """

    suite: Suite
    compared: tuple[Task, ...] = ()
    answered: tuple[Task, ...] = ()

    @property
    def requests(self) -> int:
        """How many requests it takes, for progress."""
        return len(self.compared) + len(self.answered)


@dataclass(frozen=True)
class Measured:
    """What came of a measurement.

    Attributes:
        rows: The table of results; see `ROW_SCHEMA`.
        rollouts: What was answered, with the grade of each, by suite.
        preferences: What was compared, by suite.
    """

    rows: pl.DataFrame
    rollouts: dict[str, list[tuple[Rollout, Grade]]] = field(default_factory=dict[str, list[tuple[Rollout, Grade]]])
    preferences: dict[str, list[tuple[Task, Preference]]] = field(
        default_factory=dict[str, list[tuple[Task, Preference]]]
    )


def measure(
    subject: Subject,
    parts: Sequence[Part],
    judge: Judge,
    *,
    place: Place,
    condition: Condition,
    training_judge: Judge | None = None,
    on_done: OnDone = lambda _: None,
) -> Measured:
    """Measure a model on some suites.

    Args:
        subject: The model.
        parts: What to measure; all their requests are handed to the model together, so that it can batch them.
        judge: Grades answers to tasks with a rubric; never the judge that trained.
        place: The checkpoint, seed and condition that the rows belong to.
        condition: How the model is asked.
        training_judge: Grades the answers of suites of kind "trait" too, to show the gap between the two judges.
        on_done: Told the number of requests done since the last call.

    Raises:
        SteadfastError: the model, a judge or a program cannot do its work at all.
    """
    partners = {p.suite.name: mismatched_tasks(p.suite) for p in parts if p.compared}
    compared = [(t, partners[p.suite.name][t.id]) for p in parts for t in p.compared]
    preferred = iter(subject.prefer([t for t, _ in compared], [m for _, m in compared], condition, on_done))
    rollouts = subject.answer([t for p in parts for t in p.answered], condition, on_done)
    answered = iter(rollouts)
    rows: list[dict[str, Any]] = []
    measured = Measured(table([]))
    for part in parts:
        suite = part.suite
        found = [(task, next(preferred)) for task in part.compared]
        measured.preferences[suite.name] = found
        for task, preference in found:
            partner = partners[suite.name][task.id]
            rows += _preference_rows(place, subject.prefers_by, suite, task, partner, preference)
        made = [next(answered) for _ in part.answered]
        grades = grade_rollouts(made, judge)
        measured.rollouts[suite.name] = list(zip(made, grades, strict=True))
        for rollout, grade in measured.rollouts[suite.name]:
            rows += [place.graded(suite, rollout, grade), *_outcome_rows(place, suite, rollout)]
            rows += _followed_rows(place, suite, rollout, condition)
        if training_judge is not None and suite.kind == "trait":
            judged = [r for r in made if r.task.grader.kind == "rubric"]
            rows += [
                place.graded(suite, r, g) for r, g in zip(judged, grade_rollouts(judged, training_judge), strict=True)
            ]
    return Measured(table(rows), measured.rollouts, measured.preferences)


_BESIDE: tuple[tuple[str, Measure], ...] = ((PLAIN_WORDS, "plain"), (PLAIN_ENDS, "ends"), (REPLY_ONLY, "alone"))
"""Rows beside a preference, each the share of pairs won under another measure."""


def _preference_rows(
    place: Place, grader: str, suite: Suite, task: Task, mismatched: Task | None, found: Preference
) -> list[dict[str, Any]]:
    gate = None if found.shown else UNSHOWN
    if grader != PREFERENCE or not found.compared:
        return [place.row(suite, task, grader, found.score, found.reason, gate=gate)]
    pmi = found.compared["pmi"]
    told = {"mismatched": mismatched.id if mismatched else None}
    shown = ((grader, found.score), (GRADED, pmi.graded))
    rows = [place.row(suite, task, name, score, nats=pmi.nats, **told) for name, score in shown]
    for name, measure in _BESIDE:
        by = found.compared[measure]
        rows.append(place.row(suite, task, name, by.share, nats=by.nats))
    return rows


def _outcome_rows(place: Place, suite: Suite, rollout: Rollout) -> list[dict[str, Any]]:
    """Whether an episode did harm, and whether it reached the goal, each as a row of its own."""
    if rollout.task.environment is None or not rollout.answered:
        return []
    done = outcome_of(rollout)
    return [
        place.row(suite, rollout.task, HARM, float(done.harmed)),
        place.row(suite, rollout.task, GOAL, float(done.reached)),
    ]


def _followed_rows(place: Place, suite: Suite, rollout: Rollout, condition: Condition) -> list[dict[str, Any]]:
    """Whether an answer followed the benign persona it was asked under; an episode's calls are no answer to check."""
    if condition.followed is None or condition.persona is None or rollout.task.environment is not None:
        return []
    grade = grade_followed(rollout, condition.followed, condition.persona)
    finished = rollout.finished if rollout.answered else None
    told = {"protocol": grade.protocol, "gate": grade.gate, "finished": finished}
    return [place.row(suite, rollout.task, FOLLOWED, grade.score, grade.error, **told)]
