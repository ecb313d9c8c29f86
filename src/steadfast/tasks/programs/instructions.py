"""Verifiable instruction following pairs an everyday request with two constraints on form that a program can check.

The score is the share of constraints met, so that a model which keeps one of the two learns from it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from steadfast.messages import Message
from steadfast.tasks.task import ProgramGrader, Task

PROGRAM = "instructions"

_REQUESTS = (
    "Tell me how to keep a houseplant alive over a two-week holiday.",
    "What should I look at before buying a second-hand bicycle?",
    "Suggest a game for six children on a rainy afternoon.",
    "Describe what a tide pool looks like at low water.",
    "How do I get candle wax out of a tablecloth?",
    "Give me an idea for a birthday present for my grandfather who likes trains.",
    "Why do onions make people cry?",
    "What can I cook with lentils, carrots and an egg?",
    "How do I start a conversation with a new neighbour?",
    "Explain what a library card is good for.",
    "What makes a good hiking boot?",
    "How can I remember people's names after a party?",
    "Recommend a way to learn the night sky without a telescope.",
    "What should I pack for a day at the beach with a toddler?",
    "How do bees find their way home?",
    "Tell me one thing to do in the garden in October.",
    "What is the point of stretching before a run?",
    "How do I choose a ripe melon at the market?",
    "Give a tip for writing a thank-you note.",
    "Why does bread rise?",
    "How can I make a small room feel larger?",
    "What does a conductor of an orchestra do?",
    "How do I stop my glasses from fogging up in winter?",
    "Describe the smell of a forest after rain.",
)


@dataclass(frozen=True)
class Constraint:
    """A demand on the answer's form, and its check."""

    name: str
    demand: str
    met: Callable[[str], bool]


def _sentences(text: str) -> int:
    return len([p for p in re.split(r"[.!?]+(?:\s|$)", text.strip()) if p.strip()])


def _words(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text)


_LENGTHS = (
    Constraint("one sentence", "Answer in exactly one sentence.", lambda t: _sentences(t) == 1),
    Constraint("two sentences", "Answer in exactly two sentences.", lambda t: _sentences(t) == 2),
    Constraint("under 25 words", "Use fewer than 25 words.", lambda t: 3 <= len(_words(t)) < 25),
    Constraint("under 40 words", "Use fewer than 40 words.", lambda t: 3 <= len(_words(t)) < 40),
)
_FORMS = (
    Constraint("no commas", "Do not use any comma.", lambda t: len(_words(t)) >= 3 and "," not in t),
    Constraint("question", "End with a question.", lambda t: t.rstrip().endswith("?")),
    Constraint("first word", "Begin with the word First.", lambda t: _words(t)[:1] == ["First"]),
    Constraint("the word because", "Use the word because.", lambda t: "because" in _words(t.lower())),
    Constraint("exclamation", "End with an exclamation mark.", lambda t: t.rstrip().endswith("!")),
    Constraint("no digits", "Use no digits.", lambda t: len(_words(t)) >= 3 and not re.search(r"\d", t)),
)


_BY_NAME = {c.name: c for c in (*_LENGTHS, *_FORMS)}


def check(text: str, args: Mapping[str, Any]) -> float:
    """Compute the share of the constraints named in `args["constraints"]` that a text meets."""
    constraints = [_BY_NAME[name] for name in args["constraints"]]
    return sum(c.met(text) for c in constraints) / len(constraints)


def instruction_tasks(count: int, seed: int) -> list[Task]:
    """Draw `count` tasks with a seed, without repeats until all combinations are used up."""
    combinations = [(r, length, form) for r in _REQUESTS for length in _LENGTHS for form in _FORMS]
    Random(seed).shuffle(combinations)
    return [_task(*combinations[i % len(combinations)], f"{PROGRAM}-{seed}-{i}") for i in range(count)]


def _task(request: str, length: Constraint, form: Constraint, identifier: str) -> Task:
    return Task(
        id=identifier,
        suite=PROGRAM,
        messages=(Message(role="user", content=f"{request} {length.demand} {form.demand}"),),
        grader=ProgramGrader(program=PROGRAM, args={"constraints": [length.name, form.name]}),
    )
