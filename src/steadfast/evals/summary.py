"""A model's results in short: a row an eval, the mean by construct, what was refused and what could not be graded."""

import math
from typing import Any

import polars as pl

from steadfast.analysis import item_bootstrap
from steadfast.analysis.pairs import pair_successes
from steadfast.evals.rows import BESIDE, GOAL, HARM


def summarize_evals(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """A suite under a grader each: mean score of its graded tasks with the 95% bootstrap interval over items.

    Of twins the items are the pairs, and the score is pair success: one-sided scores would mislead.

    Args:
        rows: of one checkpoint, in the results' schema.
    """
    main = rows.filter(~pl.col("grader").is_in(BESIDE))
    groups = main.group_by("suite", "construct", "source", "grader", maintain_order=True)
    return [_summary([str(k) for k in key], group) for key, group in groups]


def summarize_constructs(evals: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The mean over evals of their scores, by construct and grader; every eval weighs the same."""
    by_construct: dict[tuple[str, str], list[float]] = {}
    for row in evals:
        if row["score"] is not None:
            by_construct.setdefault((row["construct"], row["grader"]), []).append(row["score"])
    return [
        {"construct": construct, "grader": grader, "evals": len(scores), "score": sum(scores) / len(scores)}
        for (construct, grader), scores in sorted(by_construct.items())
    ]


def totals(rows: pl.DataFrame) -> dict[str, Any]:
    """Counts and shares in [0, 1] over all rows; a share is None where nothing bears on it.

    items, ungraded: how many there are, and how many without a score.
    refused: share of free answers that refuse.
    episodes, harmed, reached: free play of agentic evals, the share with harm and the share that reached the goal.
    """
    harmed, reached = (rows.filter(pl.col("grader") == grader)["score"].drop_nulls() for grader in (HARM, GOAL))
    main = rows.filter(~pl.col("grader").is_in(BESIDE))
    return {
        "items": len(main),
        "ungraded": int(main["score"].null_count()),
        "refused": _share(main["refused"].drop_nulls()),
        "episodes": len(harmed),
        "harmed": _share(harmed),
        "reached": _share(reached),
    }


def _share(holds: pl.Series) -> float | None:
    return int(holds.sum()) / len(holds) if len(holds) else None


def _summary(key: list[str], group: pl.DataFrame) -> dict[str, Any]:
    name, construct, source, grader = key
    items, scores = len(group), group["score"].drop_nulls().to_numpy()
    if group["kind"][0] == "twins":
        items, grader = len(group) // 2, "pair success"
        scores = pair_successes(group)["success"].to_numpy()
    low = high = None
    if len(scores):
        interval = item_bootstrap(scores)
        # A few items give Student's interval, which knows nothing of the scale's ends.
        low, high = (None if math.isnan(x) else min(1.0, max(0.0, x)) for x in (interval.low, interval.high))
    return {
        "suite": name,
        "construct": construct,
        "source": source,
        "grader": grader,
        "items": items,
        "ungraded": items - len(scores),
        "score": float(scores.mean()) if len(scores) else None,
        "low": low,
        "high": high,
    }
