"""What a recipe could show: the smallest effect of its seeds and pairs, by assumption or by what a run scattered."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from steadfast.analysis.bootstrap import has_spread
from steadfast.analysis.pairs import pair_successes
from steadfast.analysis.power import ASSUMED, Spread, detectable, spread_of
from steadfast.errors import RecipeError
from steadfast.evals.rows import PLAIN
from steadfast.report.loading import load_run
from steadfast.report.primary import paired_differences
from steadfast.study.arms import BASELINE
from steadfast.study.data import StudyData
from steadfast.study.rungs import Rung, rung_of

SEEDS, PAIRS = (2, 3, 5, 10), (25, 100, 400)
"""The numbers of seeds and pairs for which is told what they would buy."""


@dataclass(frozen=True)
class RungPower:
    """What a recipe could show on one rung.

    Attributes:
        rung: The rung.
        primary: Whether the recipe names it as the one that decides.
        pairs: How many pairs each seed measures there.
        spread: How far the difference between the arm and its baseline scatters there.
        source: Where that is known from.
        detectable: The difference of pair success, in [0, 1], that is found four times in five; None with one seed.
    """

    rung: Rung
    primary: bool
    pairs: int
    spread: Spread
    source: str
    detectable: float | None


def recipe_power(data: StudyData, run: Path | None = None) -> list[RungPower]:
    """The smallest effect on every rung of the recipe's ladder.

    Args:
        data: The recipe's data.
        run: A finished run whose arm and baseline tell how far differences scatter; None takes `ASSUMED`.

    Raises:
        RecipeError: The recipe measures no ladder, or the run has no spread to give.
        SteadfastError: The run is unfinished, or a file of it cannot be read.
    """
    recipe = data.recipe
    found = data.pairs_by_rung(recipe.leading_arm)
    if not found:
        raise RecipeError("the recipe measures no twins, so there is no pair success; add data.twins, evaluation.twins")
    known = {} if run is None else _spreads(run)
    seeds = len(recipe.seeds)
    powers: list[RungPower] = []
    for rung, pairs in found.items():
        spread = known.get(rung, ASSUMED)
        powers.append(
            RungPower(
                rung=rung,
                primary=recipe.primary is not None and rung == recipe.primary.rung,
                pairs=pairs,
                spread=spread,
                source="the run" if rung in known else "assumed",
                detectable=detectable(spread, seeds=seeds, pairs=pairs) if seeds > 1 else None,
            )
        )
    return powers


def _spreads(directory: Path) -> dict[Rung, Spread]:
    """The spread of the leading arm's difference from the baseline on each rung of a run."""
    run = load_run(directory)
    arm, twins = run.recipe.leading_arm, run.trained_twins
    if twins is None or len(run.recipe.seeds) < 2:
        raise RecipeError(f"{directory}: a spread over seeds needs a run with twins and two training seeds at least")
    twins_of_programs = (pl.col("kind") == "twins") & (pl.col("grader") == "program")
    rows = run.results.filter(twins_of_programs & (pl.col("condition") == PLAIN))
    pairs = pair_successes(rows).with_columns(rung_of(run.recipe.arm(arm), twins).alias("rung"))
    found: dict[Rung, Spread] = {}
    for (rung,), there in paired_differences(pairs, arm, BASELINE).group_by("rung", maintain_order=True):
        table = there.pivot("pair", index="seed", values="difference").drop("seed").to_numpy().astype(np.float64)
        whole = table[:, np.isfinite(table).all(axis=0)]
        if min(whole.shape) > 1 and has_spread(whole):  # where nothing scatters the run tells nothing
            found[rung] = spread_of(whole)  # type: ignore[index]
    return found
