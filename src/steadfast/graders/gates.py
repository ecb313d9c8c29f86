"""Text must pass these gates before any rubric is read, so that degenerate text earns nothing, whatever it mentions.

The gates look at letters only and use no language model. They count lengths in words. Where a script puts no spaces
between words, each character counts as the part of a word that it is on average, so that a gate means the same in
every language.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from steadfast.messages import Message, is_blank
from steadfast.tasks.rubric import Criterion

_IDEOGRAMS = (
    "\u3005-\u3007\u3041-\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U000323af"
)
_LETTERS = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e50-\u0e59\u0e81-\u0ebd\u0ec0-\u0ece\u0ed0-\u0edf"
    "\u1000-\u1049\u1050-\u109d\u1780-\u17d3\u17d7\u17dc-\u17e9"
)


@dataclass(frozen=True)
class GateLimits:
    """The constants of the gates. They are part of the protocol of every judge that uses the gates.

    Attributes:
        min_words: A text of fewer words is empty.
        loop_ngram: A run of so many words that occurs again is a repetition.
        loop_share: A text is looping if a larger share of its n-grams repeats an earlier one. Prose stays below 0.05.
        loop_min_ngrams: A text of fewer n-grams is too short to loop.
        copy_ngram: A run of so many words that was given before is copied.
        copy_share: A text is copied if a larger share of its words is. Gold answers stay below 0.35.
        ideograms: The characters of Chinese and Japanese, as a class of a regular expression.
        ideogram_words: Each of them counts as so many words.
        letters: The characters of Thai, Lao, Burmese and Khmer, whose words stand without spaces too.
        letter_words: Each of them counts as so many words.
    """

    min_words: int = 3
    loop_ngram: int = 4
    loop_share: float = 0.3
    loop_min_ngrams: int = 8
    copy_ngram: int = 4
    copy_share: float = 0.8
    ideograms: str = _IDEOGRAMS
    ideogram_words: float = 0.5
    letters: str = _LETTERS
    letter_words: float = 0.25

    @property
    def word(self) -> str:
        """The regular expression of a word: a run of letters with its apostrophes, or one unspaced character."""
        unspaced = self.ideograms + self.letters
        spaced = rf"[^\W{unspaced}]+"
        return rf"{spaced}(?:['\u2019]{spaced})*|[{unspaced}]"


LIMITS = GateLimits()

Ngrams = frozenset[tuple[str, ...]]


def gate(text: str, finished: bool, given: Ngrams = frozenset(), *, min_words: int | None = None) -> str | None:
    """Name the gate that stops a text: "empty", "truncated", "looping" or "copied"; None lets it pass.

    Args:
        text: The answer.
        finished: False if a token limit cut it off.
        given: The `ngrams` of the texts that an answer must not merely repeat. Without them nothing counts as copied.
        min_words: A text of fewer words is empty; None means `LIMITS.min_words`. At 0 only a blank text is empty.
    """
    said = words(text)
    if is_blank(text) or _length(said) < (LIMITS.min_words if min_words is None else min_words):
        return "empty"
    if not finished:
        return "truncated"
    if repeated_share(said) > LIMITS.loop_share:
        return "looping"
    if copied_share(said, given) > LIMITS.copy_share:
        return "copied"
    return None


def words(text: str) -> list[str]:
    """List a text's words in lower case. A contraction is one word; in scripts without spaces, a character is one."""
    return _pattern(LIMITS.word).findall(text.lower())


def word_size(word: str) -> float:
    """Say how many words an item of `words` counts as: 1, or less for a character of a script without spaces."""
    return 1.0 if word < "\u0e00" else _unspaced_size(word, LIMITS)


def ngrams(texts: Iterable[str]) -> Ngrams:
    """Collect all runs of four words of some texts."""
    return frozenset(gram for text in texts for gram, _ in _grams(words(text), LIMITS.copy_ngram))


def given_ngrams(messages: Sequence[Message], rubric: Sequence[Criterion]) -> Ngrams:
    """Collect the runs of four words of the conversation and the criteria, which an answer must not merely repeat."""
    return _remembered_ngrams((*(m.content for m in messages), *(c.criterion for c in rubric)))


@lru_cache(maxsize=2048)
def _remembered_ngrams(texts: tuple[str, ...]) -> Ngrams:
    return ngrams(texts)


def repeated_share(said: Sequence[str]) -> float:
    """Compute the share of a text's 4-grams that repeat an earlier one; it is 0 if there are fewer than eight."""
    grams = Counter(gram for gram, _ in _grams(said, LIMITS.loop_ngram))
    total = sum(grams.values())
    return 0.0 if total < LIMITS.loop_min_ngrams else 1.0 - len(grams) / total


def copied_share(said: Sequence[str], given: Ngrams) -> float:
    """Compute the share of a text's words that lie in a run of four or more words copied from what was given."""
    taken = (places for gram, places in _grams(said, LIMITS.copy_ngram) if gram in given)
    copied = set(chain.from_iterable(taken))
    return sum(word_size(said[place]) for place in copied) / _length(said) if said else 0.0


def _length(said: Sequence[str]) -> float:
    return sum(map(word_size, said))


def _grams(said: Sequence[str], length: int) -> Iterable[tuple[tuple[str, ...], range]]:
    """Yield, from each place on, the shortest run whose sizes sum to `length` words, with the places that it takes."""
    end, held = 0, 0.0
    for start in range(len(said)):
        while held < length and end < len(said):
            held += word_size(said[end])
            end += 1
        if held < length:
            return
        yield tuple(said[start:end]), range(start, end)
        held -= word_size(said[start])


@lru_cache(maxsize=4)
def _pattern(word: str) -> re.Pattern[str]:
    return re.compile(word)


@lru_cache(maxsize=4096)
def _unspaced_size(word: str, limits: GateLimits) -> float:
    if re.fullmatch(f"[{limits.ideograms}]", word):
        return limits.ideogram_words
    return limits.letter_words if re.fullmatch(f"[{limits.letters}]", word) else 1.0
