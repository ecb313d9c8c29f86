"""Arms that start an attack at different levels, compared from the same level.

A drop from a high level and one from a low level are not the same thing: who has more can lose more. So an earlier
checkpoint of the stronger arm is taken that stood, before the attack, where the other arm stands. It is chosen on one
half of the items and measured on the other, because the nearest of several noisy levels is nearer by luck as well, and
on the items that chose it that luck would count twice. Halves are by a hash of the task's id (twins by the first of
both), so they are the same in every run and for everybody.

The second opinion is an analysis of covariance of the arms as they are:

    level after = a + b * level before + c * (is the arm) + error,

one row for each arm, training seed and suite, with errors clustered by the training seed (Liang & Zeger 1986; the
small-sample factor of Cameron & Miller 2015 and Student's quantile with one degree of freedom less than there are
seeds). Its c is the difference after the attack between arms of one level before it. It takes the relation to be a
line that is the same for both arms, which is an extrapolation where their levels do not overlap, and noise in the
level before makes b too small, which leaves a part of the start in c: suites of few items are not for it.

Simulated, four suites, starts ten points apart of which half is left after, 600 studies of 3, 5 and 10 seeds: of 95%
intervals of c 0.93 to 0.96 hold its true value with 400 items a suite, where c is 0.1 to 0.5 points too large on
average, and 0.90 to 0.95 with 40 items, where it is 1.7 to 1.9 points too large.

Sources:
    Lord 1967, "A paradox in the interpretation of group comparisons", Psychological Bulletin 68(5).
    Liang & Zeger 1986, "Longitudinal data analysis using generalized linear models", Biometrika 73(1).
"""

# statsmodels ships no types that a strict check could use.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadfast.analysis.bootstrap import TIE, Interval
from steadfast.analysis.differences import Contrast, contrast_of
from steadfast.analysis.equivalence import MARGIN, Equivalence, equivalence_over_seeds
from steadfast.analysis.factorial import Cell, PairedScores, Twins, paired_scores
from steadfast.analysis.points import bounds, points

Half = Literal["choose", "measure"]

FEWEST_SEEDS = 3
"""With fewer clusters the covariance's three coefficients leave nothing to take an error from."""


@dataclass(frozen=True)
class Start:
    """The checkpoint of an arm that is nearest to another arm's level before an attack.

    Attributes:
        checkpoint: The checkpoint.
        level: Its mean level on the choosing half of the items.
        target: The other arm's on the same items.
        levels: The levels of all candidates there.
    """

    checkpoint: str
    level: float
    target: float
    levels: dict[str, float]

    @property
    def gap(self) -> float:
        """What the chosen checkpoint's level has more than the other arm's."""
        return self.level - self.target


@dataclass(frozen=True)
class MatchedStart:
    """An arm's earlier checkpoint and another arm through the same attack, on items that did not choose it.

    Attributes:
        start: The choice.
        before: The difference of levels before the attack, on the measuring half: what the match left.
        match: Whether that lies within the margin.
        after: The difference of levels after the attack.
        difference: After less before: above zero, the attack took less from the arm's checkpoint.
    """

    start: Start
    before: Contrast
    match: Equivalence
    after: Contrast
    difference: Contrast

    @property
    def sentence(self) -> str:
        """The comparison in words, with how well the starts match."""
        matched = {
            "equivalent": "starts at the same level",
            "different": "does not start at the same level",
            "undecided": "starts nearest to that level, and a gap is not ruled out",
            None: "starts nearest to that level, with a gap of unknown spread",
        }[self.match.verdict]
        return (
            f"{self.start.checkpoint!r} {matched} on items that did not choose it: {self.before.sentence} "
            f"From there the attack left a difference of {self.after.sentence} After less before, that is "
            f"{self.difference.sentence}"
        )


def half_of(unit: str) -> Half:
    """Say to which half an item belongs, by its task's id, or by the first id of twins."""
    return "measure" if hashlib.sha256(f"matched start: {unit}".encode()).digest()[0] % 2 else "choose"


def choose_start(
    rows: pl.DataFrame,
    candidates: Sequence[str],
    other: str,
    *,
    condition: str = "plain",
    twins: Twins = "mean",
) -> Start:
    """Choose the checkpoint that stands nearest to another arm before an attack, on one half of the items.

    Nothing after an attack is looked at, so only the chosen one needs to be attacked. One choice is made for all
    training seeds, so that what is attacked is the arm at one step.

    Args:
        rows: A table as `analysis.factorial` describes it. An earlier checkpoint has a name of its own.
        candidates: The names of the stronger arm's checkpoints, the last among them.
        other: The other arm's name.
        condition: How the checkpoints were asked.
        twins: What twins count as.

    Raises:
        ValueError: There is no candidate, no item falls into this half, or the cells cannot be paired; see
            `paired_scores`.
    """
    if not candidates:
        raise ValueError("a start is chosen among one checkpoint at least")
    cells = [Cell(name, condition) for name in [*candidates, other]]
    *found, target = paired_scores(_half(rows, "choose"), cells, twins=twins).levels().mean(axis=1).tolist()
    levels = dict(zip(candidates, found, strict=True))
    chosen = min(candidates, key=lambda name: abs(levels[name] - target))
    return Start(chosen, levels[chosen], target, levels)


def at_matched_start(
    rows: pl.DataFrame,
    start: Start,
    other: str,
    attack: str,
    dose: float,
    *,
    condition: str = "plain",
    twins: Twins = "mean",
    margin: float = MARGIN,
) -> MatchedStart:
    """Compare the chosen checkpoint with the other arm before and after an attack, on the other half of the items.

    Args:
        rows: A table as `analysis.factorial` describes it, in which the chosen checkpoint was attacked.
        start: What `choose_start` gave.
        other: The other arm's name.
        attack: The attack's name.
        dose: Its updates.
        condition: How the checkpoints were asked.
        twins: What twins count as.
        margin: How many points of a hundred the levels before may differ and still be called the same.

    Raises:
        ValueError: No item falls into this half, or the cells cannot be paired; see `paired_scores`.
    """
    names = (start.checkpoint, other)
    cells = [*(Cell(name, condition) for name in names), *(Cell(name, condition, attack, dose) for name in names)]
    paired = paired_scores(_half(rows, "measure"), cells, twins=twins)
    before = contrast_of(paired, [1, -1, 0, 0])
    return MatchedStart(
        start=start,
        before=before,
        match=equivalence_over_seeds(before.values, margin=margin, over=before.over),
        after=contrast_of(paired, [0, 0, 1, -1]),
        difference=contrast_of(paired, [-1, 1, 1, -1]),
    )


@dataclass(frozen=True)
class Adjusted:
    """The difference between two arms after an attack, adjusted for their levels before it.

    Attributes:
        difference: The adjusted difference with its interval; None where it could not be estimated.
        slope: How much of a difference in level before is left after.
        overlap: Whether the arms' levels before overlap; where not, the adjustment is an extrapolation.
        seeds: The number of training seeds.
        reason: Why there is no difference; empty if there is one.
    """

    difference: Interval | None
    slope: float
    overlap: bool
    seeds: int
    reason: str = ""

    @property
    def sentence(self) -> str:
        """The adjusted difference in words, or the reason why there is none."""
        if self.difference is None:
            return f"No analysis of covariance: {self.reason}."
        found = f"{points(self.difference.estimate)} {bounds(self.difference.low, self.difference.high)} points"
        beyond = "" if self.overlap else "; the arms' levels before do not overlap, so this is an extrapolation"
        return f"At equal level before, the level after differs by {found} over {self.seeds} training seeds{beyond}."


def analysis_of_covariance(
    rows: pl.DataFrame,
    arm: str,
    other: str,
    attack: str,
    dose: float,
    *,
    condition: str = "plain",
    twins: Twins = "mean",
    level: float = 0.95,
) -> Adjusted:
    """Regress the level after an attack on the level before it and on the arm.

    Args:
        rows: A table as `analysis.factorial` describes it.
        arm: The arm's name.
        other: The other arm's name.
        attack: The attack's name.
        dose: Its updates.
        condition: How the checkpoints were asked.
        twins: What twins count as.
        level: The nominal coverage.

    Raises:
        ValueError: The cells cannot be paired; see `paired_scores`.
    """
    attacked = [Cell(name, condition, attack, dose) for name in (arm, other)]
    paired = paired_scores(rows, [Cell(arm, condition), Cell(other, condition), *attacked], twins=twins)
    if len(paired.seeds) < FEWEST_SEEDS:
        return _unadjusted(paired, f"it needs {FEWEST_SEEDS} training seeds, not {len(paired.seeds)}")
    levels = np.stack([np.nanmean(paired.scores_CSU[:, :, k], axis=2) for k in paired.of_suite], axis=2)
    before, after = levels[:2].reshape(2, -1), levels[2:].reshape(2, -1)
    if np.ptp(before, axis=1).max() < TIE:
        return _unadjusted(paired, "the levels before the attack do not vary within the arms")
    seeds = np.tile(np.repeat(np.arange(len(paired.seeds)), len(paired.of_suite)), 2)
    return _adjusted(before, after, seeds, len(paired.seeds), level)


def _adjusted(
    before: NDArray[np.float64], after: NDArray[np.float64], seeds: NDArray[np.intp], count: int, level: float
) -> Adjusted:
    """The regression of levels [arms, rows]; `seeds` are those of the rows of both arms, one after the other."""
    from statsmodels.regression.linear_model import OLS

    is_arm = np.repeat([1.0, 0.0], before.shape[1])
    design = np.column_stack([np.ones(is_arm.size), before.ravel(), is_arm])
    fit: Any = OLS(after.ravel(), design).fit(cov_type="cluster", cov_kwds={"groups": seeds}, use_t=True)
    low, high = (float(v) for v in fit.conf_int(alpha=1 - level)[2])
    overlap = bool(before.min(axis=1).max() <= before.max(axis=1).min())
    found = Interval(float(fit.params[2]), low, high, level)
    return Adjusted(found, float(fit.params[1]), overlap, count)


def _unadjusted(paired: PairedScores, reason: str) -> Adjusted:
    return Adjusted(None, float("nan"), False, len(paired.seeds), reason)


def _half(rows: pl.DataFrame, half: Half) -> pl.DataFrame:
    pair = pl.col("pair") if "pair" in rows.columns else pl.lit(None, pl.String)
    unit = pl.min_horizontal("task", pair)
    ids = rows.select(unit.alias("unit")).to_series().unique().to_list()
    kept = [u for u in ids if half_of(u) == half]
    if ids and not kept:
        raise ValueError(f"of {len(ids)} items none falls into the half that is to {half}, so more are needed")
    return rows.filter(unit.is_in(kept))
