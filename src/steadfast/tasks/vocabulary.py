"""This module measures how much of their vocabulary two groups of texts share.

Jaccard's index of two vocabularies shrinks when one group is larger. So groups are compared by random parts with the
same number of texts, and each figure is set beside what two parts of one and the same group share.
"""

import re
from collections.abc import Sequence
from itertools import chain

import numpy as np

_DRAWS = 20

_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
    a about after again all also am an and any are as at away back be because been before being between both but by
    can cannot could did do does doing don done down during each else ever every few for from further get gets getting
    give given go goes going gone got had has have having he her here hers him his how i if in into is it its just know
    let like made make makes many may me might mine more most much must my need never no nor not now of off on once one
    only or other our ours out over own per put puts rather said same say says see she should since so some still such
    take takes than that the their theirs them then there these they thing things this those through till to too under
    until up upon us use very want wants was we well were what when where whether which while who whom whose why will
    with within without would yes yet you your yours
    """,
    )
)


def content_words(text: str) -> frozenset[str]:
    """Collect a text's distinct words of three letters or more, without function words."""
    words = re.findall(r"[^\W\d_]{3,}", text.lower())
    return frozenset(words) - _FUNCTION_WORDS


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Divide the size of the intersection by that of the union; the result is 0 for two empty sets."""
    return len(first & second) / max(1, len(first | second))


def shared_vocabulary(
    first: Sequence[frozenset[str]], second: Sequence[frozenset[str]] | None, size: int
) -> float | None:
    """Compute the mean Jaccard index between the vocabularies of random parts of two groups of texts.

    Args:
        first: The content words of each text of a group.
        second: The content words of each text of another group. None compares disjoint parts of the first group.
        size: The number of texts in each part.

    Returns:
        The mean over seeded draws, in [0, 1]; None where a group is too small for parts of that size.
    """
    if size < 1 or min(len(first) // (2 if second is None else 1), len(first if second is None else second)) < size:
        return None
    rng = np.random.default_rng(0)
    values: list[float] = []
    for _ in range(_DRAWS):
        order = rng.permutation(len(first))
        part = [first[i] for i in order[:size]]
        if second is None:
            other = [first[i] for i in order[size : 2 * size]]
        else:
            other = [second[i] for i in rng.permutation(len(second))[:size]]
        values.append(jaccard(frozenset(chain.from_iterable(part)), frozenset(chain.from_iterable(other))))
    return float(np.mean(values))
