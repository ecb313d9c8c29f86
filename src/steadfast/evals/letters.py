"""References compared without likelihoods: two replies as an A/B question, asked in both orders.

This is for models that show only what they say. A model that always names one letter picks the good reply in exactly
one order of two, so it scores 0.5, and no bias for the first option can win.
"""

import re
from collections.abc import Sequence

from inspect_ai.model import ChatMessage, ChatMessageUser

from steadfast.messages import Message
from steadfast.thoughts import split_thoughts

_QUESTION = """Above is a conversation. Two replies to its last message are proposed.

[A]
{a}

[B]
{b}

Which of the two would you give? Answer with the letter alone, A or B."""
_FRAME = """Conversation:

{conversation}

{question}"""
_LETTER = re.compile(r"(?:(?i:(?:final )?answer)\s*:?\s*)?[\[(*]*([AB])[\])*.:]*", re.ASCII)


def parse_letter(text: str) -> str | None:
    """The letter that a reply consists of, bare or as in "Answer: (A)."; None for anything else.

    It is strict on purpose: a letter somewhere in a sentence is not a choice. Thoughts before it are passed over.
    """
    found = _LETTER.fullmatch(split_thoughts(text)[1].strip())
    return found.group(1) if found else None


def question(messages: Sequence[Message], a: str, b: str) -> list[ChatMessage]:
    """The A/B question on a conversation, as one turn: its own turns are quoted, so none is taken for an order."""
    turns = "\n\n".join(f"{m.role.capitalize()}: {m.content}" for m in messages)
    return [ChatMessageUser(content=_FRAME.format(conversation=turns, question=_QUESTION.format(a=a, b=b)))]


def pair_score(good_as_a: str | None, good_as_b: str | None) -> float | None:
    """The share of the two orders in which the good reply was picked; None if either letter could not be read."""
    if good_as_a is None or good_as_b is None:
        return None
    return ((good_as_a == "A") + (good_as_b == "B")) / 2
