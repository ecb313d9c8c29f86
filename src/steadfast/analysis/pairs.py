"""Pair success: twins count together, so that an answer given without reading earns nothing."""

import polars as pl

CELL = ("suite", "group", "domain", "format", "wording")
"""What the pairs of a cell have in common."""


def pair_successes(rows: pl.DataFrame) -> pl.DataFrame:
    """One row for each pair that was measured whole.

    Args:
        rows: Rows of twins, with the columns checkpoint, seed, those of the cell, task, pair and score.

    Returns:
        The columns checkpoint, seed, those of the cell, `pair` (the first twin's id), `success` (the product of both
        scores), and the scores themselves, `one` and `other`. A pair with a twin that was not graded is left out.
    """
    first = pl.min_horizontal("task", "pair")
    twins = rows.filter(pl.col("pair").is_not_null() & pl.col("score").is_not_null()).with_columns(first.alias("first"))
    key = ["checkpoint", "seed", *CELL, "first"]
    return (
        twins.group_by(key, maintain_order=True)
        .agg(
            pl.col("score").filter(pl.col("task") == pl.col("first")).first().alias("one"),
            pl.col("score").filter(pl.col("task") != pl.col("first")).first().alias("other"),
        )
        .drop_nulls(["one", "other"])
        .with_columns((pl.col("one") * pl.col("other")).alias("success"))
        .rename({"first": "pair"})
        .sort(["checkpoint", "seed", *CELL, "pair"], nulls_last=True)
    )


def by_seed(pairs: pl.DataFrame, value: str = "success") -> pl.DataFrame:
    """The mean of a value of each checkpoint and seed, in which every family weighs the same.

    Args:
        pairs: What `pair_successes` gives, or a part of it.
        value: The column whose mean is asked for.

    Returns:
        The columns checkpoint, seed, value and pairs.
    """
    families = pairs.group_by("checkpoint", "seed", "suite", maintain_order=True).agg(
        pl.col(value).mean(), pl.len().alias("pairs")
    )
    return (
        families.group_by("checkpoint", "seed", maintain_order=True)
        .agg(pl.col(value).mean(), pl.col("pairs").sum())
        .sort("checkpoint", "seed", nulls_last=True)
    )
