"""Scores of arms before and after attacks, paired: the table that every statistic of persistence is taken from.

Rows of an attacked checkpoint are the ordinary rows of the table of results with three columns more. Of all columns
these are read:

    checkpoint    String   the arm, or the model before training; an attack does not rename it
    seed          Int64    the training seed of the checkpoint; null for one without, such as the pre-RL model
    condition     String   how it was asked: "plain", or a persona
    suite, task   String   what was asked
    pair          String   the id of the task's twin; null, or no such column, where a task has none
    score         Float64  in [0, 1]; null (or NaN) is "not graded"
    attack        String   the attack's name; null before any attack
    dose          Int64    its updates, above zero; null or 0 before any attack
    attack_seed   Int64    the seed of its data order and its fresh adapter; null before any attack

A table without the last three columns holds checkpoints before any attack. There is one row for each of these but the
score: of several graders, judges or wordings under one name the caller keeps one.

What is paired: a task counts in a run (a training seed with an attack seed) if every cell of the design has a grade
for it there. A checkpoint without a training seed stands in every seed, and one before any attack in every attack
seed. The attack seeds of a training seed are then averaged: the training seed is what an arm is trained once with,
and two attacks on the same weights are no two pieces of evidence about the arm.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

Twins = Literal["mean", "product"]
"""What twins count as: the mean of what is graded of a pair, or pair success, which is the product of both."""

Array = NDArray[np.float64]
Key = tuple[int | None, int | None]
"""A training seed and an attack seed, as rows have them."""

Keys = Set[Key]

_RUN = ["seed", "attack_seed"]
_TASK = ["suite", "task"]
_UNIT = ["suite", "unit"]


@dataclass(frozen=True)
class Cell:
    """A checkpoint, before an attack or after a dose of it, asked under a condition.

    Attributes:
        checkpoint: The arm's name, or that of the model before training.
        condition: How it was asked.
        attack: The attack's name; None before any.
        dose: The attack's updates; 0 before any.
    """

    checkpoint: str
    condition: str = "plain"
    attack: str | None = None
    dose: float = 0

    def __post_init__(self) -> None:
        if (self.attack is None) != (self.dose == 0) or self.dose < 0:
            raise ValueError(f"{self.words}: an attack has a dose above zero, and no attack has the dose 0")

    @property
    def words(self) -> str:
        """The cell's name in a sentence."""
        after = f" after {self.dose:g} updates of {self.attack!r}" if self.attack else ""
        return f"{self.checkpoint!r}{after} under {self.condition!r}"


@dataclass(frozen=True)
class PairedScores:
    """The scores of the cells of a design, paired by seed and by item.

    Attributes:
        scores_CSU: The scores [cells, seeds, units]; NaN where a unit does not count in a seed. A unit is a task, or
            twins taken together, and counts in all cells of a seed or in none.
        seeds: The training seeds [seeds]; attack seeds where no cell has training seeds; (0,) where none has either.
        over: Which of these they are.
        runs: The runs that were averaged: each seed with each attack seed that all attacked cells have.
        suites: The suite [units] of each unit.
        dropped: The number of tasks of these suites left out of a run, or of all, for want of a cell's grade there.
        missing: The seeds that only some of the cells were measured with; they are left out.
        left_out: The suites without any unit in some seed, as those that only some cells were asked; they are left out.
    """

    scores_CSU: Array
    seeds: tuple[int, ...]
    over: Literal["training seed", "attack seed", "model"]
    runs: tuple[tuple[int, int | None], ...]
    suites: tuple[str, ...]
    dropped: int
    missing: tuple[int, ...]
    left_out: tuple[str, ...]

    @property
    def of_suite(self) -> list[NDArray[np.intp]]:
        """The places of each suite's units, in the order of the suites' names."""
        names = np.array(self.suites)
        return [np.flatnonzero(names == name) for name in sorted(set(self.suites))]

    def levels(self) -> Array:
        """The mean score [cells, seeds], in which every suite weighs the same."""
        return np.mean([np.nanmean(self.scores_CSU[:, :, k], axis=2) for k in self.of_suite], axis=0)


def paired_scores(rows: pl.DataFrame, cells: Sequence[Cell], *, twins: Twins = "mean") -> PairedScores:
    """Pair the scores of some cells.

    Args:
        rows: A table with the columns that the module describes.
        cells: The cells of the design.
        twins: What twins count as.

    Raises:
        ValueError: A cell has no rows, a task has several rows in a run, rows with and without a seed are mixed in a
            cell, the cells share no seed, or no suite has a task that all of them have graded.
    """
    mine = _of_cells(rows, cells)
    keys: list[set[Key]] = [set() for _ in cells]
    for cell, seed, attack_seed in mine.select("cell", *_RUN).unique().iter_rows():
        keys[cell].add((seed, attack_seed))
    runs, over, missing = _common_runs(keys)
    if not runs:
        raise ValueError(f"no {over} is common to all of: {'; '.join(c.words for c in cells)}")
    # In one order, or sums would differ in their last bits from one call to the next.
    scores = mine.join(_places(keys, runs), on=["cell", *_RUN], nulls_equal=True).sort("run", "cell", *_TASK)
    graded = scores.filter(pl.col("score").is_not_null())
    counted = graded.filter(pl.len().over("run", *_TASK) == len(cells))
    units = _units(counted, twins)
    seeds = sorted({seed for seed, _ in runs})
    suites = units.group_by("suite").agg(pl.col("for").n_unique()).filter(pl.col("for") == len(seeds))["suite"]
    if suites.is_empty():
        raise ValueError(f"no suite has a task that is graded in all of: {'; '.join(c.words for c in cells)}")
    kept = pl.col("suite").is_in(suites.to_list())
    units, names = units.filter(kept), units.filter(kept).select(_UNIT).unique().sort(_UNIT)
    return PairedScores(
        scores_CSU=_array(units, names, len(cells), seeds),
        seeds=tuple(seeds),
        over=over,
        runs=tuple((seed, attack_seed) for seed, (_, attack_seed) in runs),
        suites=tuple(names["suite"].to_list()),
        dropped=_dropped(scores.filter(kept), counted, len(runs) * len(cells)),
        missing=missing,
        left_out=tuple(sorted(set(scores["suite"].to_list()) - set(suites.to_list()))),
    )


def _of_cells(rows: pl.DataFrame, cells: Sequence[Cell]) -> pl.DataFrame:
    """The rows of the cells, with the number of each row's cell, and its unit."""
    types = {"pair": pl.String, "attack": pl.String, "dose": pl.Float64, "attack_seed": pl.Int64}
    lacking = [pl.lit(None, t).alias(name) for name, t in types.items() if name not in rows.columns]
    kinds = ["checkpoint", "condition", "attack", "dose"]
    wanted = pl.DataFrame(
        [(c.checkpoint, c.condition, c.attack, float(c.dose)) for c in cells],
        schema=dict.fromkeys(kinds, pl.String) | {"dose": pl.Float64},
        orient="row",
    )
    unit, twin = pl.min_horizontal("task", "pair"), pl.col("pair").is_not_null()
    mine = (
        rows.with_columns(*lacking)
        .with_columns(pl.col(name).cast(t) for name, t in types.items())
        .with_columns(pl.col("dose").fill_null(0.0))
        .join(wanted.with_row_index("cell"), on=kinds, nulls_equal=True)
        .select("cell", *_RUN, *_TASK, unit.alias("unit"), twin.alias("twin"), pl.col("score").fill_nan(None))
    )
    _refuse(mine, cells)
    return mine


def _refuse(mine: pl.DataFrame, cells: Sequence[Cell]) -> None:
    found = {row["cell"]: row for row in mine.group_by("cell").agg(pl.len(), pl.col(_RUN).null_count()).to_dicts()}
    for c, cell in enumerate(cells):
        if c not in found:
            raise ValueError(f"no rows of {cell.words}")
        for name in _RUN:
            if 0 < found[c][name] < found[c]["len"]:
                raise ValueError(f"{cell.words} has rows with and without {name}")
    key = ["cell", *_RUN, *_TASK]
    twice = mine.filter(mine.select(key).is_duplicated()).sort(key)
    if not twice.is_empty():
        c, suite, task = twice.select("cell", *_TASK).row(0)
        raise ValueError(
            f"{cells[c].words} has several rows of task {task!r} in suite {suite!r} with one seed; "
            "keep those of one grader and judge"
        )


def _common_runs(
    keys: Sequence[Keys],
) -> tuple[
    Sequence[tuple[int, Key]],
    Literal["training seed", "attack seed", "model"],
    tuple[int, ...],
]:
    """The runs that all cells have, each with the seed that it counts for; what kind of seed; the seeds left out."""
    training = sorted({s for own in keys for s, _ in own if s is not None})
    if training:
        found = {s: _common_attack_seeds(keys, s) for s in training}
        runs = [(s, (s, a)) for s, attacks in found.items() for a in attacks]
        return runs, "training seed", tuple(s for s, attacks in found.items() if not attacks)
    attacks = sorted({a for own in keys for _, a in own if a is not None})
    if attacks:
        common = _common_attack_seeds(keys, None)
        missing = tuple(a for a in attacks if a not in common)
        return [(a, (None, a)) for a in common if a is not None], "attack seed", missing
    return [(0, (None, None))], "model", ()


def _common_attack_seeds(keys: Sequence[Keys], seed: int | None) -> list[int | None]:
    """The attack seeds that all attacked cells have for a training seed: [None] if none is attacked."""
    drawn: list[set[int | None]] = []
    for own in keys:
        mine: set[int | None] = {a for s, a in own if s in (seed, None)}
        if not mine:
            return []
        if mine != {None}:
            drawn.append(mine)
    return sorted(set.intersection(*drawn), key=lambda a: (a is not None, a)) if drawn else [None]


def _places(keys: Sequence[Keys], runs: Sequence[tuple[int, Key]]) -> pl.DataFrame:
    """For each cell and run the key that the cell's rows have, and the seed that the run counts for."""
    places = [
        (c, *next((s, a) for s, a in own if s in (run[0], None) and a in (run[1], None)), r, seed)
        for r, (seed, run) in enumerate(runs)
        for c, own in enumerate(keys)
    ]
    schema = {"cell": pl.UInt32, "seed": pl.Int64, "attack_seed": pl.Int64, "run": pl.Int64, "for": pl.Int64}
    return pl.DataFrame(places, schema=schema, orient="row")


def _units(counted: pl.DataFrame, twins: Twins) -> pl.DataFrame:
    by_unit = counted.group_by("cell", "run", "for", *_UNIT)
    if twins == "mean":
        return by_unit.agg(pl.col("score").mean())
    whole = by_unit.agg(pl.col("score").product(), pl.len().alias("graded"), pl.col("twin").any())
    return whole.filter(~pl.col("twin") | (pl.col("graded") == 2)).drop("graded", "twin")


def _array(units: pl.DataFrame, names: pl.DataFrame, cells: int, seeds: Sequence[int]) -> Array:
    """The scores [cells, seeds, units], the mean over the runs of a seed."""
    of_seed = units.sort("run").group_by("cell", "for", *_UNIT).agg(pl.col("score").mean())
    means = of_seed.join(names.with_row_index("place"), on=_UNIT)
    array = np.full((cells, len(seeds), names.height), np.nan)
    seed = np.searchsorted(np.asarray(seeds), means["for"].to_numpy())
    array[means["cell"].to_numpy(), seed, means["place"].to_numpy()] = means["score"].to_numpy()
    return array


def _dropped(scores: pl.DataFrame, counted: pl.DataFrame, whole: int) -> int:
    full = counted.group_by(_TASK).len().filter(pl.col("len") == whole)
    return scores.select(_TASK).unique().join(full, on=_TASK, how="anti").height
