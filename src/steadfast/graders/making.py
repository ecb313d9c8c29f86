"""Judges by name, as recipes and the command line call them."""

import importlib
from collections.abc import Sequence
from numbers import Real
from typing import Any

from steadfast.errors import JudgeError
from steadfast.graders.embedded.judge import EmbeddedJudge
from steadfast.graders.grade import Grade, Judge, WrappedJudge
from steadfast.graders.llm.judge import UNSTRUCTURED, Limits, ModelJudge
from steadfast.rollouts import Rollout

_KINDS = (
    "'embedded', 'embedded-plain', 'provider/model' (openai/..., anthropic/..., vllm/..., ollama/..., hf/...), "
    "or 'package.module:Class' for your own"
)


def make_judge(name: str, limits: Limits | None = None) -> Judge:
    """A judge by name.

    Args:
        name: "embedded", "embedded-plain" (without its stance head), "provider/model" for a language model behind any
            provider of Inspect's ("hf/NAME_OR_PATH" for a local one; with ",structured=false" after it, no JSON
            schema is demanded of its replies), or "package.module:Class" for a judge of the user's own; its class is
            called without arguments.
        limits: what a language model may cost; no other judge takes any.

    Raises:
        JudgeError: no such judge, a language model whose key or package is missing, or limits that do not apply.
        ModelNotFoundError: no such local model.
    """
    if is_model(name):
        return ModelJudge(model_of(name), limits, structured=not name.endswith(UNSTRUCTURED))
    if limits is not None:
        raise JudgeError(f"judge {name!r} makes no calls that could be limited; only a 'provider/model' judge does")
    if name == "embedded":
        return EmbeddedJudge()
    if name == "embedded-plain":
        return EmbeddedJudge(name, head=None)
    module, colon, attribute = name.partition(":")
    if not colon:
        raise JudgeError(f"unknown judge {name!r}; use {_KINDS}")
    try:
        judge: Judge = getattr(importlib.import_module(module), attribute)()
    except Exception as error:  # a user's own code: whatever it raises is told with the judge's name
        raise JudgeError(f"judge {name!r} could not be made: {type(error).__name__}: {error}") from error
    return CheckedJudge(judge)


def is_model(name: str) -> bool:
    """Whether a judge's name stands for a language model, whose calls can be limited and may cost something."""
    return "/" in name


def model_of(name: str) -> str:
    """The language model's own name in a judge's name."""
    return name.removesuffix(UNSTRUCTURED)


class BudgetedJudge(WrappedJudge):
    """A judge whose spent budget is an error: long work stops and goes on later, instead of lacking grades for good."""

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        """The inner judge's grades.

        Raises:
            JudgeError: the limits forbade one of them.
        """
        grades = self.judge.grade(answers)
        for grade in grades:
            if grade.out_of_budget:
                raise JudgeError(
                    f"judge {self.name!r}: {grade.error}; what is graded is kept: "
                    "run the same command again, with a larger budget or for as much again"
                )
        return grades


class CheckedJudge(WrappedJudge):
    """A judge whose answers are looked at before anything is built on them."""

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        """The inner judge's grades.

        Raises:
            JudgeError: another number of grades than answers, something that is no grade, or a score outside [0, 1].
        """
        grades: Any = self.judge.grade(answers)
        if not isinstance(grades, list) or len(grades) != len(answers):
            count = len(grades) if isinstance(grades, list) else type(grades).__name__
            raise JudgeError(f"judge {self.name!r} gave {count} grades for {len(answers)} answers")
        for answer, grade in zip(answers, grades, strict=True):
            where = f"judge {self.name!r} on scenario {answer.task.id!r}"
            if not isinstance(grade, Grade):
                raise JudgeError(f"{where}: gave a {type(grade).__name__}, not a Grade")
            score: Any = grade.score
            if score is not None and not (isinstance(score, Real) and 0.0 <= float(score) <= 1.0):
                raise JudgeError(f"{where}: score {score!r} is not in [0, 1]; leave it None if it cannot grade")
        return grades
