"""The smallest effect that a number of training seeds and pairs can show, assumed or from the rows of a run."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from steadfast.analysis.seeds import detectable_effect


@dataclass(frozen=True)
class Spread:
    """How far the difference between two arms scatters.

    Attributes:
        seed: The standard deviation over training seeds of the true difference.
        pair: The standard deviation of one pair's difference within a seed.
    """

    seed: float
    pair: float

    def of_seed(self, pairs: int) -> float:
        """The standard deviation of a seed's mean difference over so many pairs."""
        return sqrt(self.seed**2 + self.pair**2 / pairs)


ASSUMED = Spread(seed=0.10, pair=0.50)
"""What is assumed where no run tells: ten points between training runs, and a pair in four whose success changes. It is
a guess and no bound; our runs of the demo had 7 to 10 points between training runs and 35 to 37 for a pair."""


def spread_of(differences_SP: NDArray[np.float64]) -> Spread:
    """Estimate the spread from the differences [seeds, pairs] of two arms on the same pairs.

    A pair's own difficulty is common to all seeds and no part of the spread over them: what scatters within a seed is
    the pair's difference less that pair's and that seed's mean (a two-way analysis of variance without replication).

    Raises:
        ValueError: There are fewer than two seeds or two pairs, or a difference is not finite.
    """
    seeds, pairs = differences_SP.shape
    if seeds < 2 or pairs < 2 or not np.isfinite(differences_SP).all():
        raise ValueError("a spread needs finite differences of two seeds and two pairs at least")
    of_seed, of_pair = differences_SP.mean(axis=1), differences_SP.mean(axis=0)
    left = differences_SP - of_seed[:, None] - of_pair[None, :] + differences_SP.mean()
    within = float((left**2).sum() / ((seeds - 1) * (pairs - 1)))
    between = float(of_seed.var(ddof=1)) - within / pairs
    return Spread(sqrt(max(0.0, between)), sqrt(within))


def detectable(spread: Spread, *, seeds: int, pairs: int) -> float:
    """The true difference, in the unit of the spread, that is found four times in five by Student's test over seeds.

    Raises:
        ValueError: There are fewer than two seeds.
    """
    return detectable_effect(spread.of_seed(pairs), seeds)
