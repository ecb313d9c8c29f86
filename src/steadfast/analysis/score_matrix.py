"""Checkpoints by suites: a table of results as the matrix of mean scores that correlations are taken from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

_NOT_EVALS = ("trait", "chat")
"""Kinds of rows that are no eval out of distribution: what was rewarded, everyday requests."""
_NOT_SCORES = ("preference_graded", "plain_words", "plain_ends", "reply_only", "harm", "goal", "followed")
"""Graders that say more about a task that another grader scores."""
_PREFERRED = ("preference", "letters")
"""Graders that a suite is read by where it has them, the first one first."""
_IS_CAPABILITY = (pl.col("kind") == "capability") | (pl.col("construct") == "capability")
"""The control: held-out standard tasks, and public benchmarks of that construct."""
_KEY = ["suite", "grader", "task"]
_SAME = 1e-6
"""Scores of the same weights measured twice may differ by rounding, and by no more than this."""


@dataclass(frozen=True)
class Column:
    """One suite of the matrix.

    Attributes:
        suite: The suite's name.
        construct: What it measures; "several" if its tasks disagree.
        grader: What its scores come from; "several" if its tasks name several.
        items: The number of its tasks that are graded on every checkpoint.
        dropped: The number of tasks left out because a checkpoint has no grade for them.
    """

    suite: str
    construct: str
    grader: str
    items: int
    dropped: int


@dataclass(frozen=True)
class ScoreMatrix:
    """Mean scores, over the same tasks on every checkpoint.

    Attributes:
        checkpoints: The names of the rows [C].
        columns: The suites [E], by construct and name.
        scores_CE: The mean scores.
        capability_C: The mean over capability suites, each the mean of its tasks; None if none was measured on all.
        left_out: Suites without a task graded on every checkpoint, with the checkpoints that lack it.
        repeats: Checkpoints left out because an earlier one has the same scores, by name.
    """

    checkpoints: tuple[str, ...]
    columns: tuple[Column, ...]
    scores_CE: NDArray[np.float64]
    capability_C: NDArray[np.float64] | None
    left_out: Mapping[str, tuple[str, ...]]
    repeats: Mapping[str, str]


def score_matrix(results: pl.DataFrame) -> ScoreMatrix:
    """The matrix of a table of results.

    A suite counts once. One with several graders is read by likelihood ("preference") where it has it, else by
    "letters", else by what its tasks' own graders say: two ways to score the same tasks would correlate whatever
    alignment is. A task counts if it is graded on every checkpoint, so that all means are over the same tasks; a suite
    without such a task is left out and named, never filled in. A checkpoint that equals an earlier one in every suite
    and in capability is the same weights again (the pre-RL model of two runs) and would be counted twice: it is left
    out.

    Args:
        results: Rows with the columns checkpoint, kind, suite, construct, grader, task and score, of one judge, one
            condition and one seed. Rows of kind "trait" and "chat" are ignored, and so are graders that stand beside
            another one, such as "plain_words" and "harm". A null or NaN score could not be graded.

    Raises:
        ValueError: a checkpoint has several rows of a task under one grader.
    """
    rows = results.select("checkpoint", "kind", "construct", *_KEY, pl.col("score").fill_nan(None))
    rows = rows.filter(~pl.col("kind").is_in(_NOT_EVALS) & ~pl.col("grader").is_in(_NOT_SCORES))
    _refuse_repeated(rows)
    evals = _one_grader(rows.filter(~_IS_CAPABILITY))
    checkpoints = evals["checkpoint"].unique(maintain_order=True).to_list()
    everywhere = _graded_everywhere(evals, len(checkpoints))
    means = _means(everywhere)
    columns = tuple(Column(*row) for row in _columns(evals, everywhere).iter_rows())
    scores = np.array([[means[c, e.suite] for e in columns] for c in checkpoints], dtype=np.float64)
    capability = _capability(rows.filter(_IS_CAPABILITY), checkpoints)
    kept, repeats = _distinct(checkpoints, scores, capability)
    return ScoreMatrix(
        checkpoints=tuple(checkpoints[i] for i in kept),
        columns=columns,
        scores_CE=scores.reshape(len(checkpoints), len(columns))[kept],
        capability_C=None if capability is None else capability[kept],
        left_out=_lacking(evals, {e.suite for e in columns}, checkpoints),
        repeats=repeats,
    )


def _refuse_repeated(rows: pl.DataFrame) -> None:
    twice = rows.filter(pl.struct("checkpoint", "kind", *_KEY).is_duplicated()).sort("checkpoint", *_KEY)
    if not twice.is_empty():
        checkpoint, suite, grader, task = twice.select("checkpoint", *_KEY).row(0)
        raise ValueError(
            f"{checkpoint!r} has several rows of task {task!r} in suite {suite!r}, grader {grader!r}; "
            "keep the rows of one judge, one condition and one seed"
        )


def _one_grader(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the grader that a suite is read by; without a preferred one, each task's first by name."""
    rank = pl.col("grader").replace_strict({g: i for i, g in enumerate(_PREFERRED)}, default=len(_PREFERRED))
    best = rows.filter(rank == rank.min().over("suite"))
    return best.filter(pl.col("grader") == pl.col("grader").min().over("suite", "task"))


def _graded_everywhere(rows: pl.DataFrame, checkpoints: int) -> pl.DataFrame:
    return rows.filter(pl.col("score").is_not_null()).filter(pl.len().over(_KEY) == checkpoints)


def _means(rows: pl.DataFrame) -> dict[tuple[str, str], float]:
    # Sorted, so that the same tasks give the same mean to the last bit whatever the order of the rows.
    grouped = rows.sort("checkpoint", *_KEY).group_by("checkpoint", "suite", maintain_order=True)
    return {(c, e): mean for c, e, mean in grouped.agg(pl.col("score").mean()).iter_rows()}


def _columns(rows: pl.DataFrame, everywhere: pl.DataFrame) -> pl.DataFrame:
    tasks = rows.group_by("suite", maintain_order=True).agg(pl.col("task").n_unique().alias("all"))
    return (
        everywhere.group_by("suite", maintain_order=True)
        .agg(_label("construct"), _label("grader"), pl.col("task").n_unique().alias("items"))
        .join(tasks, on="suite")
        .sort("construct", "suite")
        .select("suite", "construct", "grader", "items", (pl.col("all") - pl.col("items")).alias("dropped"))
    )


def _label(column: str) -> pl.Expr:
    one = pl.col(column).n_unique() == 1
    return pl.when(one).then(pl.col(column).first()).otherwise(pl.lit("several")).alias(column)


def _capability(rows: pl.DataFrame, checkpoints: list[str]) -> NDArray[np.float64] | None:
    everywhere = _graded_everywhere(rows.filter(pl.col("checkpoint").is_in(checkpoints)), len(checkpoints))
    if everywhere.is_empty():
        return None
    means = _means(everywhere)
    suites = sorted(everywhere["suite"].unique().to_list())
    return np.array([[means[c, s] for s in suites] for c in checkpoints], dtype=np.float64).mean(axis=1)


def _distinct(
    checkpoints: list[str], scores: NDArray[np.float64], capability: NDArray[np.float64] | None
) -> tuple[list[int], dict[str, str]]:
    table = scores if capability is None else np.column_stack([scores, capability])
    kept: list[int] = []
    repeats: dict[str, str] = {}
    for i, name in enumerate(checkpoints):
        same = next((k for k in kept if table.size and np.allclose(table[i], table[k], rtol=0, atol=_SAME)), None)
        if same is None:
            kept.append(i)
        else:
            repeats[name] = checkpoints[same]
    return kept, repeats


def _lacking(rows: pl.DataFrame, kept: set[str], checkpoints: list[str]) -> dict[str, tuple[str, ...]]:
    """Suites left out, each with the checkpoints that have no graded task of it; none where they share no task."""
    graded = rows.filter(pl.col("score").is_not_null())
    found: dict[str, tuple[str, ...]] = {}
    for name in sorted(set(rows["suite"].to_list()) - kept):
        having = set(graded.filter(pl.col("suite") == name)["checkpoint"].to_list())
        found[name] = tuple(c for c in checkpoints if c not in having)
    return found
