"""Ordinary wear as conditions: a temperature at which is answered, and a long friendly conversation before the task."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from steadfast.attacks.benign import BenignExample, friendly_conversations
from steadfast.attacks.wear import WearConfig
from steadfast.errors import DataError
from steadfast.evals.measure import Condition, Part
from steadfast.evals.rows import TEMPERATURE, TURN
from steadfast.graders.protocol import protocol_hash
from steadfast.messages import Message


def temperature_condition(temperature: float, style: str | None = None, seed: int = 0) -> Condition:
    """The condition `temperature:T`, under which answers are drawn at a temperature.

    Args:
        temperature: The temperature.
        style: The style that the plain condition has.
        seed: The seed of the draws. With the same seed two temperatures use the same random numbers.
    """
    return Condition(f"{TEMPERATURE}{temperature:g}", style, temperature, seed)


def turn_condition(turn: int, number: int, style: str | None = None) -> Condition:
    """The condition `turn:TURN/NUMBER`: the task comes at a turn of a friendly conversation, after all before it.

    Args:
        turn: The turn at which the task comes, counted from 1; at turn 5 it comes after four turns, each a message of
            the user's with its answer.
        number: The number of the conversation, counted from 1.
        style: The style that the plain condition has, so that the two differ in the conversation alone.

    Raises:
        DataError: There is no such conversation, or it does not reach the turn.
    """
    known = friendly_conversations()
    if not 1 <= number <= len(known):
        raise DataError([f"there is no friendly conversation {number}; there are {len(known)}, counted from 1"])
    return Condition(f"{TURN}{turn}/{number}", style, preface=_turns_before(known[number - 1], turn))


def _turns_before(conversation: BenignExample, turn: int) -> tuple[Message, ...]:
    turns = conversation.turns
    if not 1 < turn <= 1 + len(turns) // 2:
        raise DataError(
            [f"a task can come at turns 2 to {1 + len(turns) // 2} of conversation {conversation.id!r}, not at {turn}"]
        )
    return turns[: 2 * (turn - 1)]


def wear_conditions(config: WearConfig, style: str | None = None, seed: int = 0) -> list[Condition]:
    """The conditions of a recipe's wear: its temperatures, then its turns, each in every conversation.

    Args:
        config: The recipe's wear.
        style: The style that the plain condition has.
        seed: The seed of the answers that are drawn.
    """
    warm = [temperature_condition(t, style, seed) for t in config.temperatures]
    numbers = range(1, len(friendly_conversations()) + 1)
    return warm + [turn_condition(turn, number, style) for turn in config.turns for number in numbers]


def worn_parts(condition: Condition, parts: Sequence[Part]) -> list[Part]:
    """What is asked under a condition of wear, of what is asked plainly.

    The likelihoods of references know no temperature, so that under one only answers are asked for; a part of which
    nothing is left is dropped.
    """
    if condition.preface:
        return list(parts)
    return [replace(p, compared=()) for p in parts if p.answered]


def wear_protocol(conditions: Iterable[Condition]) -> Mapping[str, str]:
    """What decides the numbers under each condition of wear, as a hash by the condition's name."""
    return {
        c.name: protocol_hash(
            c.name, {"temperature": c.temperature, "seed": c.seed, "preface": [m.model_dump() for m in c.preface]}
        )
        for c in conditions
    }
