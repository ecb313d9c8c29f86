"""The fitted head of the `embedded` judge reads some layers of the sentence encoder."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

STANCE_LAYERS = (2, 3, 4, 5, 6)
"""The stance head reads these encoder layers: what tells a claim from its negation is clearest below the top."""

PROSE_LAYER = 3
"""The prose probe reads this one of `STANCE_LAYERS`: the order of words is plainest in the lower layers and fades
toward the top."""


@dataclass(frozen=True)
class Head:
    """The fitted part of the `embedded` judge (`steadfast.graders.embedded.fit`).

    Attributes:
        projection: The matrix of the stance head, [dimensions, layers * 384].
        prose: The weights of the prose probe over `PROSE_LAYER`, with its bias last, [385].
    """

    projection: Tensor
    prose: Tensor

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a head from its file."""
        return cls.of(load_file(path))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Make a head from the tensors of its file."""
        return cls(tensors["projection"].float(), tensors["prose"].float())

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors that the head's file holds; the projection is in half precision."""
        return {"projection": self.projection.half(), "prose": self.prose}

    @property
    def checksum(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 hash of the head's tensors."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors.items()):
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    def stance(self, layers: Tensor) -> Tensor:
        """Compute unit embeddings of stance, [texts, dimensions], from embeddings [texts, layers, 384]."""
        return functional.normalize(layers.flatten(1) @ self.projection.T, dim=-1)

    def prose_logit(self, layers: Tensor) -> Tensor:
        """Compute the prose probe's logits, [texts]: above zero for sentences, below for lists and shuffled words."""
        return layers[:, STANCE_LAYERS.index(PROSE_LAYER)] @ self.prose[:-1] + self.prose[-1]
