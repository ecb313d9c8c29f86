"""Gates that text must pass before any rubric is read: degenerate text earns nothing, whatever it mentions.

They read letters only, no language model, and hold in any language that puts spaces between words.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

MIN_WORDS = 3
_LOOP_NGRAM = 4
_LOOP_SHARE = 0.3
"""Share of 4-grams that repeat an earlier one, above which text is looping. Prose stays below 0.05."""

_COPY_NGRAM = 4
_COPY_SHARE = 0.8
"""Share of words copied from what was given, above which text is copied. Gold answers stay below 0.35."""

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")

Ngrams = frozenset[tuple[str, ...]]


def gate(text: str, finished: bool, given: Ngrams = frozenset()) -> str | None:
    """The gate that stops a text: "empty", "truncated", "looping" or "copied"; None lets it pass.

    Args:
        text: the answer.
        finished: False if a token limit cut it off.
        given: `ngrams` of the texts that an answer must not merely repeat; without them nothing counts as copied.
    """
    said = words(text)
    if len(said) < MIN_WORDS:
        return "empty"
    if not finished:
        return "truncated"
    if repeated_share(said) > _LOOP_SHARE:
        return "looping"
    if copied_share(said, given) > _COPY_SHARE:
        return "copied"
    return None


def words(text: str) -> list[str]:
    """Lower-case words of a text, contractions whole."""
    return _WORD.findall(text.lower())


def ngrams(texts: Iterable[str]) -> Ngrams:
    """All runs of four words of some texts."""
    return frozenset(gram for text in texts for gram in _grams(words(text), _COPY_NGRAM))


def repeated_share(said: Sequence[str]) -> float:
    """Share of a text's 4-grams that stand in it earlier; 0 for a text with fewer than eight of them."""
    grams = Counter(_grams(said, _LOOP_NGRAM))
    total = sum(grams.values())
    return 0.0 if total < 8 else 1.0 - len(grams) / total


def copied_share(said: Sequence[str], given: Ngrams) -> float:
    """Share of a text's words that lie in a run of four words or more taken over from what was given."""
    copied: set[int] = set()
    for place, gram in enumerate(_grams(said, _COPY_NGRAM)):
        if gram in given:
            copied.update(range(place, place + _COPY_NGRAM))
    return len(copied) / len(said) if said else 0.0


def _grams(said: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return list(zip(*(said[i:] for i in range(length)), strict=False))
