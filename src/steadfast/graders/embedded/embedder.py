"""The `embedded` judge reads sentences with the sentence encoder, with or without its own fitted head."""

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
"""The weight of the stance head's cosine; the plain embedding's cosine has the weight 1."""


@dataclass(frozen=True)
class Reading:
    """What the judge reads in some texts.

    Attributes:
        vectors: The unit embeddings of the texts, [texts, size].
        prose: How far each text is a sentence and no list of words, in [0, 1], [texts]. Without a head all are 1.
    """

    vectors: Tensor
    prose: Tensor


class Embedder:
    """It gives unit embeddings of sentences.

    Without a head, these are the encoder's own. With the stance head, the encoder's own embedding and the head's
    projection of the middle layers stand side by side, so that the cosine of two embeddings is the weighted mean of a
    cosine of topic and a cosine of stance.

    Args:
        head: The fitted head; None gives plain embeddings.
        encoder: The sentence encoder; None takes the one that the process shares.
    """

    def __init__(self, head: Head | None = None, encoder: SentenceEncoder | None = None) -> None:
        self.encoder = encoder or sentence_encoder()
        self.head = head

    def with_head(self, head: Head) -> Self:
        """Give an embedder with the same encoder and another head."""
        other = copy(self)
        other.head = head
        return other

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides an embedding besides the text: the checksums, and with a head its layers and weight."""
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
        """Compute unit embeddings, [texts, size]."""
        return self.read(texts).vectors

    def read(self, texts: Sequence[str]) -> Reading:
        """Compute embeddings and how far the texts are prose, in one pass of the encoder.

        Raises:
            ValueError: A text has more tokens than the encoder reads.
        """
        layers = self.layers(texts)
        plain = layers[:, STANCE_LAYERS.index(TOP_LAYER)]
        if self.head is None:
            return Reading(plain, torch.ones(len(texts)))
        scale = (1.0 + STANCE_WEIGHT) ** -0.5
        vectors = torch.cat([plain * scale, self.head.stance(layers) * scale * STANCE_WEIGHT**0.5], dim=1)
        return Reading(vectors, torch.sigmoid(self.head.prose_logit(layers)))

    def pieces(self, texts: Sequence[str]) -> list[str]:
        """Give sentences in their order, each that has more tokens than are read at a time cut into pieces."""
        return self.encoder.pieces(texts, sentences.LIMITS.max_tokens)

    def layers(self, texts: Sequence[str]) -> Tensor:
        """Compute the unit mean-token embeddings at each of `STANCE_LAYERS`, [texts, layers, 384]."""
        return self.encoder.layers(texts, STANCE_LAYERS)
