"""Tables of results out of arrays: checkpoints before and after attacks."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from steadfast.analysis.factorial import Cell

SCHEMA = {
    "checkpoint": pl.String,
    "seed": pl.Int64,
    "condition": pl.String,
    "suite": pl.String,
    "task": pl.String,
    "pair": pl.String,
    "score": pl.Float64,
    "attack": pl.String,
    "dose": pl.Int64,
    "attack_seed": pl.Int64,
}


def table(
    scores: Mapping[Cell, np.ndarray],
    *,
    seeds: Sequence[int | None] | None = None,
    suite: str = "s",
    attack_seed: int | None = 0,
    twins: bool = False,
) -> pl.DataFrame:
    """Rows of scores [seeds, tasks] by cell; with twins, tasks 2k and 2k + 1 are a pair.

    Training seeds are numbered from 0 unless they are given; [None] is a checkpoint without one.
    """
    return pl.concat(_rows(cell, np.asarray(s), seeds, suite, attack_seed, twins) for cell, s in scores.items())


def _rows(cell, scores, seeds, suite, attack_seed, twins):
    runs, tasks = scores.shape
    names = [f"{suite}-{i:03}" for i in range(tasks)]
    pairs = [names[i ^ 1] for i in range(tasks)] if twins else [None] * tasks
    count = runs * tasks
    numbers = list(range(runs)) if seeds is None else list(seeds)
    columns = {
        "checkpoint": [cell.checkpoint] * count,
        "seed": [s for s in numbers for _ in names],
        "condition": [cell.condition] * count,
        "suite": [suite] * count,
        "task": names * runs,
        "pair": pairs * runs,
        "score": scores.ravel(),
        "attack": [cell.attack] * count,
        "dose": [int(cell.dose)] * count,
        "attack_seed": [attack_seed if cell.attack else None] * count,
    }
    return pl.DataFrame(columns, schema=SCHEMA)
