"""This module holds a judge's scores of gold answers and computes figures and intervals from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from steadfast.graders.grade import Judge
from steadfast.rollouts import Rollout
from steadfast.tasks import GoldPair, Task

Array = NDArray[np.float64]

_DRAWS = 2000


@dataclass(frozen=True)
class GoldScores:
    """The scores of the gold pairs of which both answers were graded.

    Attributes:
        scenarios: The scenarios of the pairs, [pairs].
        good: The scores of the good answers, [pairs].
        bad: The scores of the bad answers, [pairs].
        ungraded: The number of pairs that are left out.
    """

    scenarios: tuple[Task, ...]
    good: Array
    bad: Array
    ungraded: int = 0

    @classmethod
    def of(cls, judge: Judge, scenarios: Sequence[Task], gold: Mapping[str, GoldPair]) -> Self:
        """Let a judge grade the gold answers of those scenarios that have some."""
        chosen = [s for s in scenarios if s.id in gold]
        grades = judge.grade([Rollout.of_text(s, text) for s in chosen for text in (gold[s.id].good, gold[s.id].bad)])
        pairs = [(s, grades[2 * i].score, grades[2 * i + 1].score) for i, s in enumerate(chosen)]
        scored = [(s, g, b) for s, g, b in pairs if g is not None and b is not None]
        good, bad = (np.array([p[side] for p in scored], dtype=float) for side in (1, 2))
        return cls(tuple(p[0] for p in scored), good, bad, len(pairs) - len(scored))

    @classmethod
    def pooled(cls, scored: Sequence["GoldScores"]) -> "GoldScores":
        """Join several sets of scores into one."""
        return cls(
            tuple(s for scores_of_gold in scored for s in scores_of_gold.scenarios),
            np.concatenate([scores_of_gold.good for scores_of_gold in scored]),
            np.concatenate([scores_of_gold.bad for scores_of_gold in scored]),
            sum(scores_of_gold.ungraded for scores_of_gold in scored),
        )

    def where(self, kept: Callable[[Task], bool]) -> "GoldScores":
        """Select the pairs of some scenarios."""
        mask = np.array([kept(s) for s in self.scenarios], dtype=bool)
        chosen = tuple(s for s, keep in zip(self.scenarios, mask, strict=True) if keep)
        return GoldScores(chosen, self.good[mask], self.bad[mask])

    def by(self, attribute: str) -> dict[str, "GoldScores"]:
        """Split the scores by trait or domain; scenarios that name none are under "none"."""
        values = sorted({getattr(s, attribute) or "none" for s in self.scenarios})
        return {v: self.where(lambda s, v=v: (getattr(s, attribute) or "none") == v) for v in values}

    @property
    def right(self) -> Array:
        """1 where the good answer scores higher, 0.5 for a tie, else 0, [pairs]."""
        return np.where(self.good == self.bad, 0.5, self.good > self.bad)

    @property
    def figures(self) -> dict[str, Any]:
        """The number of "pairs", the "accuracy" and the "auc", with intervals.

        The accuracy is the share of pairs whose good answer scores higher; ties count half. The area under the ROC
        curve is taken over all good and bad answers, also of different scenarios. The 95% intervals are bootstrapped
        over pairs. Figures without a pair, and intervals with fewer than two, are None.
        """
        if not len(self.good):
            return {"pairs": 0, "accuracy": None, "accuracy_interval": None, "auc": None, "auc_interval": None}
        pairs, above = len(self.good), _above(self.good, self.bad)
        return {
            "pairs": pairs,
            "accuracy": float(self.right.mean()),
            "accuracy_interval": _interval(lambda drawn: drawn @ self.right / pairs, pairs),
            "auc": float(above.mean()),
            "auc_interval": _interval(lambda drawn: ((drawn @ above) * drawn).sum(axis=1) / pairs**2, pairs),
        }

    @property
    def answers(self) -> tuple[Array, Array]:
        """The scores of all answers, good ones first, and their labels, 1 for good and 0 for bad; each [2 * pairs]."""
        sides = np.concatenate([np.ones(len(self.good)), np.zeros(len(self.bad))])
        return np.concatenate([self.good, self.bad]), sides


def _above(good: Array, bad: Array) -> Array:
    """Compare each good answer (row) with each bad one (column): 1 if it scores higher, 0.5 for a tie, else 0."""
    return (good[:, None] > bad) + 0.5 * (good[:, None] == bad)


def _interval(statistic: Callable[[Array], Array], pairs: int) -> list[float] | None:
    """Bootstrap a 95% percentile interval of a statistic of counts, [draws, pairs]: how often each pair was drawn."""
    if pairs < 2:
        return None
    drawn = np.random.default_rng(0).multinomial(pairs, np.full(pairs, 1 / pairs), size=_DRAWS).astype(float)
    low, high = np.percentile(statistic(drawn), [2.5, 97.5])
    return [float(low), float(high)]
