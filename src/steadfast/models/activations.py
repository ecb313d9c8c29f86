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

from steadfast.models.forward import decoder_of
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
    mean, last = (np.empty((len(texts), len(layers), width), dtype=np.float32) for _ in range(2))
    norm = np.empty((len(texts), len(layers)), dtype=np.float32)
    rows = [torch.tensor([*prompt, *reply]) for prompt, reply in texts]
    was_training = lm.training
    lm.eval()
    try:
        for batch in batches_by_length([row.numel() for row in rows], batch_tokens):
            ids_BT = nn.utils.rnn.pad_sequence([rows[i] for i in batch], batch_first=True).to(lm.device)
            with _captured(lm, layers) as captured:
                decoder_of(lm)(input_ids=ids_BT, use_cache=False)
            for place, layer in enumerate(layers):
                hidden_BTD = captured[layer]
                for row, i in enumerate(batch):
                    reply_TD = hidden_BTD[row, len(texts[i][0]) : rows[i].numel()].float()
                    mean[i, place] = reply_TD.mean(dim=0).cpu().numpy()
                    last[i, place] = reply_TD[-1].cpu().numpy()
                    norm[i, place] = float(reply_TD.norm(dim=-1).mean())
            if on_done is not None:
                on_done(len(batch))
    finally:
        lm.train(was_training)
    return Activations(mean, last, norm)


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
