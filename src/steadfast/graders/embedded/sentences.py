"""An answer's sentences, as the `embedded` judge takes it apart."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class SentenceLimits:
    """Constants of taking an answer apart; they are part of the judge's protocol.

    Attributes:
        ends: what parts two sentences, a regular expression.
        stripped: letters that are no part of a sentence at its ends.
        fragment_words: fewer words than these are a fragment, which joins the sentence before it.
        max_tokens: of a sentence, the encoder's special ones included; a longer one is read in pieces.
        max_sentences: that are read of an answer, pieces included; a longer answer is stopped by a gate.
    """

    ends: str = r"(?<=[.!?;])\s+|\n+"
    stripped: str = " -*#\t"
    fragment_words: int = 3
    max_tokens: int = 96
    max_sentences: int = 512


LIMITS = SentenceLimits()


def sentences(text: str) -> list[str]:
    """An answer's sentences; fragments of fewer than three words join the sentence before them."""
    parts = [p.strip(LIMITS.stripped) for p in re.split(LIMITS.ends, text) if p.strip(LIMITS.stripped)]
    joined: list[str] = []
    for part in parts:
        if joined and len(part.split()) < LIMITS.fragment_words:
            joined[-1] += " " + part
        else:
            joined.append(part)
    return joined or [text.strip()]
