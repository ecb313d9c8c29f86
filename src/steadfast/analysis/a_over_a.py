"""A/A: the same arm under other training seeds, compared as if it were two arms. Whatever is found is false.

An interval over items asks how much another draw of items would move a difference between these two trained models. It
knows of one training run on each side, and so it finds differences that are only another seed's. An interval over
seeds compares several runs with several. Both are tried here on the same scores, where the true difference is zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from random import Random

import numpy as np
from numpy.typing import NDArray

from steadfast.analysis.bootstrap import Interval, clustered_bootstrap, item_bootstrap
from steadfast.analysis.seeds import seed_interval

Scores = Mapping[int, Mapping[str, NDArray[np.float64]]]
"""For each training seed, for each suite, the scores [items] of the same items in the same order."""

_DRAWS = 2_000


@dataclass(frozen=True)
class FalseFindings:
    """The share of 95% intervals that exclude zero where the true difference is zero. One in twenty is what they claim.

    Attributes:
        seeds: The number of training seeds.
        suites: The number of suites.
        by_suite: The share of intervals over the items of one suite, of two runs.
        pooled: The share of intervals over suites of the mean difference, of two runs.
        over_seeds: The share of Student's intervals over seeds, of `group` runs against `group` others.
        group: That number of runs.
    """

    seeds: int
    suites: int
    by_suite: float
    pooled: float
    over_seeds: float
    group: int


def false_findings(scores: Scores, *, group: int = 3, splits: int = 400, seed: int = 0) -> FalseFindings:
    """Count the false findings of every kind of interval.

    Args:
        scores: The scores of one arm under several training seeds.
        group: How many runs stand on each side of the comparison over seeds.
        splits: How many draws of two such groups are compared.
        seed: Of those draws.

    Raises:
        ValueError: There are fewer seeds than two groups need, or seeds were measured on other items.
    """
    runs = sorted(scores)
    if len(runs) < 2 * group:
        raise ValueError(f"two groups of {group} training seeds need {2 * group} of them, not {len(runs)}")
    suites = sorted(scores[runs[0]])
    shapes = [{name: items.shape for name, items in scores[run].items()} for run in runs]
    if any(s != shapes[0] for s in shapes):
        raise ValueError("every training seed must be measured on the same items of the same suites")
    by_suite: list[bool] = []
    pooled: list[bool] = []
    for one, other in combinations(runs, 2):
        differences = [scores[one][name] - scores[other][name] for name in suites]
        by_suite += [_excludes_zero(item_bootstrap(d, draws=_DRAWS)) for d in differences]
        pooled.append(_excludes_zero(clustered_bootstrap(differences, draws=_DRAWS)))
    levels = {run: float(np.mean([scores[run][name].mean() for name in suites])) for run in runs}
    over_seeds = [_excludes_zero(seed_interval(d)) for d in _splits(levels, group, splits, seed)]
    return FalseFindings(
        len(runs), len(suites), float(np.mean(by_suite)), float(np.mean(pooled)), float(np.mean(over_seeds)), group
    )


def _splits(levels: Mapping[int, float], group: int, splits: int, seed: int) -> list[Sequence[float]]:
    """The differences of each draw of two groups, run by run as arms of one seed are compared."""
    rng = Random(seed)
    found: list[Sequence[float]] = []
    for _ in range(splits):
        drawn = rng.sample(sorted(levels), 2 * group)
        found.append([levels[a] - levels[b] for a, b in zip(drawn[:group], drawn[group:], strict=True)])
    return found


def _excludes_zero(interval: Interval) -> bool:
    return interval.low > 0 or interval.high < 0
