"""What a judge that never trained says of the rollouts, step by step.

A policy learns what its judge rewards, which is not quite what the rubric means. A reward that grows while another
judge's score of the same answers stands still or falls is over-optimization (Gao et al. 2023, arXiv:2210.10760).
"""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import polars as pl

from steadfast.graders.grade import Answer, Judge
from steadfast.tasks import Scenario

SAMPLE = 24
"""Rollouts of the trait pool that are graded again, a step."""


def second_opinion(rollouts: pl.DataFrame, scenarios: Mapping[str, Scenario], judge: Judge) -> list[dict[str, Any]]:
    """Mean scores by both judges of the same rollouts, one record a step.

    Args:
        rollouts: of one arm, as training wrote them.
        scenarios: by id; their own rubrics are used.
        judge: the evaluation judge.

    Returns:
        Records of `step`, `answers` graded by both, and the means `trained` and `other` in [0, 1]; a step without any
        trait rollout has no record.
    """
    chosen = (
        rollouts.filter((pl.col("pool") == "trait") & pl.col("reward").is_not_null())
        .sort("step", "completion", "prompt")
        .group_by("step", maintain_order=True)
        .head(SAMPLE)
    )
    rows = chosen.select("step", "prompt", "text", "finished", "reward").rows(named=True)
    grades = judge.grade([Answer(scenarios[r["prompt"]], r["text"], r["finished"]) for r in rows])
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
