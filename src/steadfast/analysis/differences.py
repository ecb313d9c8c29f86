"""Contrasts of the cells of a design: what an attack or a persona took, and from which arm it took less.

Each contrast is a weighted sum of cells, taken within each training seed over the same items. The training seed is the
cluster: its items and its attack seeds share one set of trained weights, so the interval is Student's over the seeds,
which in such a balanced table is the cluster-robust one. The interval over items beside it says how much other items
would move the number with the same weights; it knows nothing of other training runs.

Signs are such that more is better for the arm: a drop that is smaller than the control's is a positive difference.

Source:
    Cameron & Miller 2015, "A Practitioner's Guide to Cluster-Robust Inference", J. Human Resources 50(2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from steadfast.analysis.a_over_a import Scores
from steadfast.analysis.bootstrap import Interval, clustered_bootstrap
from steadfast.analysis.factorial import Cell, PairedScores, Twins, paired_scores
from steadfast.analysis.points import bounds, points
from steadfast.analysis.seeds import no_spread, seed_interval, seed_p_value


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of cells.

    Attributes:
        seeds: The seeds [seeds].
        over: What they are: training seeds, or attack seeds where the contrast is of one model.
        values: The contrast within each seed [seeds], in which every suite weighs the same.
        over_seeds: Their mean with Student's interval; the bounds are NaN where the seeds show no spread.
        over_items: The same mean with its interval over items, or over suites where there are several.
        p: Student's two-sided p-value over the seeds; NaN where the seeds show no spread.
        items: The number of tasks, or pairs of twins.
        dropped: The number of tasks left out for want of a grade.
        missing: The seeds left out because a cell was not measured with them.
        reason: Why there is no interval over seeds; empty if there is one.
    """

    seeds: tuple[int, ...]
    over: str
    values: tuple[float, ...]
    over_seeds: Interval
    over_items: Interval
    p: float
    items: int
    dropped: int
    missing: tuple[int, ...]
    reason: str

    @property
    def sentence(self) -> str:
        """The contrast in words, with its interval or the reason why there is none."""
        value = points(self.over_seeds.estimate)
        if self.reason:
            return f"{value} points, without an interval over {self.over}s: {self.reason}."
        count = f"{len(self.seeds)} {self.over}s"
        return f"{value} {bounds(self.over_seeds.low, self.over_seeds.high)} points over {count}."


def contrast(rows: pl.DataFrame, weights: Mapping[Cell, float], *, twins: Twins = "mean") -> Contrast:
    """Take a weighted sum of cells within each seed, over the items that all of them have.

    Args:
        rows: A table as `analysis.factorial` describes it.
        weights: The weight of each cell.
        twins: What twins count as.

    Raises:
        ValueError: The cells cannot be paired; see `paired_scores`.
    """
    return contrast_of(paired_scores(rows, list(weights), twins=twins), list(weights.values()))


def contrast_of(paired: PairedScores, weights: Sequence[float], *, draws: int = 10_000) -> Contrast:
    """Take a weighted sum of cells that are paired already, so that several of them are over the same items.

    Args:
        paired: The scores of the cells.
        weights: The weight [cells] of each.
        draws: The bootstrap draws of the interval over items.
    """
    by_cell = np.asarray(weights, dtype=np.float64)
    values = [float(v) for v in np.tensordot(by_cell, paired.levels(), axes=1)]
    over_seeds, p, reason = _over_seeds(values, paired.over)
    units = np.nanmean(np.tensordot(by_cell, paired.scores_CSU, axes=1), axis=0)
    return Contrast(
        seeds=paired.seeds,
        over=paired.over,
        values=tuple(values),
        over_seeds=over_seeds,
        over_items=clustered_bootstrap([units[k] for k in paired.of_suite], draws=draws),
        p=p,
        items=len(paired.suites),
        dropped=paired.dropped,
        missing=paired.missing,
        reason=reason,
    )


def drop(
    rows: pl.DataFrame, checkpoint: str, attack: str, dose: float, *, condition: str = "plain", twins: Twins = "mean"
) -> Contrast:
    """The level before an attack less the level after it; the arguments are those of `difference_in_differences`."""
    before = Cell(checkpoint, condition)
    return contrast(rows, {before: 1.0, Cell(checkpoint, condition, attack, dose): -1.0}, twins=twins)


def difference_in_differences(
    rows: pl.DataFrame,
    arm: str,
    baseline: str,
    attack: str,
    dose: float,
    *,
    condition: str = "plain",
    twins: Twins = "mean",
) -> Contrast:
    """(arm - baseline) x (attacked - before): above zero, the attack took less from the arm.

    Args:
        rows: A table as `analysis.factorial` describes it.
        arm: The arm's name.
        baseline: The control's name.
        attack: The attack's name.
        dose: Its updates.
        condition: How the checkpoints were asked.
        twins: What twins count as.

    Raises:
        ValueError: The cells cannot be paired; see `paired_scores`.
    """
    attacked = {name: Cell(name, condition, attack, dose) for name in (arm, baseline)}
    before = {name: Cell(name, condition) for name in (arm, baseline)}
    weights = {attacked[arm]: 1.0, before[arm]: -1.0, attacked[baseline]: -1.0, before[baseline]: 1.0}
    return contrast(rows, weights, twins=twins)


def primary_contrasts(
    rows: pl.DataFrame,
    arm: str,
    baseline: str,
    harmful: str,
    careful: str,
    doses: Sequence[float],
    *,
    condition: str = "plain",
    twins: Twins = "mean",
) -> dict[float, Contrast]:
    """(arm - baseline) x (harmful - careful) at each dose: what of the attack is due to the harm in its answers.

    The careful attack has the same prompts with careful answers. What any fine-tuning makes a model forget is in both
    and falls out. Above zero, the harm took less from the arm than from the baseline.

    Args:
        rows: A table as `analysis.factorial` describes it.
        arm: The arm's name.
        baseline: The control's name.
        harmful: The name of the attack with harmful answers.
        careful: The name of the attack with careful answers.
        doses: The updates at which to take it, each above zero.
        condition: How the checkpoints were asked.
        twins: What twins count as.

    Raises:
        ValueError: The cells cannot be paired; see `paired_scores`.
    """

    def at(dose: float) -> dict[Cell, float]:
        signs = {(arm, harmful): 1.0, (arm, careful): -1.0, (baseline, harmful): -1.0, (baseline, careful): 1.0}
        return {Cell(name, condition, attack, dose): sign for (name, attack), sign in signs.items()}

    return {dose: contrast(rows, at(dose), twins=twins) for dose in doses}


@dataclass(frozen=True)
class PersonaContrast:
    """What a persona takes from an arm and from its control.

    Attributes:
        arm: Plain minus persona, for the arm.
        baseline: The same for the control.
        difference: The control's less the arm's: above zero, the persona took less from the arm.
    """

    arm: Contrast
    baseline: Contrast
    difference: Contrast


def persona_contrast(
    rows: pl.DataFrame,
    arm: str,
    baseline: str,
    personas: Sequence[str],
    *,
    plain: str = "plain",
    twins: Twins = "mean",
) -> PersonaContrast:
    """Compare what a persona takes from an arm and from its control, over the items that all conditions have.

    Args:
        rows: A table as `analysis.factorial` describes it.
        arm: The arm's name.
        baseline: The control's name.
        personas: The conditions of the persona, one for each wording, which weigh the same.
        plain: The condition without a system prompt.
        twins: What twins count as.

    Raises:
        ValueError: There is no persona, or the cells cannot be paired; see `paired_scores`.
    """
    if not personas:
        raise ValueError("a persona needs at least one condition")

    cells = [Cell(name, condition) for name in (arm, baseline) for condition in (plain, *personas)]
    paired = paired_scores(rows, cells, twins=twins)
    lost, none = [1.0] + [-1.0 / len(personas)] * len(personas), [0.0] * (1 + len(personas))
    return PersonaContrast(
        arm=contrast_of(paired, lost + none),
        baseline=contrast_of(paired, none + lost),
        difference=contrast_of(paired, [-w for w in lost] + lost),
    )


def drops_by_seed(
    rows: pl.DataFrame, checkpoint: str, attack: str, dose: float, *, condition: str = "plain", twins: Twins = "mean"
) -> Scores:
    """The drop of every item and training seed of one arm, as `a_over_a.false_findings` takes it.

    Two groups of baselines that went through the same attack differ in their drops by chance alone: what is found
    between them is false. The arguments are those of `difference_in_differences`.
    """
    paired = paired_scores(rows, [Cell(checkpoint, condition), Cell(checkpoint, condition, attack, dose)], twins=twins)
    drops_SU = paired.scores_CSU[0] - paired.scores_CSU[1]
    whole = ~np.isnan(drops_SU).any(axis=0)
    names = sorted(set(paired.suites))
    return {
        seed: {name: drops_SU[s, k][whole[k]] for name, k in zip(names, paired.of_suite, strict=True)}
        for s, seed in enumerate(paired.seeds)
    }


def _over_seeds(values: Sequence[float], over: str) -> tuple[Interval, float, str]:
    found = seed_interval(values)
    reason = no_spread(values, over)
    return found, float("nan") if reason else seed_p_value(values), reason
