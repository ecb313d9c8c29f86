"""This module finds the pairs of texts whose embeddings lie closest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""A function that makes unit embeddings of whole texts, [texts, dimensions]."""

_ROWS = 256
"""The number of rows of the cosine matrix that are held at a time."""


@dataclass(frozen=True)
class Pair:
    """Two texts and the cosine of their embeddings."""

    first: str
    second: str
    cosine: float


def nearest_pairs(names: Sequence[str], embeddings: NDArray[np.float32], count: int, above: float) -> list[Pair]:
    """Find the nearest pairs, nearest first.

    Args:
        names: The names of the texts.
        embeddings: The texts' unit embeddings, [texts, dimensions].
        count: At least so many pairs are returned, if there are as many.
        above: All pairs with a larger cosine are returned, however many there are.
    """
    found: list[Pair] = []
    for start in range(0, len(names), _ROWS):
        cosines = embeddings[start : start + _ROWS] @ embeddings[start:].T
        rows, columns = np.triu_indices(cosines.shape[0], 1, cosines.shape[1])
        values = cosines[rows, columns]
        nearest = np.argsort(-values, kind="stable")[: max(count, int((values > above).sum()))]
        for k in nearest.tolist():
            first, second = names[start + int(rows[k])], names[start + int(columns[k])]
            found.append(Pair(first, second, round(float(values[k]), 4)))
    found.sort(key=lambda p: -p.cosine)
    return found[: max(count, sum(p.cosine > above for p in found))]
