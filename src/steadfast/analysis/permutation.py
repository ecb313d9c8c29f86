"""Did one eval change between two arms? A sign-flip permutation test over its paired items."""

# scipy ships no types: what it leaves unknown is not ours to annotate.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

_BATCH = 1_000
"""Resamples held in memory at a time."""


def paired_permutation_test(differences: ArrayLike, *, resamples: int = 9_999, seed: int = 0) -> float:
    """Two-sided p-value of the mean paired difference of one eval.

    If the arms do not differ, every item's difference is as likely with the opposite sign (Fisher 1935, "The
    Design of Experiments", section 21). All sign patterns are tried where there are no more than `resamples`
    of them (at the default, up to 13 items that differ). Otherwise that many random ones are, and the observed
    one counts among them, so that p is never below 2 / (resamples + 1).

    Args:
        differences: paired differences [items] of the graded items.
        resamples: the most sign patterns to try.
        seed: of the random sign patterns.

    Returns:
        The p-value: 1 where no item differs, NaN with fewer than two items.

    Raises:
        ValueError: a difference that is not finite.
    """
    d = np.asarray(differences, dtype=np.float64)
    if not np.isfinite(d).all():
        raise ValueError("a difference is not finite; leave ungraded items out of the pairs")
    if d.size < 2:
        return float("nan")
    # Flipping a zero changes nothing: the sum's null distribution is the same without, and exact more often.
    changed = d[d != 0]
    if changed.size < 2:
        return 1.0
    result = stats.permutation_test(
        (changed,),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=_BATCH,
        alternative="two-sided",
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)
