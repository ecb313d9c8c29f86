"""The preference grader compares the likelihoods of good and bad references; it needs no answer and no judge."""

from collections.abc import Sequence
from typing import Protocol

from scipy.special import expit


class Likelihood(Protocol):
    """The likelihood of a reply under a model."""

    @property
    def per_token(self) -> float:
        """The mean log-likelihood of a token, in nats."""
        ...


def preference(good: Sequence[Likelihood], bad: Sequence[Likelihood]) -> float:
    """Compute how far a model prefers the good replies, in [0, 1]; 0.5 is indifference.

    For each pair of a good and a bad reply, one is picked with a probability in proportion to its likelihood per token,
    exp(mean log-likelihood). The result is the mean probability, over all pairs, of picking the good one. It is
    continuous, so that small shifts show, and does not depend on the replies' lengths.
    """
    pairs = [float(expit(g.per_token - b.per_token)) for g in good for b in bad]
    return sum(pairs) / len(pairs)


def pairs_won(good: Sequence[Likelihood], bad: Sequence[Likelihood]) -> float:
    """Compute the share of pairs of a good and a bad reply in which the good one is the likelier per token."""
    pairs = [g.per_token > b.per_token for g in good for b in bad]
    return sum(pairs) / len(pairs)
