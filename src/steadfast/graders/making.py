"""This module makes judges from their configs, and wraps judges to stop at a spent budget or check their answers."""

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, TypeVar, cast

from steadfast.errors import JudgeError, SteadfastError
from steadfast.graders.config import AnyJudgeConfig, CustomConfig, EmbeddedConfig, JudgeConfig, Limits, LLMConfig
from steadfast.graders.embedded.judge import EmbeddedJudge
from steadfast.graders.grade import Grade, Judge, Verdict, WrappedJudge, reason_against
from steadfast.graders.llm.judge import ModelJudge
from steadfast.graders.protocol import protocol_hash
from steadfast.messages import printable
from steadfast.redaction import redacted
from steadfast.rollouts import Rollout
from steadfast.tasks.task import Task

T = TypeVar("T")

_CUSTOM_BATCH = 32
"""A judge of the user's own is handed so many answers at a time; a fault or a kill costs no more grades than these."""


def make_judge(judge: AnyJudgeConfig | str | Mapping[str, Any], limits: Limits | None = None) -> Judge:
    """Make a judge from its config or a spelling of it.

    Args:
        judge: Whatever `JudgeConfig.parse` reads.
        limits: The limits of a language model, in place of the config's. No other judge takes any.

    Raises:
        JudgeError: There is no such judge, a language model's key or package is missing, or the limits do not apply.
        ModelNotFoundError: There is no such local model.
    """
    config = JudgeConfig.parse(judge)
    if limits is not None and not config.is_model:
        raise JudgeError(
            f"judge {config.name!r} makes no calls that could be limited; only a 'provider/model' judge does"
        )
    match config:
        case EmbeddedConfig():
            return EmbeddedJudge(config.name) if config.head else EmbeddedJudge(config.name, head=None)
        case LLMConfig():
            return ModelJudge(
                config.model,
                limits or config.limits,
                repairs=config.repairs,
                max_output_tokens=config.max_output_tokens,
                structured=config.structured,
                model_args=config.args,
            )
        case CustomConfig():
            return CheckedJudge(_custom_judge(config))


def _custom_judge(config: CustomConfig) -> Judge:
    """Make the user's own judge and check its name and settings."""
    module, _, attribute = config.path.partition(":")
    try:
        judge: Any = getattr(importlib.import_module(module), attribute)(**config.args)
        name: Any = judge.name
        settings: Any = judge.settings
        json.dumps(settings)
    except (Exception, SystemExit) as error:  # a user's own code: whatever it raises is told with the judge's name
        raise JudgeError(f"judge {config.path!r} could not be made: {_in_one_line(error)}") from error
    if not isinstance(name, str) or not name.strip():
        raise JudgeError(f"judge {config.path!r} could not be made: its name is {name!r}, not a text")
    if not isinstance(settings, dict):
        raise JudgeError(f"judge {config.path!r} could not be made: its settings are no dict")
    return judge


class BudgetedJudge(WrappedJudge):
    """A judge whose spent budget is an error, so that long work stops and goes on later, instead of lacking grades."""

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        """Give the inner judge's grades.

        Raises:
            JudgeError: The judge's limits forbade one of them.
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
    """A judge of the user's own, whose grades are checked before anything is built on them.

    Each grade gets this judge's own name and protocol, whatever it says, so that none passes as another judge's.
    """

    def cannot_grade(self, scenario: Task) -> str | None:
        """Give the inner judge's reason.

        Raises:
            JudgeError: The judge raised an error.
        """
        return self._guarded(lambda: reason_against(self.judge, scenario))

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        """Give the inner judge's grades.

        Raises:
            JudgeError: The judge raised an error, or gave another number of grades than answers, something that is no
                grade, or a score outside [0, 1].
        """
        graded = dict(self.grade_each(answers))
        return [graded[place] for place in range(len(answers))]

    def grade_each(self, answers: Sequence[Rollout]) -> Iterator[tuple[int, Grade]]:
        """Yield places with their grades, so that the grades before a fault can be kept.

        Raises:
            JudgeError: As for `grade`.
        """
        each: Any = getattr(self.judge, "grade_each", None)
        if each is not None:
            yield from self._checked_each(each, answers)
            return
        for start in range(0, len(answers), _CUSTOM_BATCH):
            batch = answers[start : start + _CUSTOM_BATCH]
            grades: Any = self._guarded(lambda batch=batch: self.judge.grade(batch))
            if not isinstance(grades, list) or len(cast("list[Any]", grades)) != len(batch):
                count = len(cast("list[Any]", grades)) if isinstance(grades, list) else type(grades).__name__
                raise JudgeError(f"judge {self.name!r} gave {count} grades for {len(batch)} answers")
            for place, grade in enumerate(cast("list[Any]", grades)):
                yield start + place, self._checked(batch[place], grade)

    def _checked_each(self, grade_each: Any, answers: Sequence[Rollout]) -> Iterator[tuple[int, Grade]]:
        left = set(range(len(answers)))
        each: Any = self._guarded(lambda: iter(grade_each(answers)))
        while (found := self._guarded(lambda: next(each, None))) is not None:
            place = found[0] if isinstance(found, tuple) and len(cast("tuple[Any]", found)) == 2 else None
            if not isinstance(place, int) or place not in left:
                raise JudgeError(f"judge {self.name!r}: grade_each gave no place with its grade, or one place twice")
            left.remove(place)
            yield place, self._checked(answers[place], found[1])
        if left:
            raise JudgeError(f"judge {self.name!r} gave {len(answers) - len(left)} grades for {len(answers)} answers")

    def _checked(self, answer: Rollout, grade: Any) -> Grade:
        where = f"judge {self.name!r} on scenario {printable(answer.task.id)!r}"
        if not isinstance(grade, Grade):
            raise JudgeError(f"{where}: gave a {type(grade).__name__}, not a Grade")
        score: Any = grade.score
        if score is not None and not _in_unit_interval(score):
            raise JudgeError(f"{where}: score {score!r} is not in [0, 1]; leave it None if it cannot grade")
        verdicts: Any = grade.verdicts
        if not isinstance(verdicts, tuple) or not all(map(_is_verdict, cast("tuple[Any]", verdicts))):
            raise JudgeError(f"{where}: its verdicts are no tuple of Verdict with scores in [0, 1]")
        self._guarded(lambda: json.dumps(grade.detail))
        return replace(
            grade,
            score=None if score is None else float(score),
            verdicts=tuple(replace(v, score=float(v.score)) for v in grade.verdicts),
            judge=self.name,
            protocol=protocol_hash(self.name, self.settings, answer.task),
        )

    def _guarded(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except SteadfastError:
            raise
        except Exception as error:  # a user's own code
            raise JudgeError(f"judge {self.name!r} failed: {_in_one_line(error)}") from error


def _in_unit_interval(score: Any) -> bool:
    return isinstance(score, Real) and 0.0 <= float(score) <= 1.0


def _is_verdict(verdict: Any) -> bool:
    return isinstance(verdict, Verdict) and _in_unit_interval(verdict.score)


def _in_one_line(error: BaseException) -> str:
    """Tell an error of a user's code in one line."""
    return printable(redacted(f"{type(error).__name__}: {error}"))
