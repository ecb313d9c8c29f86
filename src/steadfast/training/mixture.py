"""The order of a run's prompts: a slice of trait data in a body of standard data.

Arms differ in their slice alone. Which slots belong to the slice depends on the share and the sizes only, and the
shared slots draw from a stream of their own, so any two arms see byte-identical prompts in the same order there.
"""

from collections.abc import Iterator, Sequence
from itertools import count, islice
from random import Random

from steadfast.training.prompts import TrainingPrompt


def slice_slots(slots: int, share: float) -> list[bool]:
    """Which slots belong to the slice: spread evenly, and `round(share * slots)` of them exactly.

    Raises:
        ValueError: a share outside [0, 1].
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"the slice's share must lie between 0 and 1, not {share}")
    wanted = round(share * slots)
    return [(k + 1) * wanted // slots > k * wanted // slots for k in range(slots)]


def _epochs(prompts: Sequence[TrainingPrompt], seed: str) -> Iterator[TrainingPrompt]:
    """The prompts over and over, each pass in a new order."""
    for epoch in count():
        order = list(prompts)
        Random(f"{seed}/{epoch}").shuffle(order)
        yield from order


def build_mixture(
    slice_prompts: Sequence[TrainingPrompt],
    shared_prompts: Sequence[TrainingPrompt],
    *,
    steps: int,
    prompts_per_step: int,
    share: float,
    seed: int,
) -> list[list[TrainingPrompt]]:
    """The prompts of each step of a run.

    Args:
        slice_prompts: the arm's own: trait scenarios, or standard tasks for the baseline.
        shared_prompts: the standard body, the same for every arm.
        steps: steps of the run.
        prompts_per_step: prompts a step.
        share: of the slice in the run.
        seed: of the order.

    Raises:
        ValueError: a part with slots to fill and no prompts.
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
