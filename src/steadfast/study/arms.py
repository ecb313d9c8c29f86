"""The arms of the experiment: what fills the slice, and what rewards it (the table of arXiv:2606.24014)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from steadfast.corpus.definitions import domains
from steadfast.corpus.scenario import Scenario

PRE_RL = "pre-RL"


@dataclass(frozen=True)
class Arm:
    """One arm.

    Attributes:
        name: in recipes, files and reports.
        slice: "standard" tasks, or "trait" conversations.
        reward: on the slice: each scenario's own "rubric", generic "helpfulness", or the task's check ("standard").
        domains: the slice's domains; None for all.
        question: what the arm answers.
    """

    name: str
    slice: Literal["standard", "trait"]
    reward: Literal["standard", "rubric", "helpfulness"]
    domains: frozenset[str] | None
    question: str

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
        Arm("baseline", "standard", "standard", None, "compute-matched control: same prompts, same compute"),
        Arm("trait", "trait", "rubric", None, "the intervention"),
        Arm(
            "health-only",
            "trait",
            "rubric",
            frozenset({"health"}),
            "does one domain carry over to the others?",
        ),
        Arm(
            "no-health-no-science",
            "trait",
            "rubric",
            _all_but("health", "science"),
            "do health evals rise without health data?",
        ),
        Arm("helpfulness", "trait", "helpfulness", None, "is it the reward or the data?"),
    )
}
