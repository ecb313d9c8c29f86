"""Decode one more token for every row: from a shared cache, the model's own cache, or from the start.

A decoder begins with one row for each prompt. Completions that have sampled the same tokens are one row; where they
part, `keep` copies it.

`PackedDecoder` serves models that take their positions and masks from outside: prompts of any length are one batch,
and each prompt is computed once. The other two serve the rest, whose rows must be equally long: `CachedDecoder` lets
the model keep its own cache, with whatever state its layers carry along the row, and `RecomputingDecoder` keeps none.

Array suffixes: B stands for rows, T for time, H for key-value heads, D for features, and V for the vocabulary.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

from steadfast.models.forward import captured_input, logits_at
from steadfast.models.masks import attention_masks
from steadfast.models.prefill import Prefill


class Decoder(Protocol):
    """A decoder holds rows that are being decoded.

    Attributes:
        logits_BV: The logits [B, V] that the next token after each row is drawn from.
    """

    logits_BV: Tensor

    def keep(self, places: Tensor) -> None:
        """Go on with the rows at these places, which may repeat; `step` comes before the next look at the logits."""
        ...

    def step(self, tokens_B: Tensor) -> Tensor | None:
        """Append a token to each row; return what enters the captured layer, [B, 1, D], if one is captured."""
        ...


class _PreallocatedLayer(DynamicLayer):
    """Keep the keys and values of one layer in a buffer with room for the completion, so that no token copies them."""

    def __init__(self, keys_BHTD: Tensor, values_BHTD: Tensor, filled: int) -> None:
        super().__init__()
        self.keys, self.values, self.filled = keys_BHTD, values_BHTD, filled
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        assert self.keys is not None
        assert self.values is not None
        end = self.filled + key_states.shape[2]
        self.keys[:, :, self.filled : end] = key_states
        self.values[:, :, self.filled : end] = value_states
        self.filled = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        return self.filled

    def keep_rows(self, rows: Tensor) -> None:
        assert self.keys is not None
        assert self.values is not None
        self.keys, self.values = self.keys[rows], self.values[rows]


class PackedDecoder:
    """Prompts are padded on the right to a common length, and their completions stand behind them."""

    def __init__(
        self,
        lm: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        prefills: Sequence[Prefill],
        limit: int,
        capture_layer: int | None,
    ) -> None:
        self._lm, self._capture_layer = lm, capture_layer
        device = lm.device
        lengths = torch.tensor([len(p) for p in prompts], device=device)
        padded = int(lengths.max())
        room = padded + limit
        self._position_B = lengths
        columns, ends_B1 = torch.arange(room, device=device), self._position_B[:, None]
        self._visible_BT = (columns < ends_B1) | (columns >= padded)
        self._key_position_BT = torch.where(columns < padded, columns, columns - padded + ends_B1)
        self.logits_BV = torch.stack([p.logits_V for p in prefills])
        self._layers = [_layer(prefills, i, room, padded) for i in range(len(prefills[0].layers))]
        self._cache = Cache(layers=list(self._layers))

    def keep(self, places: Tensor) -> None:
        """Go on with the rows at these places."""
        for layer in self._layers:
            layer.keep_rows(places)
        self._position_B, self._visible_BT = self._position_B[places], self._visible_BT[places]
        self._key_position_BT = self._key_position_BT[places]

    def step(self, tokens_B: Tensor) -> Tensor | None:
        """Append a token to each row."""
        end = self._layers[0].filled + 1
        positions_B1 = self._position_B[:, None]
        arguments: dict[str, Any] = {
            "input_ids": tokens_B[:, None],
            "position_ids": positions_B1,
            "attention_mask": attention_masks(
                self._lm, self._visible_BT[:, None, :end], positions_B1, self._key_position_BT[:, :end]
            ),
            "past_key_values": self._cache,
        }
        self._position_B = self._position_B + 1
        if self._capture_layer is None:
            self.logits_BV = self._lm(**arguments).logits[:, -1]
            return None
        with captured_input(self._lm, self._capture_layer) as captured:
            self.logits_BV = self._lm(**arguments).logits[:, -1]
        return captured[0]


def _layer(prefills: Sequence[Prefill], index: int, room: int, padded: int) -> _PreallocatedLayer:
    buffers: list[Tensor] = []
    for of_layer in zip(*(p.layers[index] for p in prefills), strict=True):  # the keys, then the values
        _, heads, _, features = of_layer[0].shape
        buffer = of_layer[0].new_zeros(len(prefills), heads, room, features)
        for row, states, prefill in zip(buffer, of_layer, prefills, strict=True):
            row[:, : len(prefill.places)] = states[0][:, prefill.places]
        buffers.append(buffer)
    return _PreallocatedLayer(buffers[0], buffers[1], padded)


class CachedDecoder:
    """Rows of equal length use the model's own cache."""

    def __init__(self, lm: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> None:
        self._lm = lm
        ids_PT = torch.tensor([list(p) for p in prompts], device=lm.device)
        self._length = ids_PT.shape[1]
        output = lm(input_ids=ids_PT, attention_mask=torch.ones_like(ids_PT), use_cache=True)
        # Mamba and its kin have another name for it.
        self._name = "past_key_values" if getattr(output, "past_key_values", None) is not None else "cache_params"
        self._cache: Any = getattr(output, self._name)
        self.logits_BV = output.logits[:, -1]

    def keep(self, places: Tensor) -> None:
        """Go on with the rows at these places."""
        self._cache.reorder_cache(places)

    def step(self, tokens_B: Tensor) -> None:
        """Append a token to each row."""
        self._length += 1
        seen_BT = torch.ones(tokens_B.shape[0], self._length, dtype=torch.long, device=tokens_B.device)
        cache = {self._name: self._cache}
        output = self._lm(input_ids=tokens_B[:, None], attention_mask=seen_BT, use_cache=True, **cache)
        self._cache, self.logits_BV = getattr(output, self._name), output.logits[:, -1]


class RecomputingDecoder:
    """Rows of equal length are read from their start at every token, which is slow and right for any causal model."""

    def __init__(self, lm: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> None:
        self._lm = lm
        self._ids_BT = torch.tensor([list(p) for p in prompts], device=lm.device)
        self.logits_BV = self._last(self._ids_BT)

    def keep(self, places: Tensor) -> None:
        """Go on with the rows at these places."""
        self._ids_BT = self._ids_BT[places]

    def step(self, tokens_B: Tensor) -> None:
        """Append a token to each row."""
        self._ids_BT = torch.cat([self._ids_BT, tokens_B[:, None]], dim=1)
        self.logits_BV = self._last(self._ids_BT)

    def _last(self, ids_BT: Tensor) -> Tensor:
        last = torch.tensor([ids_BT.shape[1] - 1], device=ids_BT.device)
        return logits_at(self._lm, last, input_ids=ids_BT, use_cache=False)[:, 0]
