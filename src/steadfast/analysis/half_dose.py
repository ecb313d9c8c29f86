"""The dose at which half of a gain is gone, with an interval that may be open above.

The share of the gain that is left is fitted by isotonic regression, non-increasing in the dose: an attack is not
believed to give back what it took. The fit is interpolated between the doses, on the scale log(1 + dose), since a
ladder of doses grows by factors. A half that is not gone at the largest dose is censored there: it may be gone
at a larger one, so the estimate and the upper end of its interval are open, which is written as infinity.

Two intervals are made of it:

- The bootstrap draws training seeds and, independently, items within each suite, with replacement, and takes
  percentiles. Draws that do not reach half count as open; draws without a gain count as open at both ends. What is of
  one seed and one item counts more than once (Owen 2007), so where that is most of the noise it is too wide. With few
  seeds, and noise that is the seeds', it is far too narrow, as any bootstrap of few values is.
- Student's: the doses at which the test of mean(gain(dose) - gain(0) / 2) = 0 over training seeds does not reject, with
  each seed's gain interpolated: Fieller's interval for the place of a crossing. It takes the items as given, so where
  items differ in how soon they are lost it says nothing of other items.

Each fails where the other holds. With fewer than eight seeds the interval to quote reaches as far as either, and from
there on it is the bootstrap's. Coverage of nominal 95% intervals in simulation, 60 items, five doses, true shares 1,
0.9, 0.7, 0.35 and 0.15, 300 studies each (standard error 0.013), by what the noise is; bootstrap / Student's / quoted:

    seeds   the seeds'            seeds' and items'     one seed's with one item   how soon items are lost
    3       0.81 / 0.99 / 0.99    0.95 / 0.99 / 1.00    0.99 / 0.98 / 1.00         0.93 / 0.75 / 0.95
    5       0.87 / 0.95 / 0.95    0.96 / 0.94 / 0.96    0.99 / 0.97 / 0.99         0.94 / 0.50 / 0.94
    8       0.93 / 0.95 / 0.93    0.97 / 0.95 / 0.97    0.99 / 0.92 / 0.99         0.93 / 0.39 / 0.93
    12      0.94 / 0.95 / 0.94    0.97 / 0.94 / 0.97    1.00 / 0.95 / 1.00         0.94 / 0.30 / 0.94

With three seeds a third to two thirds of the quoted intervals are open above, with five a seventh to two fifths, though
half of the gain is gone at 36 of 256 updates: a ladder of doses needs seeds more than it needs doses.

Sources:
    Barlow, Bartholomew, Bremner & Brunk 1972, "Statistical Inference under Order Restrictions".
    Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2).
"""

# scipy ships no types: what it leaves unknown is not ours to annotate.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isinf, isnan
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import isotonic_regression

from steadfast.analysis.bootstrap import FEWEST_FOR_BOOTSTRAP, TIE, Interval

Array = NDArray[np.float64]

_STEPS = 100
"""Steps of the grid between two doses on which Student's test is made."""


@dataclass(frozen=True)
class HalfDose:
    """The dose at which half of the gain is gone.

    Attributes:
        bootstrap: The dose with its percentile interval over seeds and items. The dose is infinite if it is not
            reached, and so is an upper end that is open; a lower end is at most the largest dose.
        student: The same dose with Student's interval over seeds; its bounds are NaN where all seeds have one curve.
        largest: The largest dose that was tried, at which it is censored.
        unit: What doses are counted in, such as "updates".
        seeds: The number of training seeds.
    """

    bootstrap: Interval
    student: Interval
    largest: float
    unit: str
    seeds: int

    @property
    def interval(self) -> Interval:
        """The interval to quote: the bootstrap's, and with fewer than eight seeds as far as either reaches.

        Its bounds are NaN where all seeds have one curve.
        """
        one, other = self.bootstrap, self.student
        if isnan(other.low):
            return other
        if self.seeds >= FEWEST_FOR_BOOTSTRAP:
            return one
        return Interval(one.estimate, min(one.low, other.low), max(one.high, other.high), one.level)

    @property
    def reached(self) -> bool:
        """Whether half of the gain is gone at the largest dose."""
        return not isinf(self.interval.estimate)

    @property
    def sentence(self) -> str:
        """The dose in words, with its interval and what is open in it."""
        found, most = self.interval, f"{self.largest:.3g} {self.unit}"
        if self.reached:
            said = f"Half of the gain is gone at {found.estimate:.3g} {self.unit}"
        else:
            said = f"Half of the gain is not gone at {most}, the most that was tried"
        if isnan(found.low):
            return f"{said}; every training seed gives the same curve, which tells nothing of their spread."
        over = f"over {self.seeds} training seeds and their items"
        level = f"{found.level:.0%} interval"
        if not isinf(found.high):
            return f"{said}, {level} from {found.low:.3g} to {found.high:.3g} ({over})."
        if found.low >= self.largest:
            return f"{said}; the {level} lies wholly above that ({over})."
        tried = f" beyond the {most} that were tried" if self.reached else ""
        return f"{said}; the {level} begins at {found.low:.3g} and is open{tried} ({over})."


def half_dose(
    gains_DSU: Array,
    doses: Sequence[float],
    suites: Sequence[NDArray[np.intp]],
    *,
    scale: Literal["log", "linear"] = "log",
    unit: str = "updates",
    level: float = 0.95,
    draws: int = 2_000,
    seed: int = 0,
) -> HalfDose:
    """Find the dose at which half of the gain is gone.

    Args:
        gains_DSU: The gain [doses, seeds, units] of an arm over its reference, the first dose being before the attack;
            NaN at all doses where a unit was not measured with a seed.
        doses: The doses [doses], growing from 0.
        suites: The places of each suite's units; suites weigh the same.
        scale: Whether to interpolate on log(1 + dose) or on the dose itself.
        unit: What doses are counted in.
        level: The nominal coverage.
        draws: The bootstrap draws.
        seed: Of the draws.

    Raises:
        ValueError: The doses do not grow from 0, there are fewer than two doses or seeds, or there is no gain before
            the attack; see `fieller.too_small` for what should be asked first.
    """
    gains_DS = np.mean([np.nanmean(gains_DSU[:, :, k], axis=2) for k in suites], axis=0)
    x = np.asarray(doses, dtype=np.float64)
    if x.size < 2 or x[0] != 0 or (np.diff(x) <= 0).any() or gains_DS.shape[1] < 2:
        raise ValueError("half a dose needs two doses at least, growing from 0, and two training seeds")
    if gains_DS[0].mean() <= 0:
        raise ValueError("there was no gain before the attack, so no half of it")
    at = np.log1p(x) if scale == "log" else x
    estimate = crossing(monotone_share(gains_DS.mean(axis=1)), at)
    curves = _drawn_curves(gains_DSU, suites, draws, np.random.default_rng(seed))
    drawn = _percentiles([_crossing_of(curve, at) for curve in curves], level)
    student = _student(gains_DS, at, level)

    def interval(low: float, high: float) -> Interval:
        ends = [float(np.expm1(v)) if scale == "log" else v for v in (estimate, low, high)]
        return Interval(ends[0], float(np.minimum(ends[1], x[-1])), ends[2], level)

    return HalfDose(interval(*drawn), interval(*student), float(x[-1]), unit, gains_DS.shape[1])


def monotone_share(gains: Array) -> Array:
    """The share of a gain [doses] that is left, the first dose being before the attack, as a non-increasing fit."""
    return np.asarray(isotonic_regression(gains / gains[0], increasing=False).x, dtype=np.float64)


def crossing(share: Array, at: Array) -> float:
    """Where a non-increasing share [doses] first falls to one half, interpolated; infinite if nowhere.

    Args:
        share: The share left, of which the first is above one half.
        at: Where each share stands, growing.
    """
    gone = np.flatnonzero(share <= 0.5)
    if gone.size == 0:
        return inf
    k = int(gone[0])
    return float(at[k - 1] + (share[k - 1] - 0.5) / (share[k - 1] - share[k]) * (at[k] - at[k - 1]))


def _crossing_of(gains: Array, at: Array) -> float:
    """The crossing of a drawn curve; NaN where it has no gain."""
    # A fit's first value is never below the first share, which is 1: the crossing lies after the first dose.
    return crossing(monotone_share(gains), at) if gains[0] > 0 else float("nan")


def _drawn_curves(gains_DSU: Array, suites: Sequence[NDArray[np.intp]], draws: int, rng: np.random.Generator) -> Array:
    """The mean gain [draws, doses] over drawn seeds and drawn units."""
    doses, seeds, _ = gains_DSU.shape
    by_suite: list[Array] = []
    for k in suites:
        part_DSU = gains_DSU[:, :, k]
        counted_SU = ~np.isnan(part_DSU[0])
        times_BU = rng.multinomial(k.size, np.full(k.size, 1 / k.size), size=draws).astype(np.float64)
        sums_BDS = times_BU @ np.where(counted_SU, part_DSU, 0.0).reshape(doses * seeds, k.size).T
        with np.errstate(invalid="ignore"):  # a draw without any unit of a seed has no gain
            by_suite.append(sums_BDS.reshape(draws, doses, seeds) / (times_BU @ counted_SU.T)[:, None, :])
    share_BS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    return np.einsum("bds,bs->bd", np.mean(by_suite, axis=0), share_BS)


def _percentiles(crossings: Sequence[float], level: float) -> tuple[float, float]:
    found = np.array(crossings)
    unknown = np.isnan(found)
    low = np.quantile(np.where(unknown, 0.0, found), (1 - level) / 2, method="lower")
    high = np.quantile(np.where(unknown, inf, found), (1 + level) / 2, method="higher")
    return float(low), float(high)


def _student(gains_DS: Array, at: Array, level: float) -> tuple[float, float]:
    """The ends of the places where Student's test does not reject that half of the gain is left."""
    seeds = gains_DS.shape[1]
    above_DS = gains_DS - gains_DS[0] / 2
    if np.ptp(above_DS, axis=1).max() < TIE:
        return float("nan"), float("nan")
    grid = np.concatenate([np.linspace(a, b, _STEPS, endpoint=False) for a, b in pairwise(at)] + [at[-1:]])
    above_GS = np.stack([np.interp(grid, at, above_DS[:, s]) for s in range(seeds)], axis=1)
    mean = above_GS.mean(axis=1)
    kept = np.flatnonzero(np.abs(mean) <= float(stats.t.ppf((1 + level) / 2, seeds - 1)) * stats.sem(above_GS, axis=1))
    if kept.size == 0:  # the mean jumps past zero between two places, or is above it at all of them
        passed = np.flatnonzero(mean <= 0)
        return (inf, inf) if passed.size == 0 else (float(grid[passed[0] - 1]), float(grid[passed[0]]))
    return float(grid[kept[0]]), inf if kept[-1] == grid.size - 1 else float(grid[kept[-1]])
