"""The order of a run's prompts is made of a slice of trait data in a body of standard data.

Arms differ in their slice alone. Which slots belong to the slice depends on the share and the sizes only, and the
shared slots draw from a stream of their own, so any two arms see byte-identical prompts in the same order there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from random import Random

from steadfast.tasks.task import Task


@dataclass(frozen=True)
class ScheduledTask:
    """A scheduled task is a task with its place in a run's mixture.

    Attributes:
        task: What is asked, and what rewards the rollout.
        pool: The part of the mixture that the task belongs to; rewards are logged by pool.
    """

    task: Task
    pool: str


def slice_slots(slots: int, share: float) -> list[bool]:
    """Choose the slots of the slice: exactly `round(share * slots)` of them, spread evenly.

    Raises:
        ValueError: The share lies outside [0, 1].
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"the slice's share must lie between 0 and 1, not {share}")
    wanted = round(share * slots)
    return [(k + 1) * wanted // slots > k * wanted // slots for k in range(slots)]


def _epochs(prompts: Sequence[ScheduledTask], seed: str) -> Iterator[ScheduledTask]:
    """Yield the prompts over and over, each pass in a new order."""
    for epoch in count():
        order = list(prompts)
        Random(f"{seed}/{epoch}").shuffle(order)
        yield from order


def build_mixture(
    slice_prompts: Sequence[ScheduledTask],
    shared_prompts: Sequence[ScheduledTask],
    *,
    steps: int,
    prompts_per_step: int,
    share: float,
    seed: int,
) -> list[list[ScheduledTask]]:
    """Make the prompts of each step of a run.

    Args:
        slice_prompts: The arm's own tasks: trait scenarios, or standard tasks for the baseline.
        shared_prompts: The standard body, which is the same for every arm.
        steps: The number of steps of the run.
        prompts_per_step: The number of prompts in a step.
        share: The share of the run's prompts that come from the slice.
        seed: The seed of the order.

    Raises:
        ValueError: A part has slots to fill and no prompts.
    """
    slots = slice_slots(steps * prompts_per_step, share)
    if any(slots) and not slice_prompts:
        raise ValueError("the slice has a share above zero and no prompts: check the arm's traits and domains")
    if not all(slots) and not shared_prompts:
        raise ValueError("the standard part of the mixture has no prompts")
    own = _epochs(slice_prompts, f"{seed}/slice")
    shared = _epochs(shared_prompts, f"{seed}/shared")
    sequence = iter([next(own if in_slice else shared) for in_slice in slots])
    return [list(islice(sequence, prompts_per_step)) for _ in range(steps)]
