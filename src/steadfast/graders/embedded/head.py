"""The fitted part of the `embedded` judge, and the layers of the sentence encoder that it reads."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

STANCE_LAYERS = (2, 3, 4, 5, 6)
"""Encoder layers the stance head reads: what tells a claim from its negation is clearest below the top."""

PROSE_LAYER = 3
"""Encoder layer the prose probe reads, one of `STANCE_LAYERS`: the order of words is plainest in the lower layers and
fades toward the top."""


@dataclass(frozen=True)
class Head:
    """The fitted part of the `embedded` judge (`steadfast.graders.embedded.fit`).

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
