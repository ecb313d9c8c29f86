"""A bag of words that ranks replies without reading their conversations: what an eval gives away by wording alone.

It is a logistic regression on the difference of two replies' word counts, fitted to tell good replies from bad ones on
every eval but the one that it is tried on, and on the met and unmet statements of training scenarios.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit

from steadfast.evals.surface import ScoresByEval, share_won
from steadfast.tasks.suite import Suite
from steadfast.tasks.task import Task

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_PENALTY = 1.0
"""Half the squared length of the weights counts this much against the summed loss of the pairs."""

Pair = tuple[str, str]
"""A good text and a bad one."""


def words(text: str) -> list[str]:
    """The words of a text in small letters; punctuation is dropped."""
    return _WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


class BagOfWords:
    """This is a weight for each word; a text's score is the sum over its words.

    Args:
        weights: The weight of each word; a word that it lacks weighs nothing.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = weights

    def __call__(self, text: str) -> float:
        """The score of a text: the higher, the more its words are those of good replies."""
        return sum(self.weights.get(w, 0.0) for w in words(text))

    @classmethod
    def fitted(cls, pairs: Sequence[Pair]) -> "BagOfWords":
        """Fit the weights, so that the good text of each pair scores above the bad one.

        Raises:
            ValueError: There is no pair to fit.
        """
        if not pairs:
            raise ValueError("a bag of words is fitted on pairs, and there is none")
        place: dict[str, int] = {}
        values: list[int] = []
        columns: list[int] = []
        ends = [0]
        for good, bad in pairs:
            difference = Counter(words(good))
            difference.subtract(words(bad))
            for word, count in difference.items():
                if count:
                    columns.append(place.setdefault(word, len(place)))
                    values.append(count)
            ends.append(len(values))
        x_PW = csr_matrix((np.array(values, float), columns, ends), shape=(len(pairs), len(place)))

        def loss(w_W: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            margin_P: NDArray[np.float64] = x_PW @ w_W
            value = float(np.logaddexp(0, -margin_P).sum() + _PENALTY / 2 * w_W @ w_W)
            return value, _PENALTY * w_W - x_PW.T @ expit(-margin_P)

        fit = minimize(loss, np.zeros(len(place)), jac=True, method="L-BFGS-B", options={"maxiter": 200})
        return cls(dict(zip(place, fit.x.tolist(), strict=True)))


def reference_pairs(tasks: Sequence[Task]) -> list[Pair]:
    """Every good reference with every bad one of its task."""
    return [pair for t in tasks for pair in product(t.references.good, t.references.bad)]


def statement_pairs(scenarios: Sequence[Task]) -> list[Pair]:
    """Every met statement with every unmet one of its criterion, of the scenarios that train."""
    return [pair for s in scenarios if s.split == "train" for c in s.rubric for pair in product(c.met, c.unmet)]


def bag_of_words_scores(suites: Sequence[Suite], scenarios: Sequence[Task]) -> ScoresByEval:
    """The share of pairs on each task that a bag of words ranks rightly which never saw the task's eval.

    Args:
        suites: The evals; each is tried with a bag that is fitted on all others and on the statements.
        scenarios: Scenarios, of which those that train give their statements.

    Returns:
        For each eval the shares of its tasks [items]; a tie counts half.
    """
    statements = statement_pairs(scenarios)
    pairs = {s.name: reference_pairs(s.paired) for s in suites}
    scores: ScoresByEval = {}
    for suite in suites:
        others = [pair for name, own in pairs.items() if name != suite.name for pair in own]
        bag = BagOfWords.fitted([*statements, *others])
        scores[suite.name] = np.array([share_won(bag, task) for task in suite.paired])
    return scores
