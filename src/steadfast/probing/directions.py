"""Directions that tell good replies from bad ones, and what else tells them apart as well.

The direction of a trait is the difference of mean activations between good and tempting bad replies to the same
conversations (Marks & Tegmark 2023; Rimsky et al. 2023), found on one half of the pairs and tried on the other. How
well it tells the other half apart is the area under the ROC curve (AUC): the chance that a good reply lies farther
along it than a bad one, of any pair. Both replies of a pair are drawn together in the bootstrap (clustered by pair).

A high AUC alone says little, since good and bad replies differ in more than the trait. So each direction stands beside

    random      directions drawn alike in every direction;
    shuffled    differences of means as well, with good and bad exchanged in a random half of the pairs that make
                them, which keeps how activations spread;
    length      the direction in which activations move with the logarithm of a reply's tokens;
    sentiment   the difference of means between plain positive and plain negative sentences;

and beside what is left of it when length and sentiment are taken out. All of them are turned by the half that makes
directions so that good lies above bad there: otherwise chance would give them an AUC below a half as often as above.

Array suffixes: N stands for pairs, L for layers, D for features, R for random directions, and K for clusters.

Sources:
    Marks & Tegmark 2023, "The Geometry of Truth", arXiv:2310.06824.
    Rimsky et al. 2023, "Steering Llama 2 via Contrastive Activation Addition", arXiv:2312.06681.
    Hesterberg 2015, "What Teachers Should Know About the Bootstrap", arXiv:1411.5279 (expanded percentiles).
"""

# scipy ships no types: what it leaves unknown is not ours to annotate.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Half = Literal["make", "try"]

_DRAWS = 1000


def half_of(unit: str) -> Half:
    """Say whether a pair makes directions or tries them, by the id of its task, or by the first id of twins.

    The halves do not depend on the run, and are others than those of `analysis.matched_start`.
    """
    return "try" if hashlib.sha256(f"probing: {unit}".encode()).digest()[0] % 2 else "make"


@dataclass(frozen=True)
class PairSet:
    """Good and bad replies to the same conversations, as activations.

    Attributes:
        name: The trait, or what else the pairs are of.
        units: The cluster of each pair: the id of its task, or the first id of twins.
        good_NLD: The activations of the good replies.
        bad_NLD: Those of the bad ones.
        good_tokens_N: The number of tokens of each good reply.
        bad_tokens_N: The same of the bad ones.
    """

    name: str
    units: tuple[str, ...]
    good_NLD: NDArray[np.floating[Any]]
    bad_NLD: NDArray[np.floating[Any]]
    good_tokens_N: Array
    bad_tokens_N: Array

    def half(self, which: Half) -> "PairSet":
        """Return one half of the pairs."""
        return self.at([i for i, unit in enumerate(self.units) if half_of(unit) == which])

    def at(self, places: Sequence[int]) -> "PairSet":
        """Return the pairs at some places."""
        kept = np.asarray(places, dtype=np.intp)
        return PairSet(
            self.name,
            tuple(self.units[i] for i in kept),
            self.good_NLD[kept],
            self.bad_NLD[kept],
            self.good_tokens_N[kept],
            self.bad_tokens_N[kept],
        )

    def direction(self, layer: int) -> Array:
        """Return the difference of means [D] at the place of a layer."""
        return np.asarray(self.good_NLD[:, layer].mean(0) - self.bad_NLD[:, layer].mean(0), dtype=np.float64)

    @property
    def clusters(self) -> int:
        """The number of clusters."""
        return len(set(self.units))


def joined(sets: Sequence[PairSet], name: str) -> PairSet:
    """Put the pairs of several sets into one."""
    return PairSet(
        name,
        tuple(u for s in sets for u in s.units),
        np.concatenate([s.good_NLD for s in sets]),
        np.concatenate([s.bad_NLD for s in sets]),
        np.concatenate([s.good_tokens_N for s in sets]),
        np.concatenate([s.bad_tokens_N for s in sets]),
    )


@dataclass(frozen=True)
class Separation:
    """How well a direction tells good replies from bad ones.

    Attributes:
        auc: The area under the ROC curve, over all good and all bad replies.
        low: The lower bound of its 95% interval, clustered by pair; NaN with one cluster.
        high: The upper bound.
        within: The share of pairs whose own good reply lies farther along than their own bad one; ties count half.
        pairs: The number of pairs.
    """

    auc: float
    low: float
    high: float
    within: float
    pairs: int


def separation(good_N: Array, bad_N: Array, units: Sequence[str], *, seed: int = 0) -> Separation:
    """Measure how well scores tell good from bad, with an interval over clusters.

    The interval is the expanded percentile bootstrap (Hesterberg 2015). Where all good scores lie above all bad ones,
    or below, every draw gives the same, so the farther bound is the exact binomial one for as many clusters.

    Args:
        good_N: The scores of good replies.
        bad_N: Those of the bad replies to the same conversations.
        units: The cluster of each pair.
        seed: The seed of the draws.

    Raises:
        ValueError: There are no pairs, or they differ in number.
    """
    if not len(units) or not len(good_N) == len(bad_N) == len(units):
        raise ValueError("separation needs a good and a bad score for each of at least one pair")
    wins_NN = (good_N[:, None] > bad_N[None]) + 0.5 * (good_N[:, None] == bad_N[None])
    names, index = np.unique(np.asarray(units), return_inverse=True)
    members_NK = np.eye(len(names))[index]
    wins_KK, sizes_K = members_NK.T @ wins_NN @ members_NK, members_NK.sum(0)
    auc, within = float(wins_NN.mean()), float(np.diag(wins_NN).mean())
    low, high = _interval(wins_KK, sizes_K, auc, seed)
    return Separation(auc, low, high, within, len(units))


def _interval(wins_KK: Array, sizes_K: Array, auc: float, seed: int) -> tuple[float, float]:
    count = len(sizes_K)
    if count < 2:
        return float("nan"), float("nan")
    if auc in (0.0, 1.0):
        exact: Any = stats.binomtest(round(auc) * count, count).proportion_ci()
        return float(exact.low), float(exact.high)

    def areas(drawn: NDArray[np.intp], axis: int = -1) -> Array:
        weights = (drawn[..., None] == np.arange(count)).sum(axis=-2)
        return np.einsum("...i,ij,...j->...", weights, wins_KK, weights) / (weights @ sizes_K) ** 2

    tail = float(stats.norm.cdf(-np.sqrt(count / (count - 1)) * stats.t.ppf(0.975, count - 1)))
    found: Any = stats.bootstrap(
        (np.arange(count),),
        areas,
        n_resamples=_DRAWS,
        batch=100,
        vectorized=True,
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def areas_of(good_NR: Array, bad_NR: Array) -> Array:
    """Return the AUC [R] of several directions at once, by ranks."""
    count = len(good_NR)
    ranks = stats.rankdata(np.concatenate([good_NR, bad_NR]), axis=0)
    return (ranks[:count].sum(0) - count * (count + 1) / 2) / (count * len(bad_NR))


@dataclass(frozen=True)
class Null:
    """What directions that know nothing reach on the half that tries them.

    Attributes:
        mean: Their mean AUC.
        low: The AUC below which 2.5 in a hundred lie.
        high: The AUC above which 2.5 in a hundred lie.
        p: The share of them, and of the direction itself, that reach the direction's AUC or more.
        count: Their number.
    """

    mean: float
    low: float
    high: float
    p: float
    count: int


def null_of(directions_RD: Array, make: PairSet, tried: PairSet, layer: int, auc: float) -> Null:
    """Hold a direction's AUC against those of directions that know nothing.

    Args:
        directions_RD: Directions, each turned here so that good lies above bad on the half that makes directions.
        make: The pairs that make directions.
        tried: The pairs that try them.
        layer: The place of the layer.
        auc: What the direction itself reaches.
    """
    turned_RD = directions_RD * _signs(directions_RD, make, layer)[:, None]
    areas_R = areas_of(tried.good_NLD[:, layer] @ turned_RD.T, tried.bad_NLD[:, layer] @ turned_RD.T)
    low, high = np.quantile(areas_R, (0.025, 0.975))
    p = (1 + int((areas_R >= auc - 1e-12).sum())) / (1 + len(areas_R))
    return Null(float(areas_R.mean()), float(low), float(high), p, len(areas_R))


def _signs(directions_RD: Array, make: PairSet, layer: int) -> Array:
    return np.where(directions_RD @ make.direction(layer) >= 0, 1.0, -1.0)


def random_directions(count: int, width: int, generator: np.random.Generator) -> Array:
    """Draw unit directions [count, width], each way alike."""
    drawn = generator.standard_normal((count, width))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def shuffled_directions(make: PairSet, layer: int, count: int, generator: np.random.Generator) -> Array:
    """Make unit directions [count, D] as a trait's is made, with good and bad exchanged in a random half of clusters.

    Just half of them: with a coin for each, the heads and tails left over would carry a part of the very difference
    that the direction is held against. Of an odd number of clusters, a random one is left out.
    """
    names, index = np.unique(np.asarray(make.units), return_inverse=True)
    half = len(names) // 2
    signs_K = np.repeat((1.0, -1.0, 0.0), (half, half, len(names) - 2 * half))
    signs_RN = generator.permuted(np.tile(signs_K, (count, 1)), axis=1)[:, index]
    made = signs_RN @ np.asarray(make.good_NLD[:, layer] - make.bad_NLD[:, layer], dtype=np.float64) / len(index)
    lengths = np.linalg.norm(made, axis=1, keepdims=True)
    return made / np.where(lengths > 0, lengths, 1.0)


def length_direction(make: PairSet, layer: int) -> Array:
    """Return the direction [D] in which activations move with the logarithm of a reply's tokens (least squares).

    It is zero where all replies have the same length.
    """
    tokens = np.log(np.concatenate([make.good_tokens_N, make.bad_tokens_N]))
    centred = tokens - tokens.mean()
    states = np.concatenate([make.good_NLD[:, layer], make.bad_NLD[:, layer]]).astype(np.float64)
    spread = float(centred @ centred)
    return centred @ (states - states.mean(0)) / spread if spread > 1e-9 else np.zeros(states.shape[1])


def without(direction_D: Array, others: Sequence[Array]) -> Array:
    """Return what is left of a direction when the span of others is taken out."""
    basis = [o for o in others if np.linalg.norm(o) > 0]
    if not basis:
        return direction_D
    q, _ = np.linalg.qr(np.stack([o / np.linalg.norm(o) for o in basis], axis=1))
    return direction_D - q @ (q.T @ direction_D)


def turned(direction_D: Array, make: PairSet, layer: int) -> Array:
    """Return a direction turned so that good lies above bad on the half that makes directions."""
    return direction_D * _signs(direction_D[None], make, layer)[0]


def tried_on(direction_D: Array, tried: PairSet, layer: int, *, seed: int = 0) -> Separation:
    """Measure how well a direction tells good from bad on some pairs."""
    good, bad = (np.asarray(s[:, layer], dtype=np.float64) @ direction_D for s in (tried.good_NLD, tried.bad_NLD))
    return separation(good, bad, tried.units, seed=seed)


def left_out_auc(make: PairSet, layer: int) -> float:
    """Return the AUC on the half that makes directions, each cluster scored by the direction of all the others.

    It chooses a layer without a look at the half that tries. With one cluster it is NaN.
    """
    good, bad = (np.asarray(s[:, layer], dtype=np.float64) for s in (make.good_NLD, make.bad_NLD))
    names, index = np.unique(np.asarray(make.units), return_inverse=True)
    if len(names) < 2:
        return float("nan")
    difference = good - bad
    members_KN = np.eye(len(names))[index].T
    others = (difference.sum(0) - members_KN @ difference) / (len(index) - members_KN.sum(1))[:, None]
    others /= np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-30)
    own = others[index]
    scores = [(s * own).sum(1)[:, None] for s in (good, bad)]
    return float(areas_of(*scores)[0])


def cosine(one: Array, other: Array) -> float:
    """Return the cosine between two vectors; NaN if one of them is zero."""
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths > 0 else float("nan")


def cosines(directions_TD: Array) -> Array:
    """Return the cosines [T, T] between directions; NaN where one is zero."""
    lengths = np.linalg.norm(directions_TD, axis=1, keepdims=True)
    unit = np.divide(directions_TD, lengths, out=np.full_like(directions_TD, np.nan), where=lengths > 0)
    return unit @ unit.T
