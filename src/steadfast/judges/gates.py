"""Gates that text must pass before any rubric is read: degenerate text earns nothing, whatever it mentions."""

import re
from collections import Counter

MIN_WORDS = 3
_LOOP_NGRAM = 4
_LOOP_SHARE = 0.3
"""Share of 4-grams that repeat an earlier one, above which text is looping. Prose stays below 0.05."""


def gate(text: str, finished: bool) -> str | None:
    """The gate that stops a text: "empty", "truncated" or "looping"; None lets it pass.

    Args:
        text: the answer.
        finished: False if a token limit cut it off.
    """
    words = re.findall(r"\w+", text.lower())
    if len(words) < MIN_WORDS:
        return "empty"
    if not finished:
        return "truncated"
    if repeated_share(words) > _LOOP_SHARE:
        return "looping"
    return None


def repeated_share(words: list[str]) -> float:
    """Share of a text's 4-grams that stand in it earlier; 0 for a text with fewer than eight of them."""
    grams = Counter(zip(*(words[i:] for i in range(_LOOP_NGRAM)), strict=False))
    total = sum(grams.values())
    return 0.0 if total < 8 else 1.0 - len(grams) / total
