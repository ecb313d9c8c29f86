"""What a judge that never trained says of the rollouts, step by step.

A policy learns what its judge rewards, which is not quite what the rubric means. A reward that grows while another
judge's score of the same answers stands still or falls is over-optimization (Gao et al. 2023, arXiv:2210.10760).
"""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import polars as pl

from steadfast.graders import Judge
from steadfast.rollouts import Rollout
from steadfast.tasks import Task

SAMPLE = 24
"""Rollouts of a step that are graded again."""


def second_opinion(rollouts: pl.DataFrame, pool: str, tasks: Mapping[str, Task], judge: Judge) -> list[dict[str, Any]]:
    """Mean scores by both judges of the same rollouts, one record a step.

    Args:
        rollouts: The rollouts of one arm, as training wrote them.
        pool: The pool of the arm's slice.
        tasks: The slice's tasks with a rubric, by id; their own rubrics are used.
        judge: The evaluation judge.

    Returns:
        Records of `step`, `answers` graded by both, and the means `trained` and `other` in [0, 1]; a step without any
        such rollout has no record.
    """
    chosen = (
        rollouts.filter((pl.col("pool") == pool) & pl.col("reward").is_not_null() & pl.col("task").is_in(list(tasks)))
        .sort("step", "completion", "task")
        .group_by("step", maintain_order=True)
        .head(SAMPLE)
    )
    rows = chosen.select("step", "task", "text", "finished", "reward").rows(named=True)
    grades = judge.grade([Rollout.of_text(tasks[r["task"]], r["text"], r["finished"]) for r in rows])
    by_step: dict[int, list[tuple[float, float]]] = {}
    for row, grade in zip(rows, grades, strict=True):
        if grade.score is not None:
            by_step.setdefault(row["step"], []).append((row["reward"], grade.score))
    return [
        {
            "step": step,
            "answers": len(pairs),
            "trained": fmean(t for t, _ in pairs),
            "other": fmean(o for _, o in pairs),
        }
        for step, pairs in sorted(by_step.items())
    ]
