"""This module measures how far two judges agree on the same answers."""

# scipy ships no types: what it leaves unknown is not ours to annotate.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from steadfast.errors import SteadfastError
from steadfast.graders.grade import Judge, refuse_ungradable, refuse_without_rubric
from steadfast.rollouts import Rollout
from steadfast.tasks import built_in_gold, built_in_scenarios

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_DRAWS = 1000


def agree(first: Judge, second: Judge, answers: Sequence[Rollout]) -> dict[str, Any]:
    """Measure the agreement of two judges over answers.

    Args:
        first: A judge.
        second: Another judge.
        answers: The answers, to any scenarios. Several answers to one scenario are compared with each other.

    Returns:
        A mapping with the judges' names ("judges"), the numbers of "answers" and "scenarios" that both graded and of
        answers that one of them did not ("ungraded"), the "spearman" correlation over all answers, and "order": the
        share of "pairs" of answers to one scenario that both judges set in the same order. A tie of one judge counts
        half and a tie of both counts as agreement; without such pairs "order" is None. Each interval is a 95%
        percentile bootstrap that draws scenarios anew with all their answers; it is None with fewer than two.

    Raises:
        DataError: One of the judges cannot grade some scenarios.
        SteadfastError: Both judges bear one name, or fewer than two answers were graded by both.
    """
    if first.name == second.name:
        raise SteadfastError(f"a judge always agrees with itself; name another judge than {first.name!r}")
    scenarios = list({a.task.id: a.task for a in answers}.values())
    refuse_without_rubric(scenarios)
    for judge in (first, second):
        refuse_ungradable(judge, scenarios)
    grades = list(zip(answers, first.grade(answers), second.grade(answers), strict=True))
    rows = [(a.task.id, f.score, s.score) for a, f, s in grades if f.score is not None and s.score is not None]
    if len(rows) < 2:
        raise SteadfastError(f"only {len(rows)} of {len(answers)} answers were graded by both judges; two are needed")
    clusters = _clusters(rows)
    orders = [_orders(c) for c in clusters]
    figures = np.array([_figures(d, clusters, orders) for d in _draws(len(clusters))]).reshape(-1, 2)
    spearman, order = _figures(np.arange(len(clusters)), clusters, orders)
    return {
        "judges": [first.name, second.name],
        "answers": len(rows),
        "scenarios": len(clusters),
        "ungraded": len(answers) - len(rows),
        "spearman": _number(spearman),
        "spearman_interval": _interval(figures[:, 0]),
        "pairs": sum(len(o) for o in orders),
        "order": _number(order),
        "order_interval": _interval(figures[:, 1]),
    }


def gold_answers() -> list[Rollout]:
    """Collect the gold answers of the held-out scenarios of the corpus that ships."""
    gold = built_in_gold()
    held_out = [s for s in built_in_scenarios() if s.split == "held_out" and s.id in gold]
    return [Rollout.of_text(s, text) for s in held_out for text in (gold[s.id].good, gold[s.id].bad)]


def _clusters(rows: Sequence[tuple[str, float, float]]) -> list[Array]:
    """Group the two judges' scores by scenario, each [answers, 2]."""
    by_scenario: dict[str, list[tuple[float, float]]] = {}
    for scenario, one, other in rows:
        by_scenario.setdefault(scenario, []).append((one, other))
    return [np.array(pairs) for pairs in by_scenario.values()]


def _orders(scores: Array) -> Array:
    """Score each pair of a scenario's answers: 1 where both judges set them in one order, 0.5 for one tie, else 0."""
    signs = [np.sign(scores[i] - scores[j]) for i, j in combinations(range(len(scores)), 2)]
    return np.array([1 - abs(one - other) / 2 for one, other in signs], dtype=float)


def _draws(count: int) -> Index:
    if count < 2:
        return np.zeros((0, count), dtype=np.int64)
    return np.random.default_rng(0).integers(0, count, size=(_DRAWS, count))


def _figures(drawn: Index, clusters: Sequence[Array], orders: Sequence[Array]) -> tuple[float, float]:
    """Compute the Spearman correlation and the order agreement of the scenarios drawn; NaN where undefined."""
    scores = np.concatenate([clusters[i] for i in drawn])
    pairs = np.concatenate([orders[i] for i in drawn])
    constant = bool((np.ptp(scores, axis=0) == 0).any())
    spearman = np.nan if constant else float(np.corrcoef(rankdata(scores, axis=0).T)[0, 1])
    return spearman, float(pairs.mean()) if len(pairs) else np.nan


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _interval(values: Array) -> list[float] | None:
    if not len(values) or np.isnan(values).all():
        return None
    return [float(v) for v in np.nanpercentile(values, [2.5, 97.5])]
