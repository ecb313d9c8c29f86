"""The `embedded` judge splits an answer into sentences."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class SentenceLimits:
    """The constants by which an answer is split. They are part of the judge's protocol.

    Attributes:
        ends: The regular expression of what separates two sentences.
        stripped: The characters that are taken off both ends of a sentence.
        fragment_words: A part of fewer words is a fragment, which joins the sentence before it.
        max_tokens: A sentence of more tokens, the encoder's special ones included, is read in pieces.
        max_sentences: An answer of more sentences, pieces included, is stopped by a gate.
    """

    ends: str = r"(?<=[.!?;])\s+|\n+"
    stripped: str = " -*#\t"
    fragment_words: int = 3
    max_tokens: int = 96
    max_sentences: int = 512


LIMITS = SentenceLimits()


def sentences(text: str) -> list[str]:
    """Split an answer into sentences; a fragment of fewer than three words joins the sentence before it."""
    parts = [p.strip(LIMITS.stripped) for p in re.split(LIMITS.ends, text) if p.strip(LIMITS.stripped)]
    joined: list[str] = []
    for part in parts:
        if joined and len(part.split()) < LIMITS.fragment_words:
            joined[-1] += " " + part
        else:
            joined.append(part)
    return joined or [text.strip()]
