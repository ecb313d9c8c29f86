"""An arm against another over training seeds, in a mean over suites: what a null outside the ladder leaves open."""

from dataclasses import dataclass

import polars as pl

from steadfast.analysis.bootstrap import Interval
from steadfast.analysis.seeds import detectable_of, seed_interval


@dataclass(frozen=True)
class OverSeeds:
    """A mean over suites, compared within each training seed.

    Attributes:
        seeds: The number of training seeds.
        difference: The mean difference with Student's interval over seeds.
        detectable: The true difference that so many seeds find four times in five; None where they show no spread.
    """

    seeds: int
    difference: Interval
    detectable: float | None


def over_seeds(rows: pl.DataFrame, treatment: str, control: str) -> OverSeeds | None:
    """Compare two checkpoints seed by seed; None if fewer than two seeds can be compared.

    Args:
        rows: The columns checkpoint, seed, suite, task and score, of one grader and condition. A checkpoint without a
            seed, as the pre-RL model, is held against every seed of the other.
        treatment: The checkpoint whose gain is asked for.
        control: The checkpoint to compare it with.
    """
    scored = rows.filter(pl.col("score").is_not_null())
    sides = [scored.filter(pl.col("checkpoint") == name) for name in (treatment, control)]
    key = ["suite", "task"] if sides[1]["seed"].null_count() else ["suite", "task", "seed"]
    joined = sides[0].join(sides[1].select(*key, "score"), on=key, suffix="_control").drop_nulls("seed")
    suites = joined.group_by("seed", "suite", maintain_order=True).agg(
        (pl.col("score") - pl.col("score_control")).mean().alias("difference")
    )
    differences = (
        suites.group_by("seed", maintain_order=True)
        .agg(pl.col("difference").mean())
        .sort("seed")["difference"]
        .to_list()
    )
    if len(differences) < 2:
        return None
    return OverSeeds(
        seeds=len(differences),
        difference=seed_interval(differences),
        detectable=detectable_of(differences),
    )
