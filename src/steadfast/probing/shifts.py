"""How far training moved a model's activations, and along which direction.

The shift of a checkpoint is what its activations have more than those of the model that it began from, on average over
texts. On the same fixed texts it is the weights' change alone. On each one's own answers it is the behaviour's change
as well; read by the model before training, it is the behaviour's alone.

A shift is projected on a unit direction and given in gaps: the distance between the means of good and bad replies
along the direction is 1. So 1 says that the checkpoint reads every text as far beyond the other as good lies beyond
bad. What the same shift shows along random directions and along those of shuffled labels stands beside it.

Array suffixes: N stands for texts, L for layers, D for features, and R for random directions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadfast.analysis.bootstrap import item_bootstrap
from steadfast.probing.directions import Array, cosine


@dataclass(frozen=True)
class Projection:
    """A shift along a direction.

    Attributes:
        gaps: How far it goes, in gaps between good and bad.
        low: The lower bound of the 95% interval over texts.
        high: The upper bound.
        cosine: The cosine between the mean shift and the direction; NaN where nothing moved.
        chance: The cosine, by its size, that 95 in a hundred of the directions that know nothing stay below.
        length: The length of the mean shift, in mean activation norms.
    """

    gaps: float
    low: float
    high: float
    cosine: float
    chance: float
    length: float


def projection(
    moved_ND: NDArray[np.floating[Any]], direction_D: Array, nothing_RD: Array, norm: float, groups: Sequence[str]
) -> Projection:
    """Project the shift of some texts on a direction.

    Args:
        moved_ND: What the checkpoint's activation of each text has more than that of the model it began from.
        direction_D: The difference of means between good and bad, not scaled.
        nothing_RD: Unit directions that know nothing.
        norm: The mean activation norm of the layer.
        groups: The cluster of each text, such as its task; texts of one count together in the interval.
    """
    gap = float(np.linalg.norm(direction_D))
    along_N = np.asarray(moved_ND, dtype=np.float64) @ (direction_D / gap**2 if gap else direction_D)
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    by_group = np.bincount(index, along_N) / np.bincount(index, minlength=len(names))
    interval = item_bootstrap(by_group, draws=2000)
    mean_D = np.asarray(moved_ND, dtype=np.float64).mean(0)
    size = float(np.linalg.norm(mean_D))
    chance = float(np.quantile(np.abs(nothing_RD @ mean_D) / size, 0.95)) if size else float("nan")
    return Projection(interval.estimate, interval.low, interval.high, cosine(mean_D, direction_D), chance, size / norm)
