"""Build attention masks as a model's own layers want them: full, sliding or chunked, by the distance of positions.

transformers builds these masks from the places of tokens in a row. In a packed row, and in a cache whose prompts are
padded, a token's place is not its position, so the masks are built here and handed to the model ready-made: one
tensor where all layers look alike, a dict keyed by layer type where they do not.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
_SIZE_OF = {SLIDING: "sliding_window", CHUNKED: "attention_chunk_size"}


def text_config(lm: PreTrainedModel) -> Any:
    """Return the config of the language model, which a multimodal model keeps inside its own."""
    return lm.config.get_text_config()


def mask_kinds(lm: PreTrainedModel) -> list[str]:
    """Return the kinds of attention that the model's layers declare, as transformers reads them from a config."""
    config = text_config(lm)
    if layer_types := getattr(config, "layer_types", None):
        return sorted(set(layer_types))
    return next(([kind] for kind, name in _SIZE_OF.items() if getattr(config, name, None)), [FULL])


def window_of(lm: PreTrainedModel) -> int | None:
    """Return the positions that the narrowest window or chunk of the layers spans; None if the config names none."""
    config = text_config(lm)
    sizes = [getattr(config, name, None) for kind, name in _SIZE_OF.items() if kind in mask_kinds(lm)]
    return min((size for size in sizes if isinstance(size, int)), default=None)


def attention_masks(
    lm: PreTrainedModel, visible: Tensor, query_positions: Tensor, key_positions: Tensor
) -> Tensor | dict[str, Tensor]:
    """Build the additive masks for a forward pass.

    Args:
        lm: The model that reads them.
        visible: A tensor [batch, queries, keys] that is True where full attention may look.
        query_positions: A tensor [batch, queries] of positions within their own sequences.
        key_positions: A tensor [batch, keys] of the same for the keys.

    Returns:
        A mask [batch, 1, queries, keys] in the model's dtype, or a mask for each of its layer types.

    Raises:
        NotImplementedError: A layer type is no attention over positions, but a recurrent one for example.
    """
    config, zero = text_config(lm), torch.zeros((), dtype=lm.dtype, device=visible.device)
    masks: dict[str, Tensor] = {}
    for kind in mask_kinds(lm):
        seen = visible
        if kind in _SIZE_OF:
            size = int(getattr(config, _SIZE_OF[kind]))
            query, key = query_positions[:, :, None], key_positions[:, None, :]
            near = query - key < size if kind == SLIDING else query // size == key // size
            seen = visible & near
        elif kind != FULL:
            raise NotImplementedError(f"layers of type {kind!r} take no mask over positions")
        masks[kind] = torch.where(seen, zero, torch.finfo(lm.dtype).min)[:, None]
    return masks if len(masks) > 1 else next(iter(masks.values()))


@contextmanager
def narrowed_windows(lm: PreTrainedModel, size: int) -> Generator[None]:
    """Within this context the model's windows and chunks are at most `size` positions wide.

    transformers reads them from the config at each forward pass, so a few dozen tokens then cross a window that has
    thousands of positions otherwise.
    """
    config = text_config(lm)
    wide = {name: value for name in _SIZE_OF.values() if (value := getattr(config, name, None)) and value > size}
    try:
        for name in wide:
            setattr(config, name, size)
        yield
    finally:
        for name, value in wide.items():
            setattr(config, name, value)
