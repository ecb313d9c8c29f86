"""How good a judge is: gold answers, good against tempting-bad, of scenarios it was never fitted on."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, mannwhitneyu

from steadfast.corpus import GoldPair, Scenario, built_in_gold, built_in_scenarios
from steadfast.judges.types import Answer, Judge

_DRAWS = 2000


def examine(judge: Judge, scenarios: Sequence[Scenario], gold: Mapping[str, GoldPair]) -> dict[str, Any]:
    """A judge's exam.

    Args:
        judge: to examine.
        scenarios: with rubrics.
        gold: pairs by scenario.

    Returns:
        pairs, ungraded; accuracy (share of pairs whose good answer scores higher; ties count half) and auc (area
        under the ROC curve over all good and bad answers), each with a 95% bootstrap interval over scenarios; mean
        scores of both sides; and accuracy by trait.
    """
    chosen = [s for s in scenarios if s.id in gold]
    grades = judge.grade([Answer(s, text) for s in chosen for text in (gold[s.id].good, gold[s.id].bad)])
    pairs = [(s, grades[2 * i].score, grades[2 * i + 1].score) for i, s in enumerate(chosen)]
    scored = [(s, g, b) for s, g, b in pairs if g is not None and b is not None]
    good, bad = (np.array([p[side] for p in scored], dtype=float) for side in (1, 2))
    right = np.where(good == bad, 0.5, good > bad)
    by_trait: dict[str, list[float]] = defaultdict(list)
    for (scenario, _, _), value in zip(scored, right, strict=True):
        by_trait[scenario.trait].append(float(value))
    return {
        "judge": judge.name,
        "pairs": len(scored),
        "ungraded": len(pairs) - len(scored),
        "accuracy": float(right.mean()),
        "accuracy_interval": _interval(right),
        "auc": _auc(good, bad),
        "auc_interval": _paired_interval(good, bad),
        "mean_good": float(good.mean()),
        "mean_bad": float(bad.mean()),
        "by_trait": {t: {"pairs": len(v), "accuracy": float(np.mean(v))} for t, v in sorted(by_trait.items())},
    }


def examine_built_in(judge: Judge) -> dict[str, Any]:
    """The exam on the corpus's held-out scenarios."""
    held_out = [s for s in built_in_scenarios() if s.split == "held_out"]
    return examine(judge, held_out, built_in_gold())


def _auc(good: NDArray[np.float64], bad: NDArray[np.float64]) -> float:
    """Area under the ROC curve: the Mann-Whitney statistic over all pairs."""
    return float(mannwhitneyu(good, bad).statistic) / (len(good) * len(bad))


def _interval(values: NDArray[np.float64]) -> list[float]:
    if len(values) < 2 or np.ptp(values) == 0:
        return [float(values.mean())] * 2
    result = bootstrap((values,), np.mean, n_resamples=_DRAWS, method="percentile", rng=0)
    return [float(result.confidence_interval.low), float(result.confidence_interval.high)]


def _paired_interval(good: NDArray[np.float64], bad: NDArray[np.float64]) -> list[float]:
    result = bootstrap((good, bad), _auc, n_resamples=_DRAWS, method="percentile", paired=True, vectorized=False, rng=0)
    return [float(result.confidence_interval.low), float(result.confidence_interval.high)]
