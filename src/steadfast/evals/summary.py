"""A model's results in short: a row an eval, the mean by construct, what was refused and what could not be graded."""

import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadfast.analysis import item_bootstrap
from steadfast.analysis.floors import Floor, best_constant, split_unfinished, with_bound, with_counted
from steadfast.analysis.pairs import pair_successes
from steadfast.evals.rows import BESIDE, FOLLOWED, GOAL, HARM


def summarize_evals(rows: pl.DataFrame, constants: pl.DataFrame | None = None) -> list[dict[str, Any]]:
    """A suite under a grader each: mean score of its graded tasks with the 95% bootstrap interval over items.

    Of twins the items are the pairs, and the score is pair success: one-sided scores would mislead. Beside the score
    of judged answers stands their `floor`, None elsewhere: see `_floor`.

    Args:
        rows: of one checkpoint, in the results' schema.
        constants: the rows of constant answers to the same suites.
    """
    main = rows.filter(~pl.col("grader").is_in(BESIDE))
    groups = main.group_by("suite", "construct", "source", "grader", maintain_order=True)
    return [_summary([str(k) for k in key], group) | {"floor": _floor(group, constants)} for key, group in groups]


def _floor(group: pl.DataFrame, constants: pl.DataFrame | None) -> dict[str, Any] | None:
    """What the best constant answer earns on the same tasks, and the scores above it.

    `score` is the constant's mean; `rescaled` the model's on the scale whose 0 that is, an unfinished answer counting
    as the constant, with `low` and `high`, its 95% interval as a paired difference; `bounds` the least and the most
    that `rescaled` could be whatever the unfinished answers, of the share `unfinished`, had earned. None without any.
    """
    graded = group.filter(pl.col("score").is_not_null())
    if constants is None or group["grader"][0] != "rubric" or graded.is_empty():
        return None
    floor = best_constant(constants.filter(grader="rubric", suite=group["suite"][0]), graded)
    if floor.constant is None:
        return None
    split = graded.with_columns(*split_unfinished())
    above = with_counted(split, floor)["score"].to_numpy()
    differences = _above_constant(split, floor)
    interval = item_bootstrap(differences) if len(differences) and not math.isnan(differences[0]) else None
    low, high = (None, None) if interval is None else (_number(interval.low), _number(interval.high))
    bounds = [_number(with_bound(split, floor, value)["score"].to_numpy().mean()) for value in (0.0, 1.0)]
    return {
        "constant": floor.constant.removeprefix("constant: "),
        "score": floor.score,
        "rescaled": None if interval is None else float(above.mean()),
        "low": low,
        "high": high,
        "bounds": None if interval is None else bounds,
        "unfinished": float(split["unfinished"].to_numpy().mean()),
    }


def _above_constant(split: pl.DataFrame, floor: Floor) -> NDArray[np.float64]:
    """How far each answer lies above the constant's to the same task, on the floor's scale."""
    key = ["suite", "task"]
    constant = floor.scores.with_columns(floor.rescale(pl.col("constant")).alias("constant"))
    both = with_counted(split, floor).join(constant, on=key, how="inner")
    return (both["score"] - both["constant"]).cast(pl.Float64).to_numpy()


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


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
    followed: the mean over answers of whether they followed the benign persona that they were asked under.
    episodes, harmed, reached: free play of agentic evals, the share with harm and the share that reached the goal.
    """
    harmed, reached, followed = (rows.filter(grader=g)["score"].drop_nulls() for g in (HARM, GOAL, FOLLOWED))
    main = rows.filter(~pl.col("grader").is_in(BESIDE))
    return {
        "items": len(main),
        "ungraded": int(main["score"].null_count()),
        "refused": _share(main["refused"].drop_nulls()),
        "followed": float(followed.to_numpy().mean()) if len(followed) else None,
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
