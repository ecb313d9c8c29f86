"""This module tells whether the `embedded` judge reads a text: its encoder, all-MiniLM-L6-v2, knows only English.

Two signs tell another language. Both are set to miss rather than to refuse, for a wrong refusal costs a user her
scenarios:

- Script: more than half of the words are written in other letters than Latin ones. Numbers, code and foreign names in
  an English text come nowhere near that share.
- Function words, for languages in Latin script: English text is full of "the", "that" and "you". In each shipped
  scenario, 68% or more of the texts (its turns, criteria and statements) hold a word of the list below; of sentences in
  thirteen other languages none did. The list leaves out words that look the same elsewhere, such as "in", "is" and
  "for". Texts are counted, not words, so that one long text of code or names cannot outweigh the others.

The second sign needs some text, so it is used for a scenario, not for a single answer, which may be a list of words.
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
"""A text is not read if a larger share of its words is written in other letters than Latin ones."""

_ENGLISH = 0.1
"""A scenario counts as English if at least this share of its texts holds an English function word."""

_ENOUGH_WORDS = 30
"""A scenario of fewer words in Latin script is too short to tell its language, so it is read."""

_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\S+",
        "the and that it you with this not your from they but what can would if about which when who than there their "
        "has been does did she should could how any more before after only other just into out because while where "
        "them then these those it's don't isn't you're that's i'm i'd i'll won't can't doesn't",
    )
)

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def unread_scenario(messages: Sequence[Message], rubric: Sequence[Criterion]) -> str | None:
    """Say why a scenario's language is not read; None if it is, or if there is too little text to tell."""
    conversation = [m.content for m in messages]
    criteria = [t for c in rubric for t in (c.criterion, *c.met, *c.unmet)]
    for name, texts in (("conversation", conversation), ("rubric", criteria)):
        if in_other_script(" ".join(texts)):
            return f"its {name} is not written in Latin letters"
    found = [_plain_words(text) for text in (*conversation, *criteria)]
    english = sum(not _FUNCTION_WORDS.isdisjoint(text) for text in found)
    if sum(map(len, found)) >= _ENOUGH_WORDS and english < _ENGLISH * len(found):
        return "it does not seem to be English"
    return None


def in_other_script(text: str) -> bool:
    """Tell whether most of a text's words are written in other letters than Latin ones."""
    sizes = [(word_size(word), latin) for word in words(text) if (latin := _is_latin(word)) is not None]
    other = sum(size for size, latin in sizes if not latin)
    return other > _OTHER_SCRIPT * sum(size for size, _ in sizes)


@lru_cache(maxsize=8192)
def _is_latin(word: str) -> bool | None:
    """Tell whether half of a word's letters or more are Latin ones; None for a word without letters, as a number."""
    letters = [letter for letter in unicodedata.normalize("NFKC", word) if letter.isalpha()]
    if not letters:
        return None
    return 2 * sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters) >= len(letters)


def _plain_words(text: str) -> list[str]:
    return _WORD.findall(text.lower().replace("\u2019", "'"))
