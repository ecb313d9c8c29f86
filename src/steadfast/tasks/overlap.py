"""Proof that two pools of prompts share nothing: no text twice, no near-duplicate.

Two texts are near-duplicates when the shorter one has at least `NEAR_DUPLICATE` of its word trigrams in common with
the longer one. Trigrams survive the swapping of names and numbers, which is how templates leak from pool to pool.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.sparse import csr_array

from steadfast.errors import DataError

NEAR_DUPLICATE = 0.5

_MIN_TRIGRAMS = 8
"""Shorter texts ("How are you today?") are compared as a whole: a few shared trigrams say nothing."""


@dataclass(frozen=True)
class Overlap:
    """Two texts that are the same or nearly so.

    Attributes:
        first: name of the text of the first pool.
        second: of the second pool.
        share: of the shorter text's trigrams, those that the longer one holds too; 1 also where it holds them all.
        same: word by word the same text.
    """

    first: str
    second: str
    share: float
    same: bool = False


def find_overlaps(first: Mapping[str, str], second: Mapping[str, str]) -> list[Overlap]:
    """Pairs of texts, one from each pool, that are the same or near-duplicates.

    Args:
        first: texts by name.
        second: texts by name.
    """
    names_1, names_2 = list(first), list(second)
    words_1, words_2 = [_words(first[n]) for n in names_1], [_words(second[n]) for n in names_2]
    found: list[Overlap] = []
    whole: dict[tuple[str, ...], list[str]] = {}
    for name, words in zip(names_2, words_2, strict=True):
        if words:
            whole.setdefault(tuple(words), []).append(name)
    for name, words in zip(names_1, words_1, strict=True):
        found.extend(Overlap(name, twin, 1.0, same=True) for twin in whole.get(tuple(words), []))
    exact = {(o.first, o.second) for o in found}
    matrix_1, matrix_2 = _trigram_matrices(words_1, words_2)
    common = (matrix_1 @ matrix_2.T).tocoo()
    size_1, size_2 = matrix_1.sum(axis=1), matrix_2.sum(axis=1)
    for i, j, shared in zip(*common.coords, common.data, strict=True):
        shorter = min(size_1[i], size_2[j])
        if shorter >= _MIN_TRIGRAMS and shared >= NEAR_DUPLICATE * shorter:
            pair = (names_1[i], names_2[j])
            if pair not in exact:
                found.append(Overlap(*pair, float(shared / shorter)))
    return sorted(found, key=lambda o: (-o.share, o.first, o.second))


def prove_disjoint(pools: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """Check every pair of pools; returns the number of pairs of texts compared, by pair of pools.

    Args:
        pools: texts by name, by pool.

    Raises:
        DataError: naming every overlapping pair.
    """
    problems: list[str] = []
    compared: dict[str, int] = {}
    for (name_1, pool_1), (name_2, pool_2) in combinations(pools.items(), 2):
        compared[f"{name_1} x {name_2}"] = len(pool_1) * len(pool_2)
        for o in find_overlaps(pool_1, pool_2):
            kind = "the same text" if o.same else f"near-duplicates ({o.share:.0%} of trigrams shared)"
            problems.append(f"{name_1} {o.first!r} and {name_2} {o.second!r} are {kind}; take one out")
    if problems:
        raise DataError(problems)
    return compared


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _trigram_matrices(*pools: Sequence[list[str]]) -> list[csr_array]:
    """For each pool a 0/1 matrix, texts by trigrams, over one vocabulary."""
    vocabulary: dict[tuple[str, str, str], int] = {}
    shapes: list[tuple[list[int], list[int]]] = []
    for pool in pools:
        rows: list[int] = []
        columns: list[int] = []
        for row, words in enumerate(pool):
            ids = {vocabulary.setdefault(t, len(vocabulary)) for t in zip(words, words[1:], words[2:], strict=False)}
            rows.extend([row] * len(ids))
            columns.extend(sorted(ids))
        shapes.append((rows, columns))
    return [
        csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(pool), max(1, len(vocabulary))))
        for pool, (rows, columns) in zip(pools, shapes, strict=True)
    ]
