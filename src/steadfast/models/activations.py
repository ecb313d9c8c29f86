"""Read the residual stream of a loaded model at its decoder layers, over the tokens of given replies.

Array suffixes: N stands for texts, L for the layers asked for, B for rows of a batch, T for time, and D for features.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from steadfast.models.forward import captured_input, decoder_of, layers_from
from steadfast.models.lower_layers import KeptLowerLayers, LowerLayers
from steadfast.models.scoring import batches_by_length

_BATCH_TOKENS = 2048
"""A batch has at most this many tokens, padding included: no logits are computed, so more fit than where texts are
scored."""

Array = NDArray[np.float32]
Text = tuple[Sequence[int], Sequence[int]]
"""The tokens of a conversation up to the model's turn, and those of a reply."""


@dataclass(frozen=True)
class Activations:
    """These are residual-stream activations, as the layers hand them on, in float32.

    Attributes:
        mean_NLD: The mean over the tokens of each reply.
        last_NLD: The activation at its last token.
        norm_NL: The mean over its tokens of the activation's length.
    """

    mean_NLD: Array
    last_NLD: Array
    norm_NL: Array


@torch.no_grad()
def read_activations(
    lm: PreTrainedModel,
    texts: Sequence[Text],
    layers: Sequence[int],
    *,
    batch_tokens: int = _BATCH_TOKENS,
    lower_layers: LowerLayers | None = None,
    on_done: Callable[[int], None] | None = None,
) -> Activations:
    """Read the activations over each reply.

    Rows are padded on the right: what comes after a token reaches it neither by attention nor by any state that a
    layer carries along the row, so this is right for any causal model. An adapter that is applied, and interventions
    that are at work, are part of what is read.

    Args:
        lm: The model.
        texts: The conversation and the reply of each text.
        layers: The decoder layers, counted from 0.
        batch_tokens: The number of tokens in a batch of rows of like length; 1 takes the rows one by one.
        lower_layers: A store that is shared with other checkpoints, which read the same texts.
        on_done: A function that is told how many texts were read since its last call.

    Raises:
        UnsupportedModelError: The model has no list of decoder layers.
        IndexError: The model has no such layer.
        ValueError: There is no text or no layer, or a conversation or a reply is empty.
    """
    if not texts or not layers or any(not prompt or not reply for prompt, reply in texts):
        raise ValueError(
            "activations are read of a text and a layer at least, each text with a conversation and a reply"
        )
    width = int(lm.config.get_text_config().hidden_size)
    found = _Reduced.empty(len(texts), len(layers), width)
    rows = [torch.tensor([*prompt, *reply]) for prompt, reply in texts]
    was_training = lm.training
    lm.eval()
    try:
        lower = None if lower_layers is None else lower_layers.of(lm)
        for batch in batches_by_length([row.numel() for row in rows], batch_tokens):
            ids_BT = nn.utils.rnn.pad_sequence([rows[i] for i in batch], batch_first=True)
            replies = [(len(texts[i][0]), rows[i].numel()) for i in batch]
            read = _whole(lm, ids_BT, replies, layers) if lower is None else _above(lm, ids_BT, replies, layers, lower)
            found.put(batch, read)
            if on_done is not None:
                on_done(len(batch))
    finally:
        lm.train(was_training)
    return Activations(found.mean.numpy(), found.last.numpy(), found.norm.numpy())


@dataclass(frozen=True)
class _Reduced:
    """Activations over replies: the mean [B, L, D], the last one [B, L, D], and the mean length [B, L]."""

    mean: Tensor
    last: Tensor
    norm: Tensor

    @classmethod
    def empty(cls, texts: int, layers: int, width: int) -> "_Reduced":
        return cls(torch.empty(texts, layers, width), torch.empty(texts, layers, width), torch.empty(texts, layers))

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.mean, self.last, self.norm

    def put(self, places: Sequence[int], read: "_Reduced") -> None:
        for mine, theirs in zip(self.tensors, read.tensors, strict=True):
            mine[list(places)] = theirs


def _reduced(states: Sequence[Tensor], replies: Sequence[tuple[int, int]]) -> _Reduced:
    """Reduce what layers hand on, each [B, T, D], to what is kept of the replies, which stand from and to a place."""
    found = _Reduced.empty(len(replies), len(states), states[0].shape[-1] if states else 0)
    for place, hidden_BTD in enumerate(states):
        for row, (start, end) in enumerate(replies):
            reply_TD = hidden_BTD[row, start:end].float()
            found.mean[row, place] = reply_TD.mean(dim=0)
            found.last[row, place] = reply_TD[-1]
            found.norm[row, place] = reply_TD.norm(dim=-1).mean()
    return found


def _whole(lm: PreTrainedModel, ids_BT: Tensor, replies: Sequence[tuple[int, int]], layers: Sequence[int]) -> _Reduced:
    with _captured(lm, layers) as captured:
        decoder_of(lm)(input_ids=ids_BT.to(lm.device), use_cache=False)
    return _reduced([captured[layer] for layer in layers], replies)


def _above(
    lm: PreTrainedModel,
    ids_BT: Tensor,
    replies: Sequence[tuple[int, int]],
    layers: Sequence[int],
    lower: KeptLowerLayers,
) -> _Reduced:
    """Read a batch of which the layers below all adapters were read before, or read it whole and keep them."""
    first = lower.first_layer
    below, above = ([i for i, layer in enumerate(layers) if (layer < first) == side] for side in (True, False))
    asked = f"activations {[layers[i] for i in below]} {list(replies)}"
    key = lower.key(lm, asked, ids_BT, torch.ones(1, dtype=torch.bool))
    if (kept := lower.store.get(key)) is None:
        with captured_input(lm, first) as entering:
            whole = _whole(lm, ids_BT, replies, layers)
        lower.store.keep(key, (entering[0], *(t[:, below] for t in whole.tensors)))
        return whole
    hidden_BTD, *known = kept
    with _captured(lm, [layers[i] for i in above]) as captured, layers_from(lm, first):
        decoder_of(lm)(inputs_embeds=hidden_BTD.to(lm.device), use_cache=False)
    read = _reduced([captured[layers[i]] for i in above], replies)
    found = _Reduced.empty(len(replies), len(layers), hidden_BTD.shape[-1])
    for mine, low, high in zip(found.tensors, known, read.tensors, strict=True):
        mine[:, below] = low
        if above:
            mine[:, above] = high
    return found


@contextmanager
def _captured(lm: PreTrainedModel, layers: Sequence[int]) -> Generator[dict[int, Tensor]]:
    """Within this context, keep what the layers hand on in the last pass, each [B, T, D]."""
    found: dict[int, Tensor] = {}

    def keep(layer: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            found[layer] = output if isinstance(output, Tensor) else output[0]

        return hook

    stack_of = decoder_of(lm).layers
    for layer in layers:
        if not 0 <= layer < len(stack_of):
            raise IndexError(f"layer {layer} is not one of the model's {len(stack_of)} decoder layers, counted from 0")
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(stack_of[layer].register_forward_hook(keep(layer)))
        yield found
