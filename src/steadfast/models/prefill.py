"""Read prompts before anything is sampled: what several of them begin with is read once.

Array suffixes: T stands for the tokens of a packed row, H for key-value heads, S for the tokens of one prompt, D for
features, and V for the vocabulary.
"""

from collections.abc import Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from steadfast.models.forward import captured_input, layers_from, logits_at
from steadfast.models.lower_layers import KeptLowerLayers
from steadfast.models.masks import attention_masks
from steadfast.models.packing import PromptPack, pack_prompts, shared_beginning

_ROW_TOKENS = 512
"""A packed row has at most this many tokens, since its attention grows with their square; a longer prompt is alone."""

KeysValues = tuple[Tensor, Tensor]
"""The keys and values of one layer for a row, each [1, H, T, D]."""


@dataclass(frozen=True)
class Prefill:
    """This is a prompt that was read, in a row that it shares with others.

    Attributes:
        layers: The keys and values of the whole row, layer by layer.
        places: The places [S] of the prompt's tokens in the row.
        logits_V: The logits after its last token.
        hidden_SD: What entered the captured layer, if one was captured.
    """

    layers: list[KeysValues]
    places: Tensor
    logits_V: Tensor
    hidden_SD: Tensor | None


def prefill(
    lm: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    capture_layer: int | None = None,
    lower_layers: KeptLowerLayers | None = None,
) -> list[Prefill]:
    """Read each prompt once for all its completions.

    Args:
        lm: The model, which can read packed rows.
        prompts: The token ids of each prompt.
        capture_layer: A decoder layer of which what enters it is returned.
        lower_layers: What checkpoints share below their adapters, and where it is kept for the next one; what enters
            the layer above is then returned, whatever `capture_layer` is.
    """
    found: dict[int, Prefill] = {}
    for row in _rows(prompts):
        packed = pack_prompts([prompts[i] for i in row])
        alone = len(row) == 1 and len(packed.input_ids_T) > _ROW_TOKENS
        for i, read in zip(row, _read(lm, packed, capture_layer, None if alone else lower_layers), strict=True):
            found[i] = read
    return [found[i] for i in range(len(prompts))]


def _rows(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Part the prompts, sorted by their tokens, into rows of which none is too long."""
    rows: list[list[int]] = []
    filled = 0
    for i in sorted(range(len(prompts)), key=lambda i: list(prompts[i])):
        new = len(prompts[i]) - (shared_beginning(prompts[rows[-1][-1]], prompts[i]) if rows else 0)
        if rows and filled + new <= _ROW_TOKENS:
            rows[-1].append(i)
            filled += new
        else:
            rows.append([i])
            filled = len(prompts[i])
    return rows


def _read(
    lm: PreTrainedModel, packed: PromptPack, capture_layer: int | None, lower_layers: KeptLowerLayers | None
) -> Generator[Prefill]:
    """Read a row, and yield each of its prompts."""
    device = lm.device
    ids_1T, positions_1T = packed.input_ids_T[None].to(device), packed.position_ids_T[None].to(device)
    places = [p.to(device) for p in packed.places]
    keep = torch.stack([p[-1] for p in places])
    arguments: dict[str, Any] = {}
    if len(places) > 1 or lower_layers is not None:
        mask = attention_masks(lm, packed.mask_TT[None].to(device), positions_1T, positions_1T)
        arguments = {"position_ids": positions_1T, "attention_mask": mask}
    if lower_layers is None:
        logits_KV, layers, hidden_TD = _whole(lm, keep, ids_1T, capture_layer, arguments)
    else:
        key = lower_layers.key(lm, "prefill", ids_1T, packed.mask_TT[None])
        logits_KV, layers, hidden_TD = _above_kept(lm, keep, ids_1T, lower_layers, key, arguments)
    for own, logits_V in zip(places, logits_KV, strict=True):
        yield Prefill(layers, own, logits_V, None if hidden_TD is None else hidden_TD[own])


def _whole(
    lm: PreTrainedModel, keep: Tensor, ids_1T: Tensor, capture_layer: int | None, arguments: dict[str, Any]
) -> tuple[Tensor, list[KeysValues], Tensor | None]:
    """Read a row with all layers; return the logits at `keep`, the keys and values, and what entered the layer."""
    # Without a config the cache keeps every position, also of layers with a window: decoding masks by position.
    cache = DynamicCache()
    with nullcontext(list[Tensor]()) if capture_layer is None else captured_input(lm, capture_layer) as captured:
        logits_KV = logits_at(lm, keep, input_ids=ids_1T, past_key_values=cache, **arguments)[0]
    return logits_KV, _keys_values(cache), captured[0][0] if captured else None


def _above_kept(
    lm: PreTrainedModel,
    keep: Tensor,
    ids_1T: Tensor,
    lower_layers: KeptLowerLayers,
    key: bytes,
    arguments: dict[str, Any],
) -> tuple[Tensor, list[KeysValues], Tensor]:
    """Return the same, with the layers below the adapters computed by the first checkpoint that reads the row."""
    first, device = lower_layers.first_layer, lm.device
    kept = lower_layers.store.get(key)
    if kept is None:
        logits_KV, layers, hidden_TD = _whole(lm, keep, ids_1T, first, arguments)
        assert hidden_TD is not None
        lower_layers.store.keep(key, (hidden_TD, *(t for pair in layers[:first] for t in pair)))
        return logits_KV, layers, hidden_TD
    hidden_TD, *states = (t.to(device) for t in kept)
    cache = DynamicCache()
    with layers_from(lm, first):
        logits_KV = logits_at(lm, keep, inputs_embeds=hidden_TD[None], past_key_values=cache, **arguments)[0]
    below = list(zip(states[::2], states[1::2], strict=True))
    return logits_KV, below + _keys_values(cache)[first:], hidden_TD


def _keys_values(cache: DynamicCache) -> list[KeysValues]:
    layers: Any = cache.layers
    return [(layer.keys, layer.values) for layer in layers]
