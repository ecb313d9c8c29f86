"""Which share of a gain is left after an attack, with an interval for a ratio of two noisy, correlated means.

The share is mean(after) / mean(before) over training seeds. Its interval holds each share r for which Student's test
of mean(after - r * before) = 0 over the same seeds does not reject (Fieller 1954). With a = mean(after),
b = mean(before), the variances and the covariance v of these means, and Student's quantile t, these are the r with

    (a - r b)^2 <= t^2 (v_aa - 2 r v_ab + r^2 v_bb).

Where the gain before does not differ from zero at the interval's own level, b^2 <= t^2 v_bb, no share can be bounded
from both sides: the set is everything outside of two values, or every number. It is then said to be unbounded, since
any interval with two ends would be too sure. With three seeds that happens at a gain of up to 4.3 standard errors.

A share is given at all only where the gain before is three standard errors or more. Below that, what is left of what
was hardly there has no meaning.

Simulated, 4,000 studies, true share 0.4, gains before and after correlated by 0.5: how many pass this gate; of those,
the share of 95% intervals that hold the true share; and the share of them that are unbounded.

    true gain before   3 seeds               5 seeds               10 seeds
    3 standard errors  0.60  0.949  0.35     0.56  0.945  0.00     0.53  0.952  0.00
    6 standard errors  0.96  0.947  0.12     0.98  0.948  0.00     1.00  0.952  0.00

Source:
    Fieller 1954, "Some Problems in Interval Estimation", J. R. Stat. Soc. B 16(2).
"""

# scipy ships no types: what it leaves unknown is not ours to annotate.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
import polars as pl
from scipy import stats

from steadfast.analysis.bootstrap import Interval
from steadfast.analysis.factorial import Cell, Twins, paired_scores
from steadfast.analysis.points import points
from steadfast.analysis.seeds import TIE

STANDARD_ERRORS = 3.0
"""The gain before the attack must be so many standard errors for a share of it to be given."""


@dataclass(frozen=True)
class Retention:
    """The share of a gain that an attack left.

    Attributes:
        share: The share with its interval: an end is infinite where it is open, and both are with a hole. None where
            no share is given.
        hole: The two values between which the share does not lie, where that is all that can be said; None otherwise.
        before: The mean gain before the attack.
        after: The mean gain after it.
        seeds: The number of training seeds.
        reason: Why no share is given; empty if one is.
    """

    share: Interval | None
    hole: tuple[float, float] | None
    before: float
    after: float
    seeds: int
    reason: str = ""

    @property
    def bounded(self) -> bool:
        """Whether the interval has two ends."""
        return self.share is not None and np.isfinite([self.share.low, self.share.high]).all().item()

    @property
    def sentence(self) -> str:
        """The share in words, with its interval or the reason why there is none."""
        gains = f"the gain was {points(self.before)} points before and is {points(self.after)} after"
        if self.share is None:
            return f"No share of the gain is given ({gains}): {self.reason}."
        said = f"{self.share.estimate:.0%} of the gain is left ({gains})"
        level = f"{self.share.level:.0%} interval"
        if self.hole is not None:
            low, high = self.hole
            return f"{said}; its {level} is unbounded: it rules out only shares between {low:.0%} and {high:.0%}."
        if not self.bounded:
            return f"{said}; its {level} is unbounded and rules out no share."
        return f"{said}, {level} from {self.share.low:.0%} to {self.share.high:.0%} over {self.seeds} training seeds."


def retention(after: Sequence[float], before: Sequence[float], *, level: float = 0.95) -> Retention:
    """Take the share of a gain that is left, with Fieller's interval over training seeds.

    Args:
        after: The gain after the attack, one value for each training seed.
        before: The gain before it, in the same order.
        level: The nominal coverage.

    Raises:
        ValueError: The gains differ in number, there are none, or one is not finite.
    """
    pair = np.asarray([after, before], dtype=np.float64) if len(after) == len(before) else np.empty((2, 0))
    if pair.size == 0 or not np.isfinite(pair).all():
        raise ValueError("a share of a gain needs a finite gain before and after, for each training seed")
    a, b = (float(v) for v in pair.mean(axis=1))
    seeds = pair.shape[1]
    reason = too_small([float(v) for v in before])
    if reason:
        return Retention(None, None, b, a, seeds, reason)
    covariance = np.cov(pair) / seeds
    left = pair[0] - a / b * pair[1]
    if np.ptp(left) < TIE:
        return Retention(None, None, b, a, seeds, "every training seed keeps the same share, so its spread is unknown")
    low, high, hole = _fieller(a, b, covariance, float(stats.t.ppf((1 + level) / 2, seeds - 1)))
    return Retention(Interval(a / b, low, high, level), hole, b, a, seeds)


def retained(
    rows: pl.DataFrame,
    before: tuple[Cell, Cell],
    after: tuple[Cell, Cell],
    *,
    twins: Twins = "mean",
    level: float = 0.95,
) -> Retention:
    """Take the share of an arm's gain over a reference that is left, paired by item and training seed.

    What came between may be an attack, or ordinary wear: another attack's name, or another condition. With the
    reference after the same attack, the share is of the arm's lead: what any model loses falls out. With the untouched
    reference in both places, it is of the arm's height above it.

    Args:
        rows: A table as `analysis.factorial` describes it.
        before: The arm and its reference before.
        after: The arm and its reference after.
        twins: What twins count as.
        level: The nominal coverage.

    Raises:
        ValueError: The cells cannot be paired; see `paired_scores`.
    """
    levels_CS = paired_scores(rows, [*before, *after], twins=twins).levels()
    gain, left = levels_CS[0] - levels_CS[1], levels_CS[2] - levels_CS[3]
    return retention(left.tolist(), gain.tolist(), level=level)


def too_small(before: Sequence[float]) -> str:
    """Say why no share of a gain, one value for each training seed, can be given; empty if it can."""
    mean = float(np.mean(before))
    if len(before) < 2:
        return "one training seed tells nothing of the gain's standard error"
    if mean <= TIE:
        return "there was no gain before the attack"
    error = float(stats.sem(before))
    if mean < STANDARD_ERRORS * error:
        return (
            f"the gain before the attack is {mean / error:.1f} standard errors, and a share of less than "
            f"{STANDARD_ERRORS:g} means nothing"
        )
    return ""


def _fieller(a: float, b: float, v: np.ndarray, t: float) -> tuple[float, float, tuple[float, float] | None]:
    """The ends of the interval, infinite where it has none, and the hole in it."""
    # The shares are where square * r^2 - 2 * linear * r + constant <= 0.
    square, linear, constant = b * b - t * t * v[1, 1], a * b - t * t * v[0, 1], a * a - t * t * v[0, 0]
    discriminant = linear * linear - square * constant
    if discriminant <= 0 or square == 0:
        return -inf, inf, None
    one, other = sorted((linear + sign * sqrt(discriminant)) / square for sign in (-1.0, 1.0))
    return (one, other, None) if square > 0 else (-inf, inf, (one, other))
