"""The arms of the experiment: what fills the slice, and what rewards it (the table of arXiv:2606.24014)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from steadfast.tasks.scenario import Scenario
from steadfast.tasks.traits import domains

PRE_RL, BASELINE = "pre-RL", "baseline"
"""The checkpoints that arms are compared with."""

Scope = Literal["all", "outside health", "on health"]


@dataclass(frozen=True)
class Arm:
    """One arm.

    Attributes:
        name: in recipes, files and reports.
        slice: "standard" tasks, or "trait" conversations.
        reward: on the slice: each scenario's own "rubric", generic "helpfulness", or the task's check ("standard").
        domains: the slice's domains; None for all.
        role: what it is in the experiment, in a few words.
        question: what it answers.
        scope: the evals its question is about.
    """

    name: str
    slice: Literal["standard", "trait"]
    reward: Literal["standard", "rubric", "helpfulness"]
    domains: frozenset[str] | None
    role: str
    question: str
    scope: Scope = "all"

    def scenarios(self, training: Sequence[Scenario]) -> list[Scenario]:
        """The scenarios of its slice."""
        if self.slice == "standard":
            return []
        return [s for s in training if self.domains is None or s.domain in self.domains]


def _all_but(*left_out: str) -> frozenset[str]:
    return frozenset(d.id for d in domains()) - frozenset(left_out)


ARMS = {
    arm.name: arm
    for arm in (
        Arm(
            BASELINE,
            "standard",
            "standard",
            None,
            "compute-matched control: same prompts, same compute",
            "What does reinforcement learning on standard tasks alone change? (The recipe has no treatment arm.)",
        ),
        Arm(
            "trait",
            "trait",
            "rubric",
            None,
            "the intervention",
            "If a model is rewarded for beneficial traits, what else changes, and what does it cost?",
        ),
        Arm(
            "health-only",
            "trait",
            "rubric",
            frozenset({"health"}),
            "does one domain carry over to the others?",
            "If a model is rewarded for beneficial traits in health conversations alone, "
            "do evals outside health improve too, and what does it cost?",
            "outside health",
        ),
        Arm(
            "no-health-no-science",
            "trait",
            "rubric",
            _all_but("health", "science"),
            "do health evals rise without health data?",
            "If a model is rewarded for beneficial traits everywhere but in health and science, "
            "do health evals improve?",
            "on health",
        ),
        Arm(
            "helpfulness",
            "trait",
            "helpfulness",
            None,
            "is it the reward or the data?",
            "Is it the reward or the data: do the trait conversations move the evals "
            "when they are rewarded for generic helpfulness?",
        ),
    )
}
"""By name; reports show the treatments in this order."""
