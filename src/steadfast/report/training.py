"""What each arm was trained on: prompts, tokens, and how far it moved from the model that it began as."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from steadfast.report.loading import Run
from steadfast.study.arms import WARM_START

LAST_STEPS = 5
"""The KL at the end of training is the mean over so many steps, since one step's estimate is of few tokens."""


@dataclass(frozen=True)
class TrainedAmount:
    """How much one arm was trained, as a mean over training seeds.

    Attributes:
        arm: The arm, or "warm-start" for what every arm began with.
        method: "rl" or "supervised".
        prompts: The prompts of all steps. In supervised training those without a correct answer are not among them.
        sampled: The tokens of all rollouts; None where it was not logged.
        trained: The tokens that had a gradient, those of demonstrations in supervised training; None where it was not
            logged.
        kl: The KL from pre-RL at the end, in nats a token, by the arm's own answers to its training prompts; None
            where it was not logged.
    """

    arm: str
    method: str
    prompts: int
    sampled: int | None
    trained: int | None
    kl: float | None


def trained_amounts(run: Run) -> list[TrainedAmount]:
    """Return how much each arm was trained, in the recipe's order; arms of which no metrics were kept are left out."""
    found = [_amount(run, arm, run.recipe.arm(arm).method, steps) for arm, steps in run.metrics.items() if steps]
    return [_amount(run, WARM_START, "supervised", run.warm_start), *found] if run.warm_start else found


def _amount(run: Run, arm: str, method: str, steps: Sequence[Mapping[str, Any]]) -> TrainedAmount:
    scheduled = len(steps) * run.recipe.training.prompts_per_step
    return TrainedAmount(
        arm=arm,
        method=method,
        prompts=_sum(steps, "demonstrations") or 0 if method == "supervised" else scheduled,
        sampled=_sum(steps, "tokens"),
        trained=_sum(steps, "trained_tokens"),
        kl=_mean_of_last(steps, "kl"),
    )


def _known(steps: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [float(m[name]) for m in steps if m.get(name) is not None]


def _sum(steps: Sequence[Mapping[str, Any]], name: str) -> int | None:
    known = _known(steps, name)
    return round(sum(known)) if known else None


def _mean_of_last(steps: Sequence[Mapping[str, Any]], name: str) -> float | None:
    known = _known(steps[-LAST_STEPS:], name)
    return fmean(known) if known else None
