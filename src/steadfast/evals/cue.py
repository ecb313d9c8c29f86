"""Whether the words in which twins differ give their sides away, without a look at the text around them.

A pair is made so that a constant earns nothing, yet one word can still carry the whole answer: where "missing" always
stands for "decline", a model need learn that word alone, and what looks like following a rule is spotting a word. The
cue of a suite is how well that can be done (Niven and Kao, 2019, measure such cues of single words in a benchmark).
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from steadfast.tasks.task import Task

Pair = tuple[Task, Task]

_FIRST, _SECOND = "<named first>", "<named second>"
"""Marks of twins whose own words stand elsewhere in the text too: whose were named before the other's."""


def cues(pairs: Sequence[Pair]) -> dict[str, float]:
    """Tell the twins of each wording apart by their differing words, and say how often that is right.

    A bag of words is fitted on the pairs of one half of the domains and tells the sides of the other half, and the
    other way about. Of each twin it sees the words that its opposite lacks (or has fewer of) and, if those words stand
    in the rest of the text too, whether they are named there before the opposite's: where the entitling stamp always
    comes first, whichever stamp recurs says enough. A twin's side is its place in the pair, by id: the first twin of a
    family has the first of its two answers.

    1.0 means that these words alone give the answer away in every case, and 0.5, which is chance, that they say nothing
    until they are read together with the rest. A high cue is no fault where the words carry the very meaning that is
    tested ("changed it to" against "asked for"), but success then shows no more than that those words were understood.
    Well below 0.5 means that the words point one way in one half of the domains and the other way in the other.

    Args:
        pairs: The pairs of a suite. If they are all of one domain, every other pair is one half.

    Returns:
        For each wording, by its number (or "all", where tasks have no wording), the share of pairs whose sides are
        rightly told; a pair about which the words say nothing counts as half. Wordings with one pair only are left out.
    """
    by_wording: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_wording.setdefault("all" if pair[0].wording is None else str(pair[0].wording), []).append(pair)
    return {name: _told(group) for name, group in by_wording.items() if len(group) > 1}


def _told(pairs: Sequence[Pair]) -> float:
    one, other = _halves(pairs)
    return fmean([*_shares(one, other), *_shares(other, one)])


def _halves(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    domains = list(dict.fromkeys(a.domain for a, _ in pairs))
    if len(domains) == 1:
        return list(pairs[::2]), list(pairs[1::2])
    first = set(domains[: len(domains) // 2])
    return [p for p in pairs if p[0].domain in first], [p for p in pairs if p[0].domain not in first]


def _shares(seen: Iterable[Pair], unseen: Iterable[Pair]) -> Iterable[float]:
    """For each unseen pair 1 if its sides are rightly told by what was seen, 0 if wrongly, and 0.5 if not at all."""
    weights = _weights(seen)
    for pair in unseen:
        one, other = (sum(weights.get(word, 0.0) for word in words) for words in _differing(pair))
        yield 0.5 if math.isclose(one, other, abs_tol=1e-12) else float(one > other)


def _weights(pairs: Iterable[Pair]) -> Mapping[str, float]:
    """For each word, the logarithm of how often the first twin had it over how often the second had, both plus one."""
    counts: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    for pair in pairs:
        for count, words in zip(counts, _differing(pair), strict=True):
            count.update(words)
    return {w: math.log((counts[0][w] + 1) / (counts[1][w] + 1)) for w in counts[0] | counts[1]}


def _differing(pair: Pair) -> tuple[set[str], set[str]]:
    """What each twin has and its opposite lacks."""
    texts = [re.findall(r"[^\W_][\w'\u2019:-]*", task.text.casefold()) for task in pair]
    bags = [Counter(text) for text in texts]
    found = set(bags[0] - bags[1]), set(bags[1] - bags[0])
    places = [next((i for i, word in enumerate(texts[1 - which]) if word in found[which]), None) for which in (0, 1)]
    if places[0] is not None and places[1] is not None and places[0] != places[1]:
        first = int(places[1] < places[0])
        found[first].add(_FIRST)
        found[1 - first].add(_SECOND)
    return found
