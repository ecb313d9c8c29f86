"""A verifiable task: a conversation and a program that scores the answer."""

from collections.abc import Callable
from dataclasses import dataclass

from steadfast.messages import Message


@dataclass(frozen=True)
class TaskItem:
    """One item.

    Attributes:
        id: unique among items of all tasks and seeds.
        task: its task's name.
        messages: the conversation.
        score: the answer's reward in [0, 1].
    """

    id: str
    task: str
    messages: tuple[Message, ...]
    score: Callable[[str], float]


def user_turn(text: str) -> tuple[Message, ...]:
    """A conversation of one user turn."""
    return (Message(role="user", content=text),)
