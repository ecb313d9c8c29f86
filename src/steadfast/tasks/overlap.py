"""This module proves that two pools of prompts share no text and no near-duplicate.

Two texts are near-duplicates when the shorter one has at least `NEAR_DUPLICATE` of its word trigrams in common with
the longer one. Trigrams survive the swapping of names and numbers, which is how templates leak from pool to pool.

Not every pair is compared. A text of n trigrams that shares k of them with a longer text shares at least m of any
n - k + m of its own, so it is enough to look up its rarest ones. This is the prefix filter of set-similarity joins
(Chaudhuri, Ganti and Kaushik, ICDE 2006), with prefixes that grow while they are cheap (Wang, Li and Feng, SIGMOD
2012). Wording that much of the pool shares is among the commonest and is hardly ever looked up, yet no pair is missed.
The work is done in blocks of bounded size.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, islice
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from steadfast.errors import DataError
from steadfast.messages import printable

NEAR_DUPLICATE = 0.5

MOST_NAMED = 1000
"""A proof names so many overlapping pairs and no more: two pools made from one template have millions."""

_MIN_TRIGRAMS = 8
"""Texts with fewer trigrams ("How are you today?") are compared as a whole: a few shared trigrams say nothing."""

_MOST_WORDS = 1 << 21
"""Three word ids below this fit one number of 64 bits; with more words, pairs of words are numbered first."""

_CHEAP = 4096
"""A text's prefix may grow until its trigrams occur so often in the other pool, if the shortest prefix's do not."""

_BLOCK = 1 << 21
"""A block compares so many equal trigrams at a time, which takes some 100 MB."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Overlap:
    """Two texts that are the same or nearly so.

    Attributes:
        first: The name of the text of the first pool.
        second: The name of the text of the second pool.
        share: The share of the shorter text's trigrams that the longer one holds too; 1 also where the texts are equal.
        same: Whether the texts are the same word by word.
    """

    first: str
    second: str
    share: float
    same: bool = False


def find_overlaps(first: Mapping[str, str], second: Mapping[str, str], most: int | None = None) -> list[Overlap]:
    """Find the pairs of texts, one from each pool, that are the same or near-duplicates.

    Args:
        first: The texts of one pool by name.
        second: The texts of the other pool by name.
        most: The search ends as soon as it has found so many pairs; None finds all of them.

    Returns:
        The pairs. Those that share most stand first.
    """
    found = list(islice(_overlaps(first, second), most))
    return sorted(found, key=lambda o: (-o.share, o.first, o.second))


def prove_disjoint(pools: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """Check that no two pools overlap.

    Args:
        pools: The pools by name; each holds its texts by name.

    Returns:
        The number of pairs of texts that were compared, by pair of pools.

    Raises:
        DataError: Some pairs overlap; each is named, up to `MOST_NAMED` of them for every two pools.
    """
    problems: list[str] = []
    compared: dict[str, int] = {}
    for (name_1, pool_1), (name_2, pool_2) in combinations(pools.items(), 2):
        compared[f"{name_1} x {name_2}"] = len(pool_1) * len(pool_2)
        found = find_overlaps(pool_1, pool_2, MOST_NAMED + 1)
        for o in found[:MOST_NAMED]:
            kind = "the same text" if o.same else f"near-duplicates ({o.share:.0%} of trigrams shared)"
            problems.append(
                f"{name_1} {printable(o.first)!r} and {name_2} {printable(o.second)!r} are {kind}; take one out"
            )
        if len(found) > MOST_NAMED:
            problems.append(
                f"{name_1} and {name_2} overlap in more than {MOST_NAMED} pairs, the rest of which are not named; "
                "take out what was made from one template"
            )
    if problems:
        raise DataError(problems)
    return compared


def _overlaps(first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[Overlap]:
    names_1, names_2 = list(first), list(second)
    vocabulary: defaultdict[str, int] = defaultdict(lambda: len(vocabulary))
    words_1, words_2 = ([_word_ids(text, vocabulary) for text in pool.values()] for pool in (first, second))
    whole: dict[bytes, list[int]] = {}
    for j, words in enumerate(words_2):
        if len(words):
            whole.setdefault(words.tobytes(), []).append(j)
    twins = [whole.get(words.tobytes(), []) for words in words_1]
    for i, same in enumerate(twins):
        for j in same:
            yield Overlap(names_1[i], names_2[j], 1.0, same=True)
    trigrams_1, trigrams_2 = _trigrams([words_1, words_2], len(vocabulary))
    there = ((i, j, share) for i, j, share in _near_duplicates(trigrams_1, trigrams_2, ties=True))
    back = ((i, j, share) for j, i, share in _near_duplicates(trigrams_2, trigrams_1, ties=False))
    for i, j, share in chain(there, back):
        if j not in twins[i]:
            yield Overlap(names_1[i], names_2[j], share)


def _word_ids(text: str, vocabulary: defaultdict[str, int]) -> Ints:
    return np.array([vocabulary[word] for word in re.findall(r"\w+", text.lower())], np.int64)


def _trigrams(pools: Sequence[list[Ints]], words: int) -> list[csr_array]:
    """Make a 0/1 matrix for each pool, [texts, trigrams], over one vocabulary of trigrams.

    Args:
        pools: The word ids of every text of each pool.
        words: The number of different words.
    """
    texts = [text for pool in pools for text in pool]
    lengths = np.array([len(text) for text in texts], np.int64)
    ids = np.concatenate([np.empty(0, np.int64), *texts])
    text_of = np.repeat(np.arange(len(texts), dtype=np.int32), lengths)
    pairs = ids[:-1] * words + ids[1:]
    if words > _MOST_WORDS:
        pairs = np.unique(pairs, return_inverse=True)[1]
    inside = text_of[:-2] == text_of[2:]
    rows = text_of[: len(inside)][inside].astype(np.int64)
    kinds, columns = np.unique((pairs[: len(inside)] * words + ids[2:])[inside], return_inverse=True)
    width = max(1, len(kinds))
    del ids, text_of, pairs, inside, kinds
    places = rows * width + columns
    del rows, columns
    places.sort()
    rows, columns = np.divmod(places[np.diff(places, prepend=-1) > 0], width)
    whole = _zero_one(rows, columns, (len(texts), width))
    ends = np.cumsum([len(pool) for pool in pools])
    return [csr_array(whole[end - len(pool) : end]) for pool, end in zip(pools, ends.tolist(), strict=True)]


def _near_duplicates(shorter: csr_array, longer: csr_array, *, ties: bool) -> Iterator[tuple[int, int, float]]:
    """Find near-duplicates among the texts of two pools, where the first has fewer trigrams or, with `ties`, as many.

    Yields:
        The row of the shorter text, the row of the longer one, and the share of the shorter one's trigrams.
    """
    size_1, size_2 = _row_sizes(shorter), _row_sizes(longer)
    needed = np.ceil(NEAR_DUPLICATE * size_1).astype(np.int64)
    common = _column_counts(longer)
    prefixes, least = _prefixes(shorter, common, size_1 - needed)
    postings = longer.T.tocsr()
    for rows in _blocks(_row_sums(common[prefixes.indices], prefixes)):
        met = csr_array(prefixes[rows] @ postings)
        i, j = np.repeat(np.arange(rows.start, rows.stop), _row_sizes(met)), met.indices
        fits = (met.data >= least[i]) & ((size_1[i] <= size_2[j]) if ties else (size_1[i] < size_2[j]))
        i, j = i[fits], j[fits]
        for part in _blocks(size_1[i] + size_2[j]):
            shared = shorter[i[part]].multiply(longer[j[part]]).sum(axis=1)
            near = shared >= needed[i[part]]
            hits = (i[part][near], j[part][near], (shared / size_1[i[part]])[near])
            yield from zip(*(column.tolist() for column in hits), strict=True)


def _prefixes(texts: csr_array, common: Ints, spare: Ints) -> tuple[csr_array, Ints]:
    """Select the rarest trigrams of each text, and count how many of them a near-duplicate has at least.

    Args:
        texts: The 0/1 matrix of the texts, [texts, trigrams].
        common: The number of texts of the other pool that hold each trigram, [trigrams].
        spare: The number of a text's trigrams that a near-duplicate may lack, [texts]. Every trigram of the prefix
            beyond these is one more that a near-duplicate must have, so a prefix grows while its look-ups are cheap.

    Returns:
        The 0/1 matrix of the prefixes, [texts, trigrams], without trigrams that the other pool lacks; and the least
        number of them that a near-duplicate has, [texts].
    """
    height, sizes, starts = len(spare), _row_sizes(texts), _row_starts(texts)
    rows = np.repeat(np.arange(height), sizes)
    columns = np.asarray(texts.indices, np.int64)
    columns = columns[np.lexsort((common[columns], rows))]
    place = np.arange(len(rows)) - starts[rows]
    total = np.concatenate([[0], np.cumsum(common[columns])])
    total = total[1:] - total[starts[rows]]
    shortest = np.zeros(height, np.int64)
    ends = place == spare[rows]
    shortest[rows[ends]] = total[ends]
    cheap = np.maximum(_CHEAP, 2 * shortest)
    kept = (sizes >= _MIN_TRIGRAMS)[rows] & ((place <= spare[rows]) | (total <= cheap[rows]))
    least = np.bincount(rows[kept], minlength=height) - spare
    led = kept & (common[columns] > 0)
    return _zero_one(rows[led], columns[led], (height, len(common))), least


def _blocks(costs: Ints) -> Iterator[slice]:
    """Split a sequence into consecutive parts, each of which costs at most `_BLOCK` or is a single element."""
    total = np.concatenate([[0], np.cumsum(costs)])
    start = 0
    while start < len(costs):
        end = max(start + 1, int(np.searchsorted(total, total[start] + _BLOCK, side="right")) - 1)
        yield slice(start, end)
        start = end


def _zero_one(rows: Ints, columns: Ints, shape: tuple[int, int]) -> csr_array:
    """Make a matrix with a 1 at each row and column; the rows must be in order."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
    return csr_array((np.ones(len(rows), np.int32), columns, starts), shape=shape)


def _row_starts(matrix: csr_array) -> Ints:
    """Give the places where each row begins among the entries, and the end of the last."""
    return np.asarray(matrix.indptr, np.int64)


def _row_sizes(matrix: csr_array) -> Ints:
    """Count the entries of each row."""
    return np.diff(_row_starts(matrix))


def _row_sums(values: Ints, matrix: csr_array) -> Ints:
    """Sum the values of each row's entries."""
    return np.diff(np.concatenate([[0], np.cumsum(values)])[_row_starts(matrix)])


def _column_counts(matrix: csr_array) -> Ints:
    """Count the entries of each column."""
    _, width = cast("tuple[int, int]", matrix.shape)
    return np.bincount(matrix.indices, minlength=width)
