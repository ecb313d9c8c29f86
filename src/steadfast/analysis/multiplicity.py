"""Many evals, many tests: control of the false discovery rate."""

# scipy ships no types: what it leaves unknown is not ours to annotate.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values (q-values) [tests] of Benjamini & Hochberg.

    Calling significant every test with q <= alpha keeps the expected share of false discoveries at or below
    alpha, for tests that are independent or positively dependent.

    Args:
        p_values: p-values [tests]; NaN marks a test that could not be made. It stays NaN and does not count.

    Raises:
        ValueError: a p-value outside [0, 1].

    Source:
        Benjamini & Hochberg 1995, "Controlling the False Discovery Rate", J. R. Stat. Soc. B 57(1).
    """
    p = np.asarray(p_values, dtype=np.float64)
    q = np.full(p.shape, np.nan)
    made = ~np.isnan(p)
    if made.any():
        q[made] = stats.false_discovery_control(p[made], method="bh")
    return q
