"""Intervals that count training runs: a difference between arms is measured once for each training seed.

An interval over items says how much another draw of items would move the number, with the same weights. What a
reader wants to know is how much another training run would move it, and that only runs with other seeds can tell.
Arms of one seed share the order of their prompts and their random numbers, so they are compared within the seed.
"""

# scipy ships no types: what it leaves unknown is not ours to annotate.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from statistics import stdev
from typing import Any

import numpy as np
from scipy import optimize, stats

from steadfast.analysis.bootstrap import TIE, Interval, has_spread, student_interval

POWER = 0.8
"""The share of runs in which a detectable effect would be found."""


def seed_interval(differences: Sequence[float], level: float = 0.95) -> Interval:
    """Student's interval of the mean difference over training seeds.

    Args:
        differences: One difference for each seed, each the mean over the same items.
        level: The nominal coverage.

    Returns:
        The interval; its bounds are NaN where the seeds tell nothing of their spread: with one seed, or where all of
        them give the same difference.

    Raises:
        ValueError: There is no difference, or one is not finite.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError("an interval over seeds needs a finite difference for each seed")
    found = student_interval(values, level)
    return found if has_spread(values) else replace(found, low=float("nan"), high=float("nan"))


def seed_p_value(differences: Sequence[float]) -> float:
    """Student's two-sided p-value of a mean difference over training seeds; NaN with one seed.

    Differences that are all the same and not zero have no spread, which with few seeds says little: NaN as well.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.size < 2:
        return float("nan")
    if not has_spread(values):
        return 1.0 if abs(values[0]) < TIE else float("nan")
    result: Any = stats.ttest_1samp(values, 0.0)
    return float(result.pvalue)


def no_spread(values: Sequence[float], over: str) -> str:
    """Say why a mean of some values, one for each seed, has no interval; empty if it has one."""
    if over == "model":
        return "it is one model without a seed"
    if len(values) < 2:
        return f"one {over} tells nothing of their spread"
    if not has_spread(np.asarray(values)):
        return f"every {over} gives the same value, which tells nothing of their spread"
    return ""


def detectable_of(differences: Sequence[float]) -> float | None:
    """The effect that seeds which scatter like these find four times in five; None where they show no spread."""
    if no_spread(differences, "training seed"):
        return None
    return detectable_effect(stdev(differences), len(differences))


def detectable_effect(deviation: float, seeds: int, level: float = 0.95) -> float:
    """The smallest true difference that so many seeds find four times in five, by Student's test.

    The power is that of the noncentral t distribution's nearer tail, beside which the other is nothing; see Cohen
    1988, "Statistical Power Analysis", chapter 2.

    Args:
        deviation: The standard deviation of the difference over seeds, in the unit of the answer.
        seeds: The number of training seeds, two at least.
        level: The level of the interval that must exclude zero.

    Raises:
        ValueError: There are fewer than two seeds, or the deviation is negative or not finite.
    """
    if seeds < 2 or not np.isfinite(deviation) or deviation < 0:
        raise ValueError("power needs two seeds at least and a finite deviation")
    freedom = seeds - 1
    critical = float(stats.t.ppf((1 + level) / 2, freedom))

    def lacking(effect: float) -> float:
        return POWER - float(stats.nct.sf(critical, freedom, effect))

    # Three critical values lie beyond the answer.
    effect: Any = optimize.brentq(lacking, 0.0, 3 * critical)
    return float(effect) * deviation / sqrt(seeds)
