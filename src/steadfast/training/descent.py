"""One step down the gradient of a loss that is made pass by pass: the same for every way of training."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from steadfast.errors import TrainingError
from steadfast.models.policy import Policy


def descend(
    policy: Policy, optimizer: torch.optim.Optimizer, losses: Iterable[Tensor], max_grad_norm: float
) -> tuple[float, float]:
    """Take one optimizer step on the sum of some losses, and return that sum and the gradient's norm before clipping.

    Args:
        policy: The model with its adapter.
        optimizer: The optimizer of the adapter.
        losses: The loss of each forward pass, as a scalar. The gradient of one is taken before the next one is asked
            for, so that one pass at a time is in memory.
        max_grad_norm: The norm to which the gradient is clipped.

    Raises:
        TrainingError: A loss, the gradient or a weight is not finite. The policy is then as it was, or its weights are
            not finite and must be dropped.
    """
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for loss in losses:
        value = float(loss.detach())
        refuse_not_finite("loss", value)
        with _sums_in_order(loss.device):
            loss.backward()  # type: ignore[no-untyped-call]
        total += value
    norm = float(torch.nn.utils.clip_grad_norm_(policy.trainable(), max_grad_norm))
    refuse_not_finite("gradient norm", norm)
    optimizer.step()
    if not all(bool(torch.isfinite(p).all()) for p in policy.trainable()):
        refuse_not_finite("weight", float("nan"))
    return total, norm


def refuse_not_finite(what: str, value: float) -> None:
    """Stop before what is not finite can be kept.

    Raises:
        TrainingError: The value is infinite or not a number.
    """
    if not isfinite(value):
        raise TrainingError(
            f"a {what} is not finite, so training stops before it is kept; the last saved state is whole. "
            "A lower learning_rate, or float32 weights, is what most often helps"
        )


@contextmanager
def _sums_in_order(device: torch.device) -> Generator[None]:
    """Within this context, a gradient on the CPU is summed in one order, however many threads there are.

    All completions of a group are predicted from one place, the prompt's end, so its gradient is a sum over them.
    Torch's threads add to such a sum as they come, which changes the last bits from one run to the next.
    """
    if device.type != "cpu" or torch.are_deterministic_algorithms_enabled():
        yield
        return
    settings: Any = torch.utils.deterministic
    filled = settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        settings.fill_uninitialized_memory = filled
