"""Sentences as the `embedded` judge reads them: the sentence encoder, with or without the judge's fitted head."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from steadfast.graders.embedded import sentences
from steadfast.graders.embedded.head import PROSE_LAYER, STANCE_LAYERS, Head
from steadfast.models.sentence_encoder import TOP_LAYER, SentenceEncoder, sentence_encoder

STANCE_WEIGHT = 1.0
"""Weight of the stance head's cosine beside the plain embedding's."""


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

    Without a head, the encoder's own. With the stance head, that and the head's projection of the middle layers side
    by side, so that the cosine of two embeddings is the weighted mean of a cosine of topic and a cosine of stance.

    Args:
        head: fitted head; None for plain embeddings.
        encoder: the sentence encoder; None for the one that the process shares.
    """

    def __init__(self, head: Head | None = None, encoder: SentenceEncoder | None = None) -> None:
        self.encoder = encoder or sentence_encoder()
        self.head = head

    def with_head(self, head: Head) -> Self:
        """The same encoder with another head."""
        other = copy(self)
        other.head = head
        return other

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides a reading besides the text: checksums, and with a head the layers and the weight."""
        if self.head is None:
            return {"encoder": self.encoder.checksum}
        return {
            "encoder": self.encoder.checksum,
            "head": self.head.checksum,
            "stance_layers": list(STANCE_LAYERS),
            "stance_weight": STANCE_WEIGHT,
            "prose_layer": PROSE_LAYER,
        }

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings, one row a text."""
        return self.read(texts).vectors

    def read(self, texts: Sequence[str]) -> Reading:
        """Embeddings and prose, in one pass of the encoder.

        Raises:
            ValueError: a text of more tokens than the encoder reads.
        """
        layers = self.layers(texts)
        plain = layers[:, STANCE_LAYERS.index(TOP_LAYER)]
        if self.head is None:
            return Reading(plain, torch.ones(len(texts)))
        scale = (1.0 + STANCE_WEIGHT) ** -0.5
        vectors = torch.cat([plain * scale, self.head.stance(layers) * scale * STANCE_WEIGHT**0.5], dim=1)
        return Reading(vectors, torch.sigmoid(self.head.prose_logit(layers)))

    def pieces(self, texts: Sequence[str]) -> list[str]:
        """Sentences in their order, those of more tokens than are read at a time in pieces."""
        return self.encoder.pieces(texts, sentences.LIMITS.max_tokens)

    def layers(self, texts: Sequence[str]) -> Tensor:
        """Unit mean-token embeddings at each of `STANCE_LAYERS`, [texts, layers, 384]."""
        return self.encoder.layers(texts, STANCE_LAYERS)
