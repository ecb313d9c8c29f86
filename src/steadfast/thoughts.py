"""The thoughts in a reply are told from its answer by the marks that a reasoning model writes."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class ThoughtMarks:
    """These marks stand before and after a model's thoughts."""

    begin: str = "<think>"
    end: str = "</think>"


THINK = ThoughtMarks()


def split_thoughts(text: str, marks: ThoughtMarks = THINK, *, begun: bool = False) -> tuple[str, str]:
    """Split a reply into its thoughts and its answer.

    What stands between the marks is thought, and so is all that stands before an end mark without a beginning. What
    follows a beginning mark without an end, as in a reply that was cut off, is thought; words before it stay.
    Marks in capitals are marks.

    Args:
        text: The reply.
        marks: The marks that stand around the thoughts.
        begun: Whether the prompt ended within thoughts, as some templates open them for the model.

    Returns:
        The thoughts and the answer, both without white space around them. A text without marks is returned as it is.
    """
    begin, end = marks.begin.lower(), marks.end.lower()
    pieces = re.split(f"({re.escape(begin)}|{re.escape(end)})", text, flags=re.IGNORECASE)
    if not begun and len(pieces) == 1:
        return "", text
    thoughts: list[str] = []
    answer: list[str] = []
    thinking = begun
    for piece in pieces:
        if piece.lower() == begin:
            thinking = True
        elif piece.lower() == end:
            if not thinking:
                thoughts, answer = [*thoughts, *answer], []
            thinking = False
        else:
            (thoughts if thinking else answer).append(piece)
    return _joined(thoughts), _joined(answer)


def _joined(pieces: list[str]) -> str:
    return "\n".join(p.strip() for p in pieces if p.strip())
