"""A scripted author: answers the orders of a synthesis over HTTP, with sentences of made-up words."""

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

DRAFT, CRITIQUE, REVISION, REPAIR = "draft", "critique", "revision", "repair"

_OPENINGS = {
    "Write one scenario.": DRAFT,
    "Here is a scenario of": CRITIQUE,
    "Here is a scenario with": REVISION,
    "That cannot be used": REPAIR,
}


def order(messages: list[dict[str, Any]]) -> str:
    """Which order the last message is."""
    return next(kind for opening, kind in _OPENINGS.items() if messages[-1]["content"].startswith(opening))


def first_order(messages: list[dict[str, Any]]) -> str:
    """Which order the exchange began with, a repair's own too."""
    return order(messages[:2])


def turns_ordered(messages: list[dict[str, Any]]) -> int:
    found = re.search(r"The length: (\d+) turns", messages[1]["content"])
    return int(found[1]) if found else 1


def words(random: Random, count: int) -> str:
    syllables = ["ba", "ke", "lo", "mi", "nu", "ra", "se", "to", "vi", "zu"]
    return " ".join("".join(random.choices(syllables, k=3)) for _ in range(count))


def rubric(random: Random, criteria: int = 3) -> list[dict[str, Any]]:
    return [
        {
            "criterion": words(random, 8),
            "points": -4 if i == criteria - 1 else 3,
            "met": [words(random, 12), words(random, 12)],
            "unmet": [words(random, 12), words(random, 12)],
        }
        for i in range(criteria)
    ]


def draft(seed: int, turns: int) -> dict[str, Any]:
    random = Random(seed)
    roles = [("user", "assistant")[i % 2] for i in range(turns)]
    return {
        "plan": "The quick answer tempts; the honest one costs a day.",
        "messages": [{"role": role, "content": words(random, 30)} for role in roles],
        "rubric": rubric(random),
        "refusal_fails": True,
    }


SOUND = json.dumps({"findings": [], "unusable": ""})


def strong(messages: list[dict[str, Any]], request: dict[str, Any]) -> str:
    """An author whose every answer is good and who finds no fault with its rubrics."""
    if first_order(messages) == CRITIQUE:
        return SOUND
    return json.dumps(draft(request["seed"], turns_ordered(messages)))


def scripted(**special: Callable[[list[dict[str, Any]], dict[str, Any]], Any]) -> Callable[..., Any]:
    """The strong author, but for the orders that are named: draft, critique, revision, repair."""

    def reply(messages: list[dict[str, Any]], request: dict[str, Any]) -> Any:
        return special.get(order(messages), strong)(messages, request)

    return reply
