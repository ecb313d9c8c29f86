"""What an adapter changed: how much, in how many directions, and whether two of them changed the same thing.

A change is a product of thin matrices, out [O, r] @ into [r, I], and is never written out. The change of an arm since
its warm start is the difference of two such products, which is a product again, of twice the rank.

Sources:
    Roy & Vetterli 2007, "The effective rank: a measure of effective dimensionality".
    Bjorck & Golub 1973, "Numerical methods for computing angles between linear subspaces".
"""

# scipy ships no types: what it leaves unknown is not ours to annotate.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import subspace_angles

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LowRank:
    """The change of one weight matrix, as a product of thin ones.

    Attributes:
        out_OR: What it writes to, with the scale in it.
        into_RI: What it reads from.
    """

    out_OR: Array
    into_RI: Array

    def minus(self, other: "LowRank") -> "LowRank":
        """Return the difference of two changes."""
        return LowRank(np.hstack([self.out_OR, -other.out_OR]), np.vstack([self.into_RI, other.into_RI]))

    @cached_property
    def _decomposed(self) -> tuple[Array, Array, Array]:
        q_out, r_out = np.linalg.qr(self.out_OR)
        q_into, r_into = np.linalg.qr(self.into_RI.T)
        u, sizes, v = np.linalg.svd(r_out @ r_into.T)
        return q_out @ u, sizes, q_into @ v.T

    @property
    def singular_values(self) -> Array:
        """The singular values [r], the largest first."""
        return self._decomposed[1]

    @property
    def norm(self) -> float:
        """The Frobenius norm."""
        return float(np.linalg.norm(self.singular_values))

    @property
    def effective_rank(self) -> float:
        """The exponential of the entropy of the singular values' shares (Roy & Vetterli 2007); 0 for no change."""
        sizes = self.singular_values
        total = float(sizes.sum())
        if total <= 0:
            return 0.0
        shares = sizes[sizes > 1e-12 * total] / total
        return float(np.exp(-(shares * np.log(shares)).sum()))

    def written(self, count: int) -> Array:
        """Return an orthonormal basis [O, count] of the directions that it writes to most."""
        return self._decomposed[0][:, :count]

    def read(self, count: int) -> Array:
        """Return an orthonormal basis [I, count] of the directions that it reads from most."""
        return self._decomposed[2][:, :count]


@dataclass(frozen=True)
class Overlap:
    """How much of what two changes do is in the same place.

    Attributes:
        written: The mean squared cosine of the principal angles between what both write to most, from 0 to 1.
        read: The same of what they read from.
        written_by_chance: What two random subspaces of the same sizes have on average.
        read_by_chance: The same for what is read.
        cosine: The cosine between both changes as vectors of all their numbers.
    """

    written: float
    read: float
    written_by_chance: float
    read_by_chance: float
    cosine: float


def overlap(one: LowRank, other: LowRank, count: int = 4) -> Overlap | None:
    """Compare two changes of one matrix by their `count` strongest directions; None if one of them changed nothing."""
    if one.norm <= 0 or other.norm <= 0:
        return None
    count = min(count, len(one.singular_values), len(other.singular_values))
    inner = float(np.sum((one.out_OR.T @ other.out_OR) * (one.into_RI @ other.into_RI.T)))
    return Overlap(
        _shared(one.written(count), other.written(count)),
        _shared(one.read(count), other.read(count)),
        count / one.out_OR.shape[0],
        count / one.into_RI.shape[1],
        inner / (one.norm * other.norm),
    )


def _shared(one: Array, other: Array) -> float:
    angles: Any = subspace_angles(one, other)
    return float((np.cos(angles) ** 2).mean())
