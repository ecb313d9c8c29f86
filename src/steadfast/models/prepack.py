"""Frozen linear layers on a CPU keep their weights laid out for the matrix kernel.

A linear layer's weight is repacked by the BLAS library at every call. For the frozen layers of a model with an
adapter that is waste: oneDNN can keep the packed form. On the two-core machine this project is developed on, that
makes a decode step's products 1.8 to 2.3 times as fast and a training pass's 1.4 times
(`benchmarks/linear_prepack.py`). The operators are those that torch.compile's CPU backend uses; where this build of
torch has none, models run as they are.
"""

from typing import Any

import torch
from torch import Tensor, nn

_PACK_FOR_ROWS = 32
"""The packed layout is chosen for this many rows, those of a decode batch. It does as well for hundreds of rows."""


def _ops() -> Any | None:
    ops = torch.ops.mkldnn
    if not torch.backends.mkldnn.is_available() or not hasattr(ops, "_linear_pointwise"):
        return None
    return ops


class _Packed:
    """This keeps a weight [out, in] in packed form, and its transpose once a gradient asks for it."""

    def __init__(self, linear: nn.Linear, ops: Any) -> None:
        # The tensors are kept, not the module: a reference to it would keep whole models alive until a collection.
        self.ops, self.plain, self.bias = ops, linear.weight.detach(), linear.bias
        self.weight = ops._reorder_linear_weight(self.plain, _PACK_FOR_ROWS)
        self.transposed: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        return self.ops._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    def backward(self, gradient: Tensor) -> Tensor:
        if self.transposed is None:
            self.transposed = self.ops._reorder_linear_weight(self.plain.t().contiguous(), _PACK_FOR_ROWS)
        return self.ops._linear_pointwise(gradient.contiguous(), self.transposed, None, "none", [], "")


class _FrozenLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: _Packed) -> Tensor:
        ctx.packed = packed
        return packed.forward(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.packed.backward(gradients[0]), None


def prepack_frozen_linears(model: nn.Module) -> int:
    """Replace the forward pass of every frozen float32 linear layer on the CPU, and return how many there were.

    The weights must not change afterwards: call it when the model is loaded and its adapter is in place.
    Calling it again packs only layers that are new.
    """
    ops = _ops()
    count = 0
    for module in model.modules():
        if ops is None or type(module) is not nn.Linear or "forward" in module.__dict__:
            continue
        weight = module.weight
        if weight.requires_grad or weight.device.type != "cpu" or weight.dtype != torch.float32:
            continue
        packed = _Packed(module, ops)

        def forward(x: Tensor, packed: _Packed = packed) -> Tensor:
            if torch.is_grad_enabled() and x.requires_grad:
                return _FrozenLinear.apply(x, packed)  # type: ignore[no-any-return, no-untyped-call]
            return packed.forward(x)

        module.forward = forward  # type: ignore[method-assign]
        count += 1
    return count
