"""The preference grader compares the likelihoods of good and bad references; it needs no answer and no judge.

Four things are told apart, since a likelihood mixes them. What a conversation says for a reply is its pointwise mutual
information: the log-probability of the reply after its own conversation minus that after another conversation of the
same eval. What a reply has of its own, its fluency, its length and its common words, falls out of that difference and
is shown by itself after a greeting. Words stand apart from punctuation and the end of the turn, which a model may come
to favour without changing what it says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit

POINT = (
    "A point is one more (good, bad) pair in a hundred whose good reply gains more from its own conversation, against "
    "another conversation, than the bad reply does; chance is 50 points, and every pair counts alike whatever the "
    "model's size, so a point is the same share of pairs for a small and a large model and not the same feat."
)
"""What a point of the primary score is, in the words of the report."""

Measure = Literal["pmi", "plain", "ends", "alone"]


@dataclass(frozen=True)
class Nats:
    """The summed log-probability of a reply's tokens, in nats.

    Attributes:
        words: The sum over its word tokens.
        ends: The sum over all other tokens: punctuation and the end of the turn.
    """

    words: float
    ends: float


@dataclass(frozen=True)
class ReplyLikelihood:
    """What a reply's likelihood is after three conversations.

    Attributes:
        own: After the conversation that it was written for.
        mismatched: After another conversation of the same eval.
        alone: After a greeting, which says nothing of the matter.
    """

    own: Nats
    mismatched: Nats
    alone: Nats

    @property
    def pmi(self) -> float:
        """How many nats the word tokens gain from their own conversation, against the mismatched one."""
        return self.own.words - self.mismatched.words

    def of(self, measure: Measure) -> float:
        """The nats that a measure compares replies by."""
        by: dict[Measure, float] = {
            "pmi": self.pmi,
            "plain": self.own.words,
            "ends": self.own.ends,
            "alone": self.alone.words,
        }
        return by[measure]


@dataclass(frozen=True)
class Compared:
    """Good replies against bad ones under one measure, over all pairs of a good and a bad reply.

    Attributes:
        share: The share of pairs whose good reply has more nats, a tie counting half.
        graded: The mean of the logistic function of the difference in nats, in [0, 1]. It moves with every change,
            but also when a model only becomes more certain, so it is not comparable between models.
        nats: The mean difference, good minus bad, in nats.
    """

    share: float
    graded: float
    nats: float


def compare_nats(good: Sequence[float], bad: Sequence[float]) -> Compared:
    """Compare good replies with bad ones, each given by its nats."""
    difference_GB = np.subtract.outer(np.asarray(good, float), np.asarray(bad, float))
    return Compared(
        share=float(np.mean((np.sign(difference_GB) + 1) / 2)),
        graded=float(np.mean(expit(difference_GB))),
        nats=float(np.mean(difference_GB)),
    )


def compare_replies(good: Sequence[ReplyLikelihood], bad: Sequence[ReplyLikelihood]) -> Mapping[Measure, Compared]:
    """Compare a task's good replies with its bad ones under each measure.

    The primary number is the share of "pmi": the share of pairs whose good reply gains more from its conversation. It
    is a share, and not the logistic or the nats, because those grow when a model only becomes more certain: a larger
    model, or one whose entropy training has lowered, would seem to prefer more strongly while ranking no pair anew.

    Returns:
        "pmi": word tokens, own conversation against the mismatched one. "plain": word tokens after the own
        conversation. "ends": the other tokens after the own conversation. "alone": word tokens after a greeting; what
        a model knows of the replies without reading the conversation.
    """
    measures: tuple[Measure, ...] = ("pmi", "plain", "ends", "alone")
    return {m: compare_nats([g.of(m) for g in good], [b.of(m) for b in bad]) for m in measures}
