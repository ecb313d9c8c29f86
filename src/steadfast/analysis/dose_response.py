"""What is left of an arm's gain at each dose of an attack, and at each depth to which the attack was learned.

Arms are not only attacked for so many updates, they learn the attack at their own rate, and one that learns slowly
looks robust. So the gain is followed in two ways: at equal doses, and at equal fall of the held-out attack loss, with
the levels of the arm and of its reference interpolated between their doses, each along its own fall of the loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadfast.analysis.bootstrap import Interval
from steadfast.analysis.factorial import Cell, PairedScores, Twins, paired_scores
from steadfast.analysis.fieller import too_small
from steadfast.analysis.half_dose import HalfDose, half_dose, monotone_share
from steadfast.analysis.seeds import seed_interval

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DoseResponse:
    """The gain of an arm over a reference along an attack.

    Attributes:
        doses: The doses [doses], from 0, in `unit`.
        unit: What they are counted in: "updates", or what `learned` is counted in.
        gains: The mean gain at each dose, with Student's interval over training seeds.
        shares: The share of the first gain that is left at each; NaN where there is no gain before the attack.
        fit: The same as a non-increasing fit; empty where no share is given.
        half: The dose at which half of the gain is gone; None where no share is given.
        items: The number of tasks, or pairs of twins.
        dropped: The number of tasks left out for want of a grade.
        missing: The training seeds left out because a cell was not measured with them.
        reason: Why there is no half dose; empty if there is one.
    """

    doses: tuple[float, ...]
    unit: str
    gains: tuple[Interval, ...]
    shares: tuple[float, ...]
    fit: tuple[float, ...]
    half: HalfDose | None
    items: int
    dropped: int
    missing: tuple[int, ...]
    reason: str = ""

    @property
    def sentence(self) -> str:
        """The half dose in words, or the reason why there is none."""
        return self.half.sentence if self.half else f"No dose at which half of the gain is gone: {self.reason}."


def dose_response(
    rows: pl.DataFrame,
    arm: str,
    reference: str,
    attack: str,
    doses: Sequence[float],
    *,
    reference_attacked: bool = True,
    condition: str = "plain",
    twins: Twins = "mean",
    level: float = 0.95,
    draws: int = 2_000,
    seed: int = 0,
) -> DoseResponse:
    """Follow the gain of an arm over its reference from dose to dose.

    Args:
        rows: A table as `analysis.factorial` describes it.
        arm: The arm's name.
        reference: What the gain is over: the model before training, or the baseline.
        attack: The attack's name.
        doses: Its updates, growing, each above zero; the level before the attack is taken beside them.
        reference_attacked: Whether the gain is over the reference after the same dose, or over the untouched one.
        condition: How the checkpoints were asked.
        twins: What twins count as.
        level: The nominal coverage.
        draws: The bootstrap draws.
        seed: Of the draws.

    Raises:
        ValueError: The cells cannot be paired (see `paired_scores`), or the doses do not grow from above zero.
    """
    paired, arm_DSU, reference_DSU = _scores(rows, arm, reference, attack, doses, reference_attacked, condition, twins)
    gains_DSU = arm_DSU - reference_DSU
    return _response(paired, gains_DSU, [0.0, *doses], "log", "updates", level, draws, seed)


def response_to_learning(
    rows: pl.DataFrame,
    learned: pl.DataFrame,
    arm: str,
    reference: str,
    attack: str,
    doses: Sequence[float],
    *,
    reference_attacked: bool = True,
    condition: str = "plain",
    twins: Twins = "mean",
    unit: str = "nats of attack loss",
    level: float = 0.95,
    draws: int = 2_000,
    seed: int = 0,
) -> DoseResponse:
    """Follow the gain of an arm over its reference at equal depths of learning, in place of equal doses.

    Both are followed as far as every training seed of both has learned. A dose at which nothing was learned yet is
    passed over. Interpolation is linear in what was learned.

    Args:
        rows: A table as `analysis.factorial` describes it.
        learned: The columns checkpoint, seed, attack, dose, attack_seed (as in `rows`) and `learned`, which is 0 before
            the attack and grows as it takes: the held-out attack loss before it, less that after it. There is one row
            for each attacked checkpoint of the arm, and of the reference where it is attacked.
        arm: The arm's name.
        reference: What the gain is over.
        attack: The attack's name.
        doses: Its updates, growing, each above zero.
        reference_attacked: Whether the gain is over the reference at the same depth, or over the untouched one.
        condition: How the checkpoints were asked.
        twins: What twins count as.
        unit: What `learned` is counted in.
        level: The nominal coverage.
        draws: The bootstrap draws.
        seed: Of the draws.

    Raises:
        ValueError: The cells cannot be paired (see `paired_scores`), the doses do not grow from above zero, or what an
            attacked checkpoint learned is not told.
    """
    paired, arm_DSU, reference_DSU = _scores(rows, arm, reference, attack, doses, reference_attacked, condition, twins)
    sides = [arm, reference] if reference_attacked else [arm]
    depths = [_depths(learned, name, attack, doses, paired) for name in sides]
    shallow = [name for name, depth_DS in zip(sides, depths, strict=True) if (depth_DS.max(axis=0) <= 0).any()]
    if shallow:
        reason = f"the attack was not learned: with some seed the held-out loss of {shallow[0]!r} never fell"
        return DoseResponse((), unit, (), (), (), None, len(paired.suites), paired.dropped, paired.missing, reason)
    deepest = min(float(depth_DS.max(axis=0).min()) for depth_DS in depths)
    means = np.unique(np.concatenate([depth_DS.mean(axis=1) for depth_DS in depths]))
    grid = np.array([0.0, *means[(means > 0) & (means < deepest)], deepest])
    gains = _at_depths(arm_DSU, depths[0], grid)
    gains -= _at_depths(reference_DSU, depths[1], grid) if reference_attacked else reference_DSU[:1]
    return _response(paired, gains, grid.tolist(), "linear", unit, level, draws, seed)


def _scores(
    rows: pl.DataFrame,
    arm: str,
    reference: str,
    attack: str,
    doses: Sequence[float],
    reference_attacked: bool,
    condition: str,
    twins: Twins,
) -> tuple[PairedScores, Array, Array]:
    """The paired scores of an arm and of its reference, each [doses, seeds, units], the first before the attack."""
    if not doses or any(b <= a for a, b in zip([0, *doses], doses, strict=False)):
        raise ValueError(f"the doses of an attack must grow from above zero, unlike {list(doses)}")

    def ladder(name: str) -> list[Cell]:
        return [Cell(name, condition), *(Cell(name, condition, attack, dose) for dose in doses)]

    before = [Cell(reference, condition)]
    paired = paired_scores(rows, ladder(arm) + (ladder(reference) if reference_attacked else before), twins=twins)
    count = len(doses) + 1
    # An untouched reference is one level, which broadcasts over the doses.
    return paired, paired.scores_CSU[:count], paired.scores_CSU[count:]


def _response(
    paired: PairedScores,
    gains_DSU: Array,
    doses: Sequence[float],
    scale: Literal["log", "linear"],
    unit: str,
    level: float,
    draws: int,
    seed: int,
) -> DoseResponse:
    suites = paired.of_suite
    gains_DS = np.mean([np.nanmean(gains_DSU[:, :, k], axis=2) for k in suites], axis=0)
    mean = gains_DS.mean(axis=1)
    reason = too_small([float(v) for v in gains_DS[0]])
    return DoseResponse(
        doses=tuple(float(d) for d in doses),
        unit=unit,
        gains=tuple(seed_interval([float(v) for v in of_dose], level) for of_dose in gains_DS),
        shares=tuple(float(v) / float(mean[0]) if mean[0] > 0 else float("nan") for v in mean),
        fit=() if reason else tuple(float(v) for v in monotone_share(mean)),
        half=None
        if reason
        else half_dose(gains_DSU, doses, suites, scale=scale, unit=unit, level=level, draws=draws, seed=seed),
        items=len(paired.suites),
        dropped=paired.dropped,
        missing=paired.missing,
        reason=reason,
    )


def _depths(learned: pl.DataFrame, name: str, attack: str, doses: Sequence[float], paired: PairedScores) -> Array:
    """What was learned [doses, seeds], 0 before the attack, the mean over attack seeds."""
    mine = learned.filter(pl.col("checkpoint") == name, pl.col("attack") == attack)
    depth_DS = np.zeros((len(doses) + 1, len(paired.seeds)))
    for s, seed in enumerate(paired.seeds):
        attack_seeds = [a for of, a in paired.runs if of == seed]
        of_seed = mine.filter(
            pl.col("seed").is_null() | (pl.col("seed") == seed),
            pl.col("attack_seed").is_null() | pl.col("attack_seed").is_in(attack_seeds),
        )
        for d, dose in enumerate(doses, start=1):
            values = of_seed.filter(pl.col("dose") == dose)["learned"].drop_nulls().to_numpy()
            if values.size == 0 or not np.isfinite(values).all():
                where = f"{name!r} with seed {seed} after {dose:g} updates of {attack!r}"
                raise ValueError(f"the table of what was learned has no finite value of {where}")
            depth_DS[d, s] = values.mean()
    return depth_DS


def _at_depths(scores_DSU: Array, depth_DS: Array, grid: Array) -> Array:
    """Scores [grid, seeds, units] interpolated along what each seed has learned."""
    found = np.empty((grid.size, *scores_DSU.shape[1:]))
    for s, depths in enumerate(depth_DS.T):
        told = np.flatnonzero((depths > 0) | (np.arange(depths.size) == 0))
        order = told[np.argsort(depths[told], kind="stable")]
        weights = np.stack([np.interp(grid, depths[order], row) for row in np.eye(order.size)], axis=1)
        found[:, s] = weights @ scores_DSU[order, s]
    return found
