"""Whether the `embedded` judge reads a text: its sentence encoder, all-MiniLM-L6-v2, knows English.

Two signs tell another language, and both are slow to say so, since a wrong refusal costs a user her scenarios:

- Script: more than half of the words are written in other letters than Latin ones. Numbers, code and foreign names in
  an English text come nowhere near.
- Function words, for languages in Latin script: English is made of "the", "that" and "you". Of the texts of each
  shipped scenario (its turns, criteria and statements) 68% or more hold a word of the list below; of sentences in
  thirteen other languages none did. The list leaves out words that look the same elsewhere, such as "in", "is" and
  "for". Texts are counted, not words: one long text of code or names cannot outweigh the others.

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

_ENGLISH = 0.1
"""Share of a scenario's texts with an English function word from which on it is taken for English."""

_ENOUGH_WORDS = 30
"""Of fewer words, a scenario in Latin script may be in any language."""

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
    """Why a scenario's language is not read; None if it is, or if there is too little text to tell."""
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


def _plain_words(text: str) -> list[str]:
    return _WORD.findall(text.lower().replace("\u2019", "'"))
