"""Change the residual stream of a loaded model for a while: add a vector to it, or take a direction out of it.

An intervention is a forward hook on a decoder layer. Whatever runs the layers feels it: the plain forward pass, packed
and unpacked scoring, prefill, decoding, and a pass that starts at a layer. What is kept of lower layers between
checkpoints goes by the interventions below as well as by the weights (see `lower_layers`), so that nothing that was
computed without an intervention is taken for its result, nor the reverse.
"""

import hashlib
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from steadfast.models.agreement import path_of
from steadfast.models.forward import decoder_of


class Intervention(Protocol):
    """An intervention changes what one decoder layer hands on, at every place of every row.

    Attributes:
        layer: The layer, counted from 0, whose output is changed.
    """

    @property
    def layer(self) -> int:
        """The layer whose output is changed."""
        ...

    def __call__(self, hidden: Tensor) -> Tensor:
        """Return the changed output, [..., D]."""
        ...

    def fingerprint(self) -> bytes:
        """Return bytes that differ between interventions that do different things."""
        ...


@dataclass(frozen=True)
class Addition:
    """This adds a vector [D] to what a layer hands on."""

    layer: int
    vector_D: Tensor

    def __call__(self, hidden: Tensor) -> Tensor:
        """Return the output with the vector added."""
        return hidden + self.vector_D.to(hidden)

    def fingerprint(self) -> bytes:
        """Return bytes that differ between additions."""
        return _fingerprint("add", self.layer, self.vector_D)


@dataclass(frozen=True)
class Removal:
    """This takes a direction [D] out of what a layer hands on; the length of the direction does not matter."""

    layer: int
    direction_D: Tensor

    def __call__(self, hidden: Tensor) -> Tensor:
        """Return the output less its projection on the direction."""
        unit_D = (self.direction_D / self.direction_D.norm()).to(hidden)
        return hidden - (hidden @ unit_D)[..., None] * unit_D

    def fingerprint(self) -> bytes:
        """Return bytes that differ between removals."""
        return _fingerprint("remove", self.layer, self.direction_D)


def _fingerprint(what: str, layer: int, vector_D: Tensor) -> bytes:
    content = vector_D.detach().double().cpu().contiguous().numpy().tobytes()
    return hashlib.sha256(f"{what} {layer} ".encode() + content).digest()


_ACTIVE: WeakKeyDictionary[PreTrainedModel, tuple[Intervention, ...]] = WeakKeyDictionary()


@contextmanager
def intervened(lm: PreTrainedModel, *interventions: Intervention) -> Generator[None]:
    """Within this context the interventions are at work; afterwards the model computes what it did before, bit for bit.

    Several on one layer act in the order in which they are given. Contexts may be nested.

    Args:
        lm: The model, with or without an adapter applied.
        interventions: What is done to its layers; without any the context does nothing.

    Raises:
        UnsupportedModelError: The model has no list of decoder layers, or no path gives its own log-probabilities.
        IndexError: The model has no such layer.
        ValueError: A vector is of another width than the model, not finite, or zero where a direction is taken out.
    """
    layers = decoder_of(lm).layers
    for one in interventions:
        _check(one, len(layers), int(lm.config.get_text_config().hidden_size))
    path_of(lm)  # a model that was not checked yet is checked now, as it is without the interventions
    before = _ACTIVE.get(lm, ())
    with ExitStack() as stack:
        for one in interventions:
            stack.enter_context(layers[one.layer].register_forward_hook(_hook(one)))
        _ACTIVE[lm] = (*before, *interventions)
        try:
            yield
        finally:
            _ACTIVE[lm] = before


def fingerprint_below(lm: PreTrainedModel, layer: int) -> bytes:
    """Return bytes that tell which interventions change what enters a layer; they are empty if none does."""
    return b"".join(one.fingerprint() for one in _ACTIVE.get(lm, ()) if one.layer < layer)


def _check(one: Intervention, layers: int, width: int) -> None:
    if not 0 <= one.layer < layers:
        raise IndexError(f"layer {one.layer} is not one of the model's {layers} decoder layers, counted from 0")
    vector_D = one.direction_D if isinstance(one, Removal) else getattr(one, "vector_D", None)
    if isinstance(vector_D, Tensor):
        if tuple(vector_D.shape) != (width,):
            raise ValueError(f"a vector of shape {tuple(vector_D.shape)} does not fit a residual stream of {width}")
        if not bool(torch.isfinite(vector_D).all()) or (isinstance(one, Removal) and not bool(vector_D.any())):
            raise ValueError("a vector for the residual stream must be finite, and a direction must not be zero")


def _hook(one: Intervention) -> Callable[[nn.Module, Any, Any], Any]:
    def change(_module: nn.Module, _args: Any, output: Any) -> Any:
        # Some architectures' layers hand on the stream alone, others a tuple that begins with it.
        return one(output) if isinstance(output, Tensor) else (one(output[0]), *output[1:])

    return change
