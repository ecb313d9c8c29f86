"""A model computes with the weights that a lesser format holds: bfloat16, or integers of eight or four bits.

What a post-training engineer does before a model is served is to merge its adapter, save it in bfloat16, and often to
quantize it. Here the numbers that are left after that are put in the place of the model's weights, and what is
computed with them is computed in the model's own type. So what is measured is what a format costs in behaviour, and
neither its speed nor its memory; and a model on a CPU stays as fast as it was, prepacked layers included, where
torchao's own integer tensors took 1.3 times as long for a pass and 1.4 times for a step of decoding.

The integers are torchao's. Of its weight-only formats that of eight bits runs anywhere; those of four bits need a GPU
and packages for it, so the four bits are made by its `IntxWeightOnlyConfig`, which holds the same numbers unpacked.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn
from transformers import PreTrainedModel

from steadfast.errors import SteadfastError, UnsupportedModelError
from steadfast.models.adapters import Undo
from steadfast.models.boundary import quiet, reason
from steadfast.models.prepack import prepack_frozen_linears

WeightFormat = Literal["bfloat16", "int8", "int4"]
"""What a model's weights are kept in.

bfloat16: every weight rounded to the nearest number of eight bits of precision.
int8: each row of a linear layer's weight, which belongs to one output, has a scale, and its weights are whole multiples
    of it from -128 to 127 (symmetric).
int4: each group of 32 weights of a row has a scale and a zero point, and its weights are one of sixteen evenly spaced
    numbers (asymmetric).
"""

WEIGHT_FORMATS: tuple[WeightFormat, ...] = get_args(WeightFormat)

BY_NAME: Mapping[str, WeightFormat] = {kind: kind for kind in WEIGHT_FORMATS}

INT4_GROUP = 32
"""So many weights of a row share a scale in the format of four bits."""

_LEAST_SHARE = 0.9
"""A model is quantized if its linear layers hold this share of its weights, embeddings and output layer apart."""


def check_weights(kind: WeightFormat, lm: PreTrainedModel | None = None) -> None:
    """See that weights can be had in a format here, before any work is begun.

    Args:
        kind: The format.
        lm: The model whose weights they will be; None looks at this machine alone.

    Raises:
        SteadfastError: torchao is not installed, or cannot quantize here.
        UnsupportedModelError: The format does not fit the model.
    """
    if kind != "bfloat16":
        try:
            _in_format(torch.linspace(-1, 1, 2 * INT4_GROUP).reshape(2, INT4_GROUP), kind)
        except ImportError as error:
            raise SteadfastError(
                f"{kind} weights are made with torchao, which is missing or does not fit this torch ({reason(error)}): "
                'install it with pip install "steadfast-rl[quantization]", or leave the format out'
            ) from error
        except Exception as error:  # what its kernels raise depends on the platform
            raise SteadfastError(
                f"torchao cannot make {kind} weights on this platform ({reason(error)}); leave the format out"
            ) from error
    if lm is not None:
        _holders(lm, kind)


@contextmanager
def weights_in(lm: PreTrainedModel, kind: WeightFormat) -> Generator[PreTrainedModel]:
    """Within this context a model's weights are those that a format holds; afterwards they are what they were.

    In bfloat16 these are all parameters, as in a model that was saved. Of integers are the linear layers, without
    the embedding and the output layer, which libraries leave as they are (transformers' `TorchAoConfig` does). An
    adapter that stands beside the weights is merged in float32 first, and one that is merged is part of them: enter
    `applied` before, and then this. What the format holds is rounded to the type that a weight had.

    Args:
        lm: The model. It may be prepacked, and is then prepacked with these weights too.
        kind: The format.

    Raises:
        SteadfastError: torchao is not installed, or cannot quantize here.
        UnsupportedModelError: The format does not fit the model, or its adapter cannot be merged; the model is left as
            it was.
    """
    check_weights(kind, lm)
    before = Undo(lm)
    types = {parameter: parameter.dtype for parameter in lm.parameters()}
    merged: list[Any] = []
    try:
        for parent, name, layer in _adapted(lm):
            merged.append(layer)
            setattr(parent, name, _merged(layer, before))
        for module in _holders(lm, kind):
            before.detach_weights([module])
            for parameter in _weights(module) if kind == "bfloat16" else [module.weight]:
                parameter.data = _in_format(parameter.data, kind).to(types[parameter])
        if before.was_packed:
            prepack_frozen_linears(lm)
        yield lm
    finally:
        for layer in merged:
            layer.merged_adapters.clear()
        before.restore()


def _holders(lm: PreTrainedModel, kind: WeightFormat) -> list[Any]:
    """Return the modules whose weights a format holds.

    Raises:
        UnsupportedModelError: There are too few of them, a row does not divide into groups, or an adapter lies on
            weights that two modules share.
    """
    if any(isinstance(m, AuxiliaryTrainingWrapper) for m in lm.modules()):
        raise UnsupportedModelError(
            f"the adapter keeps whole modules beside the weights in {lm.dtype}, so it cannot be merged; load the model "
            "in float32 to change its weights' format"
        )
    own = {m for layer in lm.modules() if isinstance(layer, BaseTunerLayer) for m in layer.modules()}
    own -= {layer.get_base_layer() for layer in lm.modules() if isinstance(layer, BaseTunerLayer)}
    modules = [m for m in lm.modules() if m not in own and _weights(m)]
    if kind == "bfloat16":
        return modules
    apart = {lm.get_input_embeddings(), lm.get_output_embeddings()}
    apart |= {m.get_base_layer() for m in apart if isinstance(m, BaseTunerLayer)}
    inner = [m for m in modules if m not in apart]
    linear = [m for m in inner if isinstance(m, nn.Linear)]
    total, held = (sum(p.numel() for m in some for p in _weights(m)) for some in (inner, linear))
    if held < _LEAST_SHARE * total:
        raise UnsupportedModelError(
            f"linear layers hold {held / max(total, 1):.0%} of the weights of {type(lm).__name__}, embeddings apart, "
            f"so {kind} would leave most of them as they are; leave the format out for this architecture"
        )
    if kind == "int4" and (odd := [m.in_features for m in linear if m.in_features % INT4_GROUP]):
        raise UnsupportedModelError(
            f"a linear layer of {type(lm).__name__} has {odd[0]} inputs, which do not divide into int4's groups of "
            f"{INT4_GROUP}; leave int4 out for this model"
        )
    return linear


def _weights(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters(recurse=False) if p.is_floating_point()]


def _adapted(lm: PreTrainedModel) -> list[tuple[nn.Module, str, Any]]:
    """Return the layers with an adapter beside their weights, each with its parent and its name there.

    Raises:
        UnsupportedModelError: Such a layer shares its weights with another module.
    """
    found = [(p, n, m) for p in lm.modules() for n, m in p.named_children() if isinstance(m, BaseTunerLayer)]
    for _, name, layer in found:
        weight = layer.get_base_layer().weight
        if sum(weight is p for m in lm.modules() for p in m.parameters(recurse=False)) > 1:
            raise UnsupportedModelError(
                f"the adapter changes {name}, which shares its weights with another module, so it cannot be merged; "
                "untie the model's embeddings to change its weights' format"
            )
    return found


def _merged(layer: Any, before: Undo) -> nn.Module:
    """Merge an adapter into the float32 form of the weights that it stands beside, and return their module."""
    base = layer.get_base_layer()
    before.detach_weights([base])
    base.weight.data = base.weight.data.float()
    layer.merge()
    return base


def _in_format(weight: Tensor, kind: WeightFormat) -> Tensor:
    """Return the numbers that a format holds of a weight; integers come as a matrix [outputs, inputs] in its type.

    Raises:
        ImportError: There is no torchao.
    """
    if kind == "bfloat16":
        return weight.to(torch.bfloat16)
    with quiet():
        from torchao.quantization import (
            Int8WeightOnlyConfig,
            IntxWeightOnlyConfig,
            MappingType,
            PerGroup,
            quantize_,
        )
    config: Any = Int8WeightOnlyConfig(set_inductor_config=False)
    if kind == "int4":
        types: Any = torch  # its type stubs lack the types of fewer than eight bits
        config = IntxWeightOnlyConfig(
            weight_dtype=types.int4, granularity=PerGroup(INT4_GROUP), mapping_type=MappingType.ASYMMETRIC
        )
    linear: Any = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    alone = nn.Sequential(linear)
    quantize_(alone, config)
    quantized: Any = alone[0].weight
    return quantized.dequantize()
