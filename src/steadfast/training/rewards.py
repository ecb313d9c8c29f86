"""Rewards of the three pools: a judge on a rubric, or a program on a verifiable answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steadfast.graders.grade import Answer, Judge
from steadfast.tasks.programs.item import TaskItem
from steadfast.tasks.scenario import Scenario
from steadfast.training.prompts import Attempt, Outcome


@dataclass(frozen=True)
class RubricReward:
    """A judge's score on each scenario's rubric; an answer it cannot grade has no reward.

    Attributes:
        judge: the training judge.
        scenarios: by prompt id.
    """

    judge: Judge
    scenarios: Mapping[str, Scenario]

    def grade(self, attempts: Sequence[Attempt]) -> list[Outcome]:
        """The judge's scores with their verdicts, all attempts in one batch."""
        answers = [Answer(self.scenarios[a.prompt_id], a.text, a.finished) for a in attempts]
        return [
            Outcome(
                grade.score,
                {
                    "verdicts": {v.criterion: v.score for v in grade.verdicts},
                    **({"gate": grade.gate} if grade.gate else {}),
                    **({"error": grade.error} if grade.error else {}),
                },
            )
            for grade in self.judge.grade(answers)
        ]


@dataclass(frozen=True)
class VerifiableReward:
    """A task's own check; an answer cut off by the limit earns nothing, as in the rubric's gates.

    Attributes:
        items: by prompt id.
    """

    items: Mapping[str, TaskItem]

    def grade(self, attempts: Sequence[Attempt]) -> list[Outcome]:
        """The check's scores."""
        return [
            Outcome(
                self.items[a.prompt_id].score(a.text) if a.finished else 0.0,
                {"task": self.items[a.prompt_id].task},
            )
            for a in attempts
        ]
