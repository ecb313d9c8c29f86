"""The page shows answers side by side, and rollouts of the first and last step, chosen by rules that it states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from steadfast.messages import Message
from steadfast.report.loading import Run
from steadfast.study.arms import BASELINE, PRE_RL
from steadfast.tasks import Task

_TURNS = 3
_ROLLOUTS_PER_POOL = 2


@dataclass(frozen=True)
class CriterionVerdict:
    """A criterion with the judge's verdict.

    Attributes:
        criterion: The criterion's text.
        points: Its points; None where the rubric is no longer at hand.
        score: The verdict in [0, 1].
    """

    criterion: str
    points: float | None
    score: float | None


@dataclass(frozen=True)
class ShownAnswer:
    """An answer with its grade.

    Attributes:
        checkpoint: The checkpoint that gave the answer.
        text: The answer.
        score: Its score in [0, 1]; None if it could not be graded.
        training_score: Its score by the judge that trained; None if there is none.
        gate: The gate that stopped it, if any.
        reason: The reason why it has no score.
        finished: Whether it ended before the token limit.
        refused: Whether it refuses.
        verdicts: The verdicts on the criteria, in the rubric's order.
    """

    checkpoint: str
    text: str
    score: float | None
    training_score: float | None
    gate: str | None
    reason: str | None
    finished: bool | None
    refused: bool | None
    verdicts: Sequence[CriterionVerdict]


@dataclass(frozen=True)
class Example:
    """A held-out scenario and what every checkpoint answered.

    Attributes:
        why: The rule by which it was chosen.
        difference: The treatment's score minus the control's.
        task: The scenario's id.
        trait: The id of its trait.
        domain: The id of its domain.
        earlier: The number of turns that are not shown.
        turns: The turns that are shown, which are the last.
        answers: The answers of the checkpoints.
    """

    why: str
    difference: float
    task: str
    trait: str
    domain: str
    earlier: int
    turns: Sequence[Message]
    answers: Sequence[ShownAnswer]


@dataclass(frozen=True)
class ShownRollout:
    """The training completion whose reward is the median of its group.

    Attributes:
        step: The training step.
        pool: The pool of its task.
        task: The task's id.
        asked: The last message of the task; None where the task is no longer at hand.
        text: The completion.
        reward: Its reward; None if it could not be graded.
        finished: Whether it ended before the token limit.
    """

    step: int
    pool: str
    task: str
    asked: str | None
    text: str
    reward: float | None
    finished: bool


def examples(run: Run, treatment: str) -> list[Example]:
    """Choose the held-out scenarios with the highest, the median and the lowest change of score; ties go by id."""
    control = BASELINE if treatment != BASELINE else PRE_RL
    rows = run.answers("trait")
    ranked = _ranked(rows, treatment, control)
    if not ranked:
        return []
    rise = "largest rise" if ranked[0][1] > 0 else "highest change"
    fall = "largest fall" if ranked[-1][1] < 0 else "lowest change"
    chosen = [(rise, ranked[0]), ("median change", ranked[len(ranked) // 2]), (fall, ranked[-1])]
    found: dict[str, Example] = {}
    for why, (task, change) in chosen:
        if task not in found:
            found[task] = _example(run, rows.filter(pl.col("task") == task), why, task, change)
    return list(found.values())


def _ranked(rows: pl.DataFrame, treatment: str, control: str) -> list[tuple[str, float]]:
    """Rank the tasks that both checkpoints have a score for by treatment minus control, the largest rise first."""
    scores = {
        name: dict(rows.filter(pl.col("checkpoint") == name).select("task", "score").drop_nulls().iter_rows())
        for name in (treatment, control)
    }
    shared = scores[treatment].keys() & scores[control].keys()
    changes = [(task, scores[treatment][task] - scores[control][task]) for task in shared]
    return sorted(changes, key=lambda c: (-c[1], c[0]))


def _example(run: Run, rows: pl.DataFrame, why: str, task_id: str, change: float) -> Example:
    task = run.tasks.get(task_id)
    by_training = run.answers("trait", run.training_judge).filter(pl.col("task") == task_id)
    training_scores = dict(by_training.select("checkpoint", "score").iter_rows())
    by_checkpoint = {row["checkpoint"]: row for row in rows.iter_rows(named=True)}
    first = next(iter(by_checkpoint.values()))
    messages = task.messages if task else ()
    return Example(
        why=why,
        difference=change,
        task=task_id,
        trait=first["construct"],
        domain=first["domain"],
        earlier=max(0, len(messages) - _TURNS),
        turns=messages[-_TURNS:],
        answers=[
            _answer(by_checkpoint[c], training_scores.get(c), task) for c in run.checkpoints if c in by_checkpoint
        ],
    )


def _answer(row: Mapping[str, Any], training_score: float | None, task: Task | None) -> ShownAnswer:
    worth = {c.criterion: c.points for c in task.rubric} if task else {}
    return ShownAnswer(
        checkpoint=row["checkpoint"],
        text=row["answer"] or "",
        score=row["score"],
        training_score=training_score,
        gate=row["gate"],
        reason=row["reason"],
        finished=None if row["finished"] is None else row["finished"] == 1,
        refused=bool(row["refused"]),
        verdicts=[
            CriterionVerdict(v["criterion"], worth.get(v["criterion"]), v["score"]) for v in row["verdicts"] or ()
        ],
    )


def rollouts(run: Run, arm: str) -> list[ShownRollout]:
    """Choose, of the first and last step, two tasks of each pool by id, each with its completion of median reward."""
    table = run.rollouts(arm)
    if table is None or table.is_empty():
        return []
    shown: list[ShownRollout] = []
    for step in sorted({int(table["step"].min() or 0), int(table["step"].max() or 0)}):  # type: ignore[arg-type]
        for pool in sorted(set(table["pool"].to_list()), key=lambda p: (p == "standard", p)):
            there = table.filter((pl.col("step") == step) & (pl.col("pool") == pool))
            for task in sorted(set(there["task"].to_list()))[:_ROLLOUTS_PER_POOL]:
                group = there.filter(pl.col("task") == task).sort("reward", "completion", nulls_last=True)
                graded = int(group["reward"].count())
                shown.append(_rollout(run, group.row(max(0, graded - 1) // 2, named=True)))
    return shown


def _rollout(run: Run, row: Mapping[str, Any]) -> ShownRollout:
    task = run.tasks.get(row["task"])
    asked = task.messages[-1].content if task else None
    return ShownRollout(row["step"], row["pool"], row["task"], asked, row["text"], row["reward"], row["finished"])
