"""The preference grader: the likelihood of the good references against the bad ones, without an answer or a judge."""

from collections.abc import Sequence
from typing import Protocol

from scipy.special import expit


class Likelihood(Protocol):
    """How likely a model finds a reply."""

    @property
    def per_token(self) -> float:
        """The mean log-likelihood of a token, in nats."""
        ...


def preference(good: Sequence[Likelihood], bad: Sequence[Likelihood]) -> float:
    """How far a model prefers the good replies, in [0, 1]; 0.5 is indifference.

    Over all pairs of a good and a bad reply, the mean probability of picking the good one in proportion to the
    likelihood of a token, exp(mean log-likelihood). It is continuous, so small shifts show, and blind to length.
    """
    pairs = [float(expit(g.per_token - b.per_token)) for g in good for b in bad]
    return sum(pairs) / len(pairs)


def pairs_won(good: Sequence[Likelihood], bad: Sequence[Likelihood]) -> float:
    """The share of pairs of a good and a bad reply in which the good one is the likelier per token."""
    pairs = [g.per_token > b.per_token for g in good for b in bad]
    return sum(pairs) / len(pairs)
