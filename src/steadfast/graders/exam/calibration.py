"""This module measures how far a judge's score is the probability that an answer is the good one of its pair."""

# scipy ships no types: what it leaves unknown is not ours to annotate.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

Array = NDArray[np.float64]

_BINS = 10


def calibration(scores: Array, good: Array) -> dict[str, Any]:
    """Compute the Brier score, the expected calibration error and the reliability bins.

    See Brier (1950) and, for the error over equal-width bins, Guo et al. (2017), "On Calibration of Modern Neural
    Networks". Half of the answers are good, so a judge that always says 0.5 has a Brier score of 0.25 and no
    calibration error.

    Args:
        scores: The scores in [0, 1], read as probabilities, [answers].
        good: 1 for good answers, 0 for bad ones, [answers].

    Returns:
        A mapping with the Brier score ("brier"), the calibration error weighted by answers ("ece") and the "bins" that
        hold answers, each with its limits, its number of answers, its "mean_score" and its "share_good".
    """
    place = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    bins = [
        {
            "low": number / _BINS,
            "high": (number + 1) / _BINS,
            "answers": int((place == number).sum()),
            "mean_score": float(scores[place == number].mean()),
            "share_good": float(good[place == number].mean()),
        }
        for number in np.unique(place).tolist()
    ]
    gaps = [b["answers"] * abs(b["mean_score"] - b["share_good"]) for b in bins]
    return {"brier": float(np.mean((scores - good) ** 2)), "ece": sum(gaps) / len(scores), "bins": bins}


def monotone_map(scores: Array, good: Array) -> Callable[[Array], Array]:
    """Fit the isotonic regression of good on score.

    Args:
        scores: The scores of the answers on which it is fitted, [answers].
        good: 1 for good answers, 0 for bad ones, [answers].

    Returns:
        A function from scores to probabilities. It is linear between the fitted scores and constant outside them.
    """
    levels = np.unique(scores)
    share = np.array([good[scores == level].mean() for level in levels])
    counts = np.array([(scores == level).sum() for level in levels], dtype=float)
    fitted: Array = isotonic_regression(share, weights=counts).x
    return partial(np.interp, xp=levels, fp=fitted)
