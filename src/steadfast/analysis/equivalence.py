"""Are two arms the same for all that matters? Two one-sided tests against a margin named beforehand.

That no difference was found does not say that there is none: with few seeds nothing is ever found. Equivalence is
claimed only where both one-sided tests reject, one that the difference lies at the margin or below its negative, and
one that it lies at the margin or above. At alpha = 0.05 that is so exactly if the 90% interval lies within the margin.

Sources:
    Schuirmann 1987, "A comparison of the two one-sided tests procedure and the power approach for assessing the
    equivalence of average bioavailability", J. Pharmacokinetics and Biopharmaceutics 15(6).
    Lakens 2017, "Equivalence Tests", Social Psychological and Personality Science 8(4).
"""

# scipy ships no types: what it leaves unknown is not ours to annotate.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from steadfast.analysis.bootstrap import TIE, Interval
from steadfast.analysis.points import bounds, points
from steadfast.analysis.pooled import clustered_error
from steadfast.analysis.seeds import no_spread

MARGIN = 3.0
"""The margin in points of a hundred, unless another was named beforehand."""


@dataclass(frozen=True)
class Equivalence:
    """Whether a difference lies within a margin.

    Attributes:
        difference: The mean difference with its interval at 1 - 2 * alpha, which decides the two one-sided tests.
        wide: The same with its interval at 1 - alpha, which decides whether there is a difference at all.
        margin: The margin in points of a hundred.
        alpha: The level of each one-sided test.
        p_above: The one-sided p-value against a difference at the negative margin or below it.
        p_below: The one-sided p-value against a difference at the margin or above it.
        units: The number of independent values: seeds or clusters.
        over: What they are, in the singular.
        verdict: "equivalent" if both tests reject; else "different" if the wide interval excludes zero; else
            "undecided". None where nothing could be tested.
        reason: Why nothing could be tested; empty otherwise.
    """

    difference: Interval
    wide: Interval
    margin: float
    alpha: float
    p_above: float
    p_below: float
    units: int
    over: str
    verdict: Literal["equivalent", "different", "undecided"] | None
    reason: str = ""

    @property
    def p(self) -> float:
        """The p-value of equivalence: the larger of the two."""
        return max(self.p_above, self.p_below)

    @property
    def sentence(self) -> str:
        """The verdict in words, with the numbers that it rests on."""
        within = f"{self.margin:g} points"
        value = f"the difference is {points(self.difference.estimate)} points"
        if self.verdict is None:
            return f"Equivalence within {within} could not be tested ({value}): {self.reason}."
        narrow, wide = (
            f"{i.level:.0%} interval {bounds(i.low, i.high)} over {self.units} {self.over}s"
            for i in (self.difference, self.wide)
        )
        match self.verdict:
            case "equivalent":
                tiny = "; it is not zero, but smaller than that" if _excludes_zero(self.wide) else ""
                return f"Equivalent: {value}, and its {narrow} lies within {within}{tiny}."
            case "different":
                by = abs(self.difference.estimate) - (self.difference.high - self.difference.low) / 2
                more = "more" if by > self.margin / 100 else "not shown to be more"
                return f"Different: {value}, and its {wide} excludes zero; it is {more} than {within}."
            case "undecided":
                return (
                    f"Undecided: {value}, and its {narrow} reaches beyond {within}, so a difference of that size is "
                    "not ruled out, and none is shown."
                )


def equivalence_over_seeds(
    differences: Sequence[float], *, margin: float = MARGIN, alpha: float = 0.05, over: str = "training seed"
) -> Equivalence:
    """Test whether a mean difference over seeds lies within a margin, with Student's distribution.

    Args:
        differences: One difference for each seed, in [-1, 1], each the mean over the same items.
        margin: The margin in points of a hundred.
        alpha: The level of each one-sided test.
        over: What the differences are one of each of, in the singular.

    Raises:
        ValueError: There is no difference, one is not finite, or the margin or alpha is out of range.
    """
    values = _checked(differences, margin, alpha)
    error = float(stats.sem(values)) if values.size > 1 else float("nan")
    return _two_one_sided(values, error, values.size, margin, alpha, over, no_spread(values.tolist(), over))


def equivalence_clustered(
    differences: NDArray[np.float64],
    clusters: NDArray[np.int64],
    *,
    margin: float = MARGIN,
    alpha: float = 0.05,
    over: str = "cluster",
) -> Equivalence:
    """Test whether a mean paired difference lies within a margin, where differences of a cluster hang together.

    Args:
        differences: The paired differences [tasks], in [-1, 1].
        clusters: The cluster [tasks] of each, numbered from 0: its pair of twins, its suite or its seed.
        margin: The margin in points of a hundred.
        alpha: The level of each one-sided test.
        over: What a cluster is, in the singular.

    Raises:
        ValueError: There is no difference, one is not finite, the arrays differ in length, or the margin or alpha is
            out of range.
    """
    values = _checked(differences, margin, alpha)
    if values.shape != clusters.shape:
        raise ValueError(f"{values.size} differences have {clusters.size} clusters; each needs one")
    error, count = clustered_error(values, clusters), len(np.unique(clusters))
    reason = f"one {over} tells nothing of their spread" if count < 2 else ""
    if not reason and error < TIE:
        reason = f"the {over}s show no spread"
    return _two_one_sided(values, error, count, margin, alpha, over, reason)


def _checked(differences: Sequence[float] | NDArray[np.float64], margin: float, alpha: float) -> NDArray[np.float64]:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError("a test of equivalence needs finite differences, one at least")
    if not 0 < margin < 100 or not 0 < alpha < 0.5:
        raise ValueError(f"the margin {margin} must lie between 0 and 100 points, and alpha {alpha} between 0 and 0.5")
    return values


def _two_one_sided(
    values: NDArray[np.float64], error: float, units: int, margin: float, alpha: float, over: str, reason: str
) -> Equivalence:
    estimate, freedom, limit = float(values.mean()), units - 1, margin / 100
    nothing = float("nan")
    if reason:
        narrow, wide = (Interval(estimate, nothing, nothing, level) for level in (1 - 2 * alpha, 1 - alpha))
        return Equivalence(narrow, wide, margin, alpha, nothing, nothing, units, over, None, reason)

    def interval(level: float) -> Interval:
        half = float(stats.t.ppf((1 + level) / 2, freedom)) * error
        return Interval(estimate, estimate - half, estimate + half, level)

    narrow, wide = interval(1 - 2 * alpha), interval(1 - alpha)
    above = float(stats.t.sf((estimate + limit) / error, freedom))
    below = float(stats.t.cdf((estimate - limit) / error, freedom))
    verdict = "equivalent" if max(above, below) <= alpha else "different" if _excludes_zero(wide) else "undecided"
    return Equivalence(narrow, wide, margin, alpha, above, below, units, over, verdict)


def _excludes_zero(interval: Interval) -> bool:
    return interval.low > 0 or interval.high < 0
