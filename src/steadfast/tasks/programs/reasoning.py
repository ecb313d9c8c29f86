"""The procedural reasoning tasks of reasoning-gym are set easy enough for a small model to learn from.

A task that is never solved, or always, gives every group of completions the same reward and teaches nothing. With the
settings below SmolLM2-135M-Instruct solves between 5% and 80% before training; `benchmarks/standard_tasks.py` measures
it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import reasoning_gym

from steadfast.messages import Message
from steadfast.tasks.task import ProgramGrader, Task

PROGRAM = "reasoning"

Score = Callable[[str, Mapping[str, Any]], float]


def last_number(text: str) -> str:
    """Find the last number of an answer, because models state results at the end; empty if there is none."""
    numbers = re.findall(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", text.replace(",", ""))
    return numbers[-1] if numbers else ""


def last_name(text: str) -> str:
    """Find the last capitalised word of an answer; empty if there is none."""
    names = re.findall(r"\b[A-Z][\w'-]*", text)
    return names[-1] if names else ""


_EXTRACT: Mapping[str, Callable[[str], str]] = {"number": last_number, "name": last_name}


def check(text: str, args: Mapping[str, Any]) -> float:
    """Score 1 if the final answer found in a text is exactly right, else 0.

    Args:
        text: The model's answer.
        args: A mapping with reasoning-gym's name of the "dataset", its "entry", and what to "extract" as the final
            answer, "number" or "name".
    """
    # Only the exact answer counts: the dataset's partial credit for being near would pay for guessing.
    answer = _EXTRACT[args["extract"]](text)
    return float(_score_of(args["dataset"])(answer, args["entry"]) >= 1.0)


@cache
def _score_of(dataset: str) -> Score:
    score: Any = reasoning_gym.get_score_answer_fn(dataset)
    return score


@dataclass(frozen=True)
class ReasoningTask:
    """A reasoning-gym dataset with its settings.

    Attributes:
        name: The task's name in recipes and reports.
        dataset: The dataset's name in reasoning-gym.
        settings: The keyword arguments of the dataset.
        extract: What the final answer is: a "number" or a "name".
        hint: A text that is appended to the question.
    """

    name: str
    dataset: str
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    extract: str = "number"
    hint: str = ""

    def tasks(self, count: int, seed: int) -> list[Task]:
        """Draw `count` tasks with a seed; other seeds give other tasks."""
        data: Any = reasoning_gym.create_dataset(self.dataset, size=count, seed=seed, **self.settings)
        return [self._task(data[index], f"{self.name}-{seed}-{index}") for index in range(count)]

    def _task(self, entry: dict[str, Any], identifier: str) -> Task:
        question = f"{entry['question']}\n{self.hint}".strip()
        return Task(
            id=identifier,
            suite=self.name,
            messages=(Message(role="user", content=question),),
            grader=ProgramGrader(
                program=PROGRAM, args={"dataset": self.dataset, "extract": self.extract, "entry": entry}
            ),
        )


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
    ReasoningTask("lookup", "needle_haystack", {"min_num_statements": 2, "max_num_statements": 4}, "name"),
    ReasoningTask(
        "extremes",
        "number_format",
        {"min_num_candidates": 2, "max_num_candidates": 3, "min_n": 1, "max_n": 100, "max_delta": 50},
    ),
)
