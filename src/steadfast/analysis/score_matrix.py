"""Checkpoints by evals: a results table as the matrix of mean scores that correlations are taken from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

_NOT_EVALS = ("trait", "chat")
"""Kinds of rows that are no eval out of distribution: what was rewarded, everyday requests."""
_IS_CAPABILITY = (pl.col("kind") == "capability") | (pl.col("construct") == "capability")
"""The control: held-out standard tasks, and public benchmarks of that construct."""
_ITEM = ["eval", "scoring", "item"]
_SAME = 1e-6
"""Scores of the same weights measured twice may differ by rounding, and by no more than this."""


@dataclass(frozen=True)
class Column:
    """One eval of the matrix.

    Attributes:
        eval: its name.
        construct: what it measures; "several" if its items disagree.
        scoring: the one its scores come from.
        items: graded on every checkpoint.
        dropped: items left out because a checkpoint has no grade for them.
    """

    eval: str
    construct: str
    scoring: str
    items: int
    dropped: int


@dataclass(frozen=True)
class ScoreMatrix:
    """Mean scores, over the same items on every checkpoint.

    Attributes:
        checkpoints: names of the rows [C].
        columns: the evals [E], by construct and name.
        scores_CE: mean scores.
        capability_C: mean over capability tasks, each the mean of its items; None if none was measured on all.
        left_out: evals without an item graded on every checkpoint, with the checkpoints that lack it.
        repeats: checkpoints left out because an earlier one has the same scores, by name.
    """

    checkpoints: tuple[str, ...]
    columns: tuple[Column, ...]
    scores_CE: NDArray[np.float64]
    capability_C: NDArray[np.float64] | None
    left_out: Mapping[str, tuple[str, ...]]
    repeats: Mapping[str, str]


def score_matrix(results: pl.DataFrame) -> ScoreMatrix:
    """The matrix of a results table.

    An eval counts once. One with several scorings is read by likelihood ("choice") where it has it, else by the
    first scoring in alphabetical order: two scorings of the same items would correlate whatever alignment is. An item
    counts if it is graded on every checkpoint, so that all means are over the same items; an eval without such an
    item is left out and named, never filled in. A checkpoint that equals an earlier one in every eval and in
    capability is the same weights again (the pre-RL model of two runs) and would be counted twice: it is left out.

    Args:
        results: one row an item and checkpoint with the columns checkpoint, kind, eval, construct, scoring, item and
            score. Rows of kind "trait" and "chat" are ignored. A null or NaN score could not be graded.

    Raises:
        ValueError: a checkpoint has several rows of an item.
    """
    rows = results.select("checkpoint", "kind", "construct", *_ITEM, pl.col("score").fill_nan(None))
    twice = rows.filter(pl.struct("checkpoint", "kind", *_ITEM).is_duplicated()).sort("checkpoint", *_ITEM)
    if not twice.is_empty():
        checkpoint, name, scoring, item = twice.select("checkpoint", *_ITEM).row(0)
        raise ValueError(f"{checkpoint!r} has several rows of item {item!r} in eval {name!r}, scoring {scoring!r}")
    evals = _one_scoring(rows.filter(~pl.col("kind").is_in(_NOT_EVALS) & ~_IS_CAPABILITY))
    checkpoints = evals["checkpoint"].unique(maintain_order=True).to_list()
    everywhere = _graded_everywhere(evals, len(checkpoints))
    means = _means(everywhere)
    columns = tuple(Column(*row) for row in _columns(evals, everywhere).iter_rows())
    scores = np.array([[means[c, e.eval] for e in columns] for c in checkpoints], dtype=np.float64)
    capability = _capability(rows.filter(_IS_CAPABILITY), checkpoints)
    kept, repeats = _distinct(checkpoints, scores, capability)
    return ScoreMatrix(
        checkpoints=tuple(checkpoints[i] for i in kept),
        columns=columns,
        scores_CE=scores.reshape(len(checkpoints), len(columns))[kept],
        capability_C=None if capability is None else capability[kept],
        left_out=_lacking(evals, {e.eval for e in columns}, checkpoints),
        repeats=repeats,
    )


def _one_scoring(rows: pl.DataFrame) -> pl.DataFrame:
    # False sorts before true, so that "choice" comes first.
    order = pl.struct(pl.col("scoring") != "choice", pl.col("scoring").alias("name"))
    first = rows.sort("eval", order).unique("eval", keep="first", maintain_order=True).select("eval", "scoring")
    return rows.join(first, on=["eval", "scoring"], how="semi", maintain_order="left")


def _graded_everywhere(rows: pl.DataFrame, checkpoints: int) -> pl.DataFrame:
    return rows.filter(pl.col("score").is_not_null()).filter(pl.len().over(_ITEM) == checkpoints)


def _means(rows: pl.DataFrame) -> dict[tuple[str, str], float]:
    # Sorted, so that the same items give the same mean to the last bit whatever the order of the rows.
    grouped = rows.sort("checkpoint", *_ITEM).group_by("checkpoint", "eval", maintain_order=True)
    return {(c, e): mean for c, e, mean in grouped.agg(pl.col("score").mean()).iter_rows()}


def _columns(rows: pl.DataFrame, everywhere: pl.DataFrame) -> pl.DataFrame:
    items = rows.group_by("eval").agg(pl.col("item").n_unique().alias("all"))
    one = pl.col("construct").n_unique() == 1
    return (
        everywhere.group_by("eval", "scoring")
        .agg(
            pl.when(one).then(pl.col("construct").first()).otherwise(pl.lit("several")).alias("construct"),
            pl.col("item").n_unique().alias("items"),
        )
        .join(items, on="eval")
        .sort("construct", "eval")
        .select("eval", "construct", "scoring", "items", (pl.col("all") - pl.col("items")).alias("dropped"))
    )


def _capability(rows: pl.DataFrame, checkpoints: list[str]) -> NDArray[np.float64] | None:
    everywhere = _graded_everywhere(rows.filter(pl.col("checkpoint").is_in(checkpoints)), len(checkpoints))
    if everywhere.is_empty():
        return None
    means = _means(everywhere)
    tasks = sorted(everywhere["eval"].unique().to_list())
    return np.array([[means[c, t] for t in tasks] for c in checkpoints], dtype=np.float64).mean(axis=1)


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
    """Evals left out, each with the checkpoints that have no graded item of it; none where they share no item."""
    graded = rows.filter(pl.col("score").is_not_null())
    found: dict[str, tuple[str, ...]] = {}
    for name in sorted(set(rows["eval"].to_list()) - kept):
        having = set(graded.filter(pl.col("eval") == name)["checkpoint"].to_list())
        found[name] = tuple(c for c in checkpoints if c not in having)
    return found
