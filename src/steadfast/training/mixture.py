"""The order of a run's prompts is made of a slice of trait data in a body of standard data.

Twins stand side by side in the same step, since each one's reward counts as much as its twin's allows (see `step`).

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
    """Yield the prompts over and over, each pass in a new order, in which twins always begin at an even place."""
    units, waiting = _with_twins(prompts), None
    for epoch in count():
        order = list(units)
        Random(f"{seed}/{epoch}").shuffle(order)
        for unit in order:
            if len(unit) == 2:
                yield from unit
            elif waiting is None:
                waiting = unit[0]
            else:
                yield waiting
                yield unit[0]
                waiting = None


def _with_twins(prompts: Sequence[ScheduledTask]) -> list[tuple[ScheduledTask, ...]]:
    """Group the prompts: twins together, every other one alone."""
    by_id = {p.task.id: p for p in prompts if p.task.pair is not None}
    found: list[tuple[ScheduledTask, ...]] = []
    for prompt in prompts:
        twin = by_id.get(prompt.task.pair or "")
        if twin is None:
            found.append((prompt,))
        elif prompt.task.id < twin.task.id:
            found.append((prompt, twin))
    return found


def build_mixture(
    slice_prompts: Sequence[ScheduledTask],
    shared_prompts: Sequence[ScheduledTask],
    *,
    steps: int,
    prompts_per_step: int,
    share: float,
    seed: int | str,
    in_pairs: bool = False,
) -> list[list[ScheduledTask]]:
    """Make the prompts of each step of a run.

    Args:
        slice_prompts: The arm's own tasks: trait scenarios, or standard tasks for the baseline.
        shared_prompts: The standard body, which is the same for every arm.
        steps: The number of steps of the run.
        prompts_per_step: The number of prompts in a step.
        share: The share of the run's prompts that come from the slice.
        seed: The seed of the order.
        in_pairs: Whether slots are given out by twos, so that twins share a step; every arm of a run does the same.

    Raises:
        ValueError: A part has slots to fill and no prompts, or the prompts of a step cannot be had in pairs.
    """
    if in_pairs and prompts_per_step % 2:
        raise ValueError(f"twins share a step, so prompts_per_step must be even, not {prompts_per_step}")
    width = 2 if in_pairs else 1
    slots = [mine for mine in slice_slots(steps * prompts_per_step // width, share) for _ in range(width)]
    if any(slots) and not slice_prompts:
        raise ValueError("the slice has a share above zero and no prompts: check the arm's traits and domains")
    if not all(slots) and not shared_prompts:
        raise ValueError("the standard part of the mixture has no prompts")
    own = _epochs(slice_prompts, f"{seed}/slice")
    shared = _epochs(shared_prompts, f"{seed}/shared")
    sequence = iter([next(own if in_slice else shared) for in_slice in slots])
    return [list(islice(sequence, prompts_per_step)) for _ in range(steps)]
