"""Gates that text must pass before any rubric is read: degenerate text earns nothing, whatever it mentions.

They read letters only, no language model, and hold in any language that puts spaces between words.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from steadfast.tasks.task import Task


@dataclass(frozen=True)
class GateLimits:
    """Constants of the gates; they are part of every judge's protocol that asks them.

    Attributes:
        min_words: fewer are empty.
        loop_ngram: words in a row that count as said again.
        loop_share: of n-grams that repeat an earlier one, above which text is looping. Prose stays below 0.05.
        loop_min_ngrams: text of fewer n-grams is too short to loop.
        copy_ngram: words in a row that count as taken over.
        copy_share: of words copied from what was given, above which text is copied. Gold answers stay below 0.35.
        word: what a word is, a regular expression.
    """

    min_words: int = 3
    loop_ngram: int = 4
    loop_share: float = 0.3
    loop_min_ngrams: int = 8
    copy_ngram: int = 4
    copy_share: float = 0.8
    word: str = r"\w+(?:['\u2019]\w+)*"


LIMITS = GateLimits()

Ngrams = frozenset[tuple[str, ...]]


def gate(text: str, finished: bool, given: Ngrams = frozenset()) -> str | None:
    """The gate that stops a text: "empty", "truncated", "looping" or "copied"; None lets it pass.

    Args:
        text: the answer.
        finished: False if a token limit cut it off.
        given: `ngrams` of the texts that an answer must not merely repeat; without them nothing counts as copied.
    """
    said = words(text)
    if len(said) < LIMITS.min_words:
        return "empty"
    if not finished:
        return "truncated"
    if repeated_share(said) > LIMITS.loop_share:
        return "looping"
    if copied_share(said, given) > LIMITS.copy_share:
        return "copied"
    return None


def words(text: str) -> list[str]:
    """Lower-case words of a text, contractions whole."""
    return re.findall(LIMITS.word, text.lower())


def ngrams(texts: Iterable[str]) -> Ngrams:
    """All runs of four words of some texts."""
    return frozenset(gram for text in texts for gram in _grams(words(text), LIMITS.copy_ngram))


def given_ngrams(scenario: Task) -> Ngrams:
    """Runs of words of the conversation and the criteria, which an answer must not merely repeat."""
    return _remembered_ngrams((*(m.content for m in scenario.messages), *(c.criterion for c in scenario.rubric)))


@lru_cache(maxsize=2048)
def _remembered_ngrams(texts: tuple[str, ...]) -> Ngrams:
    return ngrams(texts)


def repeated_share(said: Sequence[str]) -> float:
    """Share of a text's 4-grams that stand in it earlier; 0 for a text with fewer than eight of them."""
    grams = Counter(_grams(said, LIMITS.loop_ngram))
    total = sum(grams.values())
    return 0.0 if total < LIMITS.loop_min_ngrams else 1.0 - len(grams) / total


def copied_share(said: Sequence[str], given: Ngrams) -> float:
    """Share of a text's words that lie in a run of four words or more taken over from what was given."""
    copied: set[int] = set()
    for place, gram in enumerate(_grams(said, LIMITS.copy_ngram)):
        if gram in given:
            copied.update(range(place, place + LIMITS.copy_ngram))
    return len(copied) / len(said) if said else 0.0


def _grams(said: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return list(zip(*(said[i:] for i in range(length)), strict=False))
