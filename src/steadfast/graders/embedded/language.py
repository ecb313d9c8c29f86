"""Whether the `embedded` judge reads a text: its sentence encoder, all-MiniLM-L6-v2, knows English.

Two signs tell another language, and both are slow to say so, since a wrong refusal costs a user her scenarios:

- Script: more than half of the words are written in other letters than Latin ones. Numbers, code and foreign names in
  an English text come nowhere near.
- Function words, for languages in Latin script: English prose is made of "the", "that" and "you" (14% to 39% of the
  words of each shipped scenario's rubric are in the list below), while of texts in eleven other languages none had
  more than 5%, most none at all. The list leaves out words that look the same elsewhere, such as "in", "is" and "for".

The second sign needs some text, so it is asked of a scenario and not of a single answer, which may be a list of words.
The share of unknown and one-letter pieces of the encoder's own tokenizer was no alternative: it has a piece for every
Latin letter and for many Chinese characters, and takes code and numbers apart as it does Polish.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from steadfast.graders.gates import word_size, words
from steadfast.messages import Message
from steadfast.tasks.rubric import Criterion

_OTHER_SCRIPT = 0.5
"""Share of words in other letters than Latin ones above which a text is not read."""

_ENGLISH = 0.03
"""Share of English function words from which on a text is taken for English."""

_ENOUGH_WORDS = 30
"""Of fewer words, a text in Latin script may be in any language."""

_FUNCTION_WORDS = frozenset(
    [
        "the",
        "and",
        "that",
        "it",
        "you",
        "with",
        "this",
        "not",
        "your",
        "from",
        "they",
        "but",
        "what",
        "can",
        "would",
        "if",
        "about",
        "which",
        "when",
        "who",
        "than",
        "there",
        "their",
        "has",
        "been",
        "does",
        "did",
        "she",
        "should",
        "could",
        "how",
        "any",
        "more",
        "before",
        "after",
        "only",
        "other",
        "just",
        "into",
        "out",
        "because",
        "while",
        "where",
        "them",
        "then",
        "these",
        "those",
        "it's",
        "don't",
        "isn't",
        "you're",
        "that's",
        "i'm",
        "i'd",
        "i'll",
        "won't",
        "can't",
        "doesn't",
    ]
)

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def unread_scenario(messages: Sequence[Message], rubric: Sequence[Criterion]) -> str | None:
    """Why a scenario's language is not read; None if it is, or if there is too little text to tell."""
    conversation = " ".join(m.content for m in messages)
    criteria = " ".join(t for c in rubric for t in (c.criterion, *c.met, *c.unmet))
    for name, text in (("conversation", conversation), ("rubric", criteria)):
        if in_other_script(text):
            return f"its {name} is not written in Latin letters"
    share, _ = _function_words(criteria)
    share_of_all, count = _function_words(f"{criteria} {conversation}")
    if count >= _ENOUGH_WORDS and max(share, share_of_all) < _ENGLISH:
        return "its rubric does not seem to be English"
    return None


def in_other_script(text: str) -> bool:
    """Whether most of a text's words are written in other letters than Latin ones."""
    sizes = [(word_size(word), latin) for word in words(text) if (latin := _is_latin(word)) is not None]
    other = sum(size for size, latin in sizes if not latin)
    return other > _OTHER_SCRIPT * sum(size for size, _ in sizes)


@lru_cache(maxsize=8192)
def _is_latin(word: str) -> bool | None:
    """Whether a word's letters are Latin ones, most of them; None for a word without letters, such as a number."""
    letters = [letter for letter in unicodedata.normalize("NFKC", word) if letter.isalpha()]
    if not letters:
        return None
    return 2 * sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters) >= len(letters)


def _function_words(text: str) -> tuple[float, int]:
    """Share of a text's words that are English function words, and the number of its words."""
    found: list[str] = _WORD.findall(text.lower().replace("\u2019", "'"))
    return sum(word in _FUNCTION_WORDS for word in found) / max(1, len(found)), len(found)
