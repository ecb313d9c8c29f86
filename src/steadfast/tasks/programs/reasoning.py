"""Procedural reasoning tasks of reasoning-gym, set easy enough for a small model to learn from.

A task nobody ever solves gives every group of completions the same reward and teaches nothing; nor does one that is
always solved. The settings below put SmolLM2-135M-Instruct between 5% and 80% before training;
`benchmarks/standard_tasks.py` measures it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import reasoning_gym

from steadfast.tasks.programs.item import TaskItem, user_turn

Extract = Callable[[str], str]


def last_number(text: str) -> str:
    """The last number of an answer, as models state results at the end."""
    numbers = re.findall(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", text.replace(",", ""))
    return numbers[-1] if numbers else ""


def last_name(text: str) -> str:
    """The last capitalised word of an answer."""
    names = re.findall(r"\b[A-Z][\w'-]*", text)
    return names[-1] if names else ""


@dataclass(frozen=True)
class ReasoningTask:
    """A reasoning-gym dataset with its settings.

    Attributes:
        name: in recipes and reports.
        dataset: reasoning-gym's name.
        settings: keyword arguments of the dataset.
        extract: finds the final answer in a free text.
        hint: appended to the question.
    """

    name: str
    dataset: str
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    extract: Extract = last_number
    hint: str = ""

    def items(self, count: int, seed: int) -> list[TaskItem]:
        """`count` items drawn with a seed; other seeds give other items."""
        data = reasoning_gym.create_dataset(self.dataset, size=count, seed=seed, **self.settings)
        return [self._item(data, index, seed) for index in range(count)]

    def _item(self, data: Any, index: int, seed: int) -> TaskItem:
        entry = data[index]

        def score(text: str) -> float:
            # Only the exact answer counts: the dataset's partial credit for being near would pay for guessing.
            return float(data.score_answer(self.extract(text), entry) >= 1.0)

        question = f"{entry['question']}\n{self.hint}".strip()
        return TaskItem(f"{self.name}-{seed}-{index}", self.name, user_turn(question), score)


ONE_DIGIT = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}

REASONING_TASKS = (
    ReasoningTask("addition", "chain_sum", ONE_DIGIT),
    ReasoningTask("products", "products", ONE_DIGIT),
    # Without parentheses reasoning-gym 0.1.25 gives wrong answers to divisions (107 of 500 at one seed).
    ReasoningTask(
        "arithmetic",
        "basic_arithmetic",
        {**ONE_DIGIT, "allow_parentheses": True, "allow_negation": False},
    ),
    ReasoningTask("lcm", "lcm", {"min_value": 1, "max_value": 10}, hint="Reply with just the number."),
    ReasoningTask("lookup", "needle_haystack", {"min_num_statements": 2, "max_num_statements": 4}, last_name),
    ReasoningTask(
        "extremes",
        "number_format",
        {"min_num_candidates": 2, "max_num_candidates": 3, "min_n": 1, "max_n": 100, "max_delta": 50},
    ),
)
