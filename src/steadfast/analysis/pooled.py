"""Two checkpoints on the tasks of several suites taken together, with an interval that counts clusters.

Tasks of one suite share its construct and its form, and twins share their facts: they are no independent evidence, and
an interval over tasks is too narrow by the root of 1 + (m - 1) * rho, with m tasks in a cluster that correlate by rho.
Clusters are the suites; with one suite they are its pairs, or its tasks where it has none. The mean is over tasks,
and its variance is the linearized one of sums over clusters, with Student's quantile at clusters - 1.

Source:
    Kish 1965, "Survey Sampling", section 6.3; Cameron & Miller 2015, "A Practitioner's Guide to Cluster-Robust
    Inference", section II.
"""

# scipy ships no types: what it leaves unknown is not ours to annotate.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from math import sqrt

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from steadfast.analysis.bootstrap import Interval, item_bootstrap
from steadfast.analysis.comparison import EvalComparison
from steadfast.analysis.permutation import paired_permutation_test

_KEY = ["suite", "task"]


def compare_pooled(rows: pl.DataFrame, treatment: str, control: str, *, alpha: float = 0.05) -> EvalComparison | None:
    """Compare all tasks of two checkpoints; None if no task is graded in both.

    Args:
        rows: The columns checkpoint, suite, task, pair, construct, domain and score; one row for each checkpoint,
            suite and task.
        treatment: The checkpoint whose gain is asked for.
        control: The checkpoint to compare it with.
        alpha: The level of the test, and of its interval's complement.

    Raises:
        ValueError: A task has several rows in a checkpoint.
    """
    joined = _joined(rows, treatment, control)
    graded = _graded(joined)
    if graded.is_empty():
        return None
    differences, clusters = _differences(graded), _clusters(graded)
    interval = clustered_interval(differences, clusters, 1 - alpha)
    p = paired_permutation_test(_sums(differences, clusters))
    return EvalComparison(
        suite="all",
        construct=_one(graded["construct"]),
        domain=_one(graded["domain"]),
        grader="any",
        items=graded.height,
        dropped=joined.height - graded.height,
        treatment=float(graded["score"].to_numpy().mean()),
        control=float(graded["score_control"].to_numpy().mean()),
        difference=interval.estimate,
        low=interval.low,
        high=interval.high,
        p=p,
        q=p,
        significant=p <= alpha,
    )


def pooled_interval(rows: pl.DataFrame, treatment: str, control: str, *, level: float = 0.95) -> Interval | None:
    """The interval of `compare_pooled` alone, without a test; None if no task is graded in both.

    Raises:
        ValueError: A task has several rows in a checkpoint.
    """
    graded = _graded(_joined(rows, treatment, control))
    return None if graded.is_empty() else clustered_interval(_differences(graded), _clusters(graded), level)


def clustered_interval(differences: NDArray[np.float64], clusters: NDArray[np.int64], level: float = 0.95) -> Interval:
    """Interval of the mean of differences [tasks], given the cluster [tasks] of each, numbered from 0.

    Where every task is a cluster of its own it is `item_bootstrap`'s; with one cluster its bounds are NaN.
    """
    count = len(np.unique(clusters))
    estimate = float(differences.mean())
    if count == len(differences):
        return item_bootstrap(differences, level=level)
    if count < 2:
        return Interval(estimate, float("nan"), float("nan"), level)
    margin = float(stats.t.ppf((1 + level) / 2, count - 1)) * clustered_error(differences, clusters)
    return Interval(estimate, estimate - margin, estimate + margin, level)


def clustered_error(differences: NDArray[np.float64], clusters: NDArray[np.int64]) -> float:
    """The linearized standard error of the mean of differences [tasks], given the cluster [tasks] of each, from 0.

    It has one degree of freedom less than there are clusters, and is NaN with one.
    """
    count = len(np.unique(clusters))
    if count < 2:
        return float("nan")
    sums = _sums(differences - float(differences.mean()), clusters)
    return sqrt(count / (count - 1) * float(sums @ sums)) / len(differences)


def _joined(rows: pl.DataFrame, treatment: str, control: str) -> pl.DataFrame:
    sides = [rows.filter(pl.col("checkpoint") == name) for name in (treatment, control)]
    if any(side.select(_KEY).is_duplicated().any() for side in sides):
        raise ValueError("a task has several rows in a checkpoint; keep those of one judge, condition and seed")
    return sides[0].join(sides[1].select(*_KEY, "score"), on=_KEY, how="full", coalesce=True, suffix="_control")


def _graded(joined: pl.DataFrame) -> pl.DataFrame:
    return joined.fill_nan(None).drop_nulls(["score", "score_control"]).sort(_KEY)


def _differences(graded: pl.DataFrame) -> NDArray[np.float64]:
    return (graded["score"] - graded["score_control"]).to_numpy()


def _clusters(graded: pl.DataFrame) -> NDArray[np.int64]:
    own = pl.coalesce(pl.min_horizontal("task", pl.when(pl.col("pair").is_not_null()).then("pair")), "task")
    label = pl.col("suite") if graded["suite"].n_unique() > 1 else own
    return graded.select(label.rank("dense").cast(pl.Int64) - 1).to_series().to_numpy()


def _sums(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(np.bincount(clusters, weights=values), dtype=np.float64)


def _one(labels: pl.Series) -> str:
    found = labels.drop_nulls().unique().to_list()
    return found[0] if len(found) == 1 else "several"
