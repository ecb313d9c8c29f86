"""Log-probabilities of packed completions, from the token ids or from cached hidden states.

When only the top layers carry an adapter, the layers below are the same for every policy of a run: their output,
once computed by the rollout, serves the training pass, the reference pass and every further epoch. `hidden_TD`
with `first_layer` starts the model at that layer.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from steadfast.models.packing import Pack, pack


def decoder_of(lm: PreTrainedModel) -> Any:
    """The stack of decoder layers inside a causal LM.

    Raises:
        TypeError: the model keeps its layers elsewhere than in `get_decoder().layers`.
    """
    decoder = lm.get_decoder()
    if not isinstance(getattr(decoder, "layers", None), nn.ModuleList):
        raise TypeError(f"{type(lm).__name__} has no list of decoder layers; adapt all layers and report this model")
    return decoder


@contextmanager
def layers_from(lm: PreTrainedModel, first_layer: int) -> Generator[None]:
    """Within this context the model consists of its layers from `first_layer` on."""
    decoder = decoder_of(lm)
    layers = decoder.layers
    decoder.layers = nn.ModuleList(list(layers)[first_layer:])
    try:
        yield
    finally:
        decoder.layers = layers


@contextmanager
def captured_input(lm: PreTrainedModel, layer: int) -> Generator[list[Tensor]]:
    """Collects what enters decoder layer `layer`, a tensor [batch, time, hidden] a forward pass."""
    captured: list[Tensor] = []

    def keep(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        captured.append(cast(Tensor, hidden).detach())

    handle = decoder_of(lm).layers[layer].register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield captured
    finally:
        handle.remove()


def additive_mask(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A boolean mask (True: may attend) as the additive 4D mask [1, 1, T, T] every attention backend takes."""
    zero = torch.zeros((), dtype=dtype, device=mask.device)
    return torch.where(mask, zero, torch.finfo(dtype).min)[None, None]


def completion_logits(
    lm: PreTrainedModel, packed: Pack, *, hidden_TD: Tensor | None = None, first_layer: int = 0
) -> Tensor:
    """Logits [N, V] that predict the group's completion tokens; only these positions reach the vocabulary."""
    device = lm.device
    shared: dict[str, Any] = {
        "attention_mask": additive_mask(packed.mask_TT.to(device), lm.dtype),
        "position_ids": packed.position_ids_T.to(device)[None],
        "logits_to_keep": packed.predictor_N.to(device),
        "use_cache": False,
    }
    if hidden_TD is None:
        return lm(input_ids=packed.input_ids_T.to(device)[None], **shared).logits[0]
    with layers_from(lm, first_layer):
        return lm(inputs_embeds=hidden_TD[None].to(lm.dtype), **shared).logits[0]


@torch.no_grad()
def can_start_at(lm: PreTrainedModel, first_layer: int) -> bool:
    """Whether this architecture gives the same logits when started from a layer's input.

    Models that rescale their embeddings inside the decoder, or mix layer types by index, do not: they take the
    whole pass instead.
    """
    lm.eval()
    packed = pack([1, 2, 3, 4], [[5, 6, 7], [8, 9]])
    with captured_input(lm, first_layer) as captured:
        whole = completion_logits(lm, packed)
    try:
        short = completion_logits(lm, packed, hidden_TD=captured[0][0], first_layer=first_layer)
    except Exception:  # an architecture that cannot be cut raises whatever it likes
        return False
    return torch.allclose(whole, short, atol=1e-3)


def token_logprobs(logits_NV: Tensor, target_N: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probability [N] of each target under its logits at a temperature, in float32."""
    scaled = logits_NV.float()
    if temperature != 1.0:
        scaled = scaled / temperature
    # cross_entropy is log-softmax and its gradient in one kernel each: a vocabulary-sized pass less than logsumexp.
    return -functional.cross_entropy(scaled, target_N.to(scaled.device), reduction="none")
