"""One arm against another over all evals of a results table, paired by item."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadfast.analysis.bootstrap import TIE, Interval, clustered_bootstrap, item_bootstrap
from steadfast.analysis.multiplicity import benjamini_hochberg
from steadfast.analysis.permutation import paired_permutation_test

_KEY = ["suite", "grader", "task"]


@dataclass(frozen=True)
class EvalComparison:
    """Two arms on one suite under one grader.

    Attributes:
        suite: The suite's name.
        construct: What it measures.
        domain: Where it is set; "several" if its tasks come from several domains.
        grader: What scored its tasks.
        items: The number of paired tasks, which are graded in both arms.
        dropped: The number of tasks left out because one arm, or both, has no grade for them.
        treatment: The mean score of the treatment over the paired tasks; NaN without any.
        control: The mean score of the control over the same tasks.
        difference: The treatment's mean minus the control's.
        low: The lower bound of the difference, with tasks, or pairs of twins, drawn; see `item_bootstrap`.
        high: The upper bound.
        p: The two-sided sign-flip permutation p-value; NaN with fewer than two paired tasks.
        q: The p-value after Benjamini-Hochberg over all entries of the comparison.
        significant: Whether q is at or below the false discovery rate asked for.
    """

    suite: str
    construct: str
    domain: str
    grader: str
    items: int
    dropped: int
    treatment: float
    control: float
    difference: float
    low: float
    high: float
    p: float
    q: float
    significant: bool


@dataclass(frozen=True)
class Comparison:
    """Two arms over all suites.

    Attributes:
        treatment: The name of the treatment's checkpoint.
        control: The name of the control's checkpoint.
        evals: One entry for each suite and grader, by name.
        difference: The mean over suites of treatment minus control; see `clustered_bootstrap`.
        wins: The number of entries where the treatment is better.
        losses: The number of entries where it is worse.
        ties: The number of entries without a difference.
        total: Wins, losses and ties together; an entry without any paired task counts in none of them.
        significant_wins: The number of wins that are significant.
        significant_losses: The number of losses that are significant.
    """

    treatment: str
    control: str
    evals: tuple[EvalComparison, ...]
    difference: Interval
    wins: int
    losses: int
    ties: int
    total: int
    significant_wins: int
    significant_losses: int


def compare(
    results: pl.DataFrame,
    treatment: str,
    control: str,
    *,
    grader: str | None = None,
    exclude_domains: Collection[str] = (),
    only_domains: Collection[str] = (),
    draws: int = 10_000,
    level: float = 0.95,
    q: float = 0.05,
    seed: int = 0,
) -> Comparison:
    """Compare two checkpoints, paired by suite, grader and task.

    The domains are chosen before anything is computed: an arm trained on health alone is judged on the other
    evals by excluding the health domains, and Benjamini-Hochberg then counts the others only.

    Twins of a suite are one unit, the mean of their scores: they share their replies or their facts, so they are no
    two pieces of evidence. A suite with two graders has two entries, and wins count entries; in the overall interval
    it is one cluster, its paired tasks pooled. Name a `grader` to count suites.

    Args:
        results: Rows with the columns checkpoint, suite, construct, domain, grader, task and score, and `pair`, the
            twin of a task, where tasks have one; others are ignored. There is one row for each checkpoint, suite,
            grader and task: of a table that holds several judges, conditions or seeds, the caller keeps one of each.
            A null (or NaN) score could not be graded: its task is dropped from both arms and counted.
        treatment: The checkpoint whose gain is asked for.
        control: The checkpoint to compare it with.
        grader: Keeps only the rows of this grader.
        exclude_domains: Leaves out the rows of these domains.
        only_domains: Keeps only the rows of these domains; empty keeps all.
        draws: The bootstrap draws of each interval.
        level: The nominal coverage of the intervals.
        q: The false discovery rate for `significant`.
        seed: Seeds every interval and test. Each suite gets the same seed, so that its interval and p-value do not
            depend on which other suites are in the table.

    Raises:
        ValueError: a checkpoint has no rows, a task has several rows in an arm, no task is graded in both
            arms, or the domains are one string instead of a collection.
    """
    for name in (treatment, control):
        if results.filter(pl.col("checkpoint") == name).is_empty():
            known = ", ".join(sorted(results["checkpoint"].drop_nulls().unique().to_list())) or "none"
            raise ValueError(f"no results of checkpoint {name!r}; the table has: {known}")
    rows = _chosen(results, grader, exclude_domains, only_domains)
    pairs = _arm(rows, treatment).join(
        _arm(rows, control),
        on=_KEY,
        how="full",
        coalesce=True,
        suffix="_control",
        maintain_order="left_right",
    )
    if pairs.filter(_graded()).is_empty():
        raise ValueError(
            "nothing to compare: no task of the chosen grader and domains is graded in both "
            f"{treatment!r} and {control!r}"
        )
    groups = pairs.sort(_KEY).partition_by(["suite", "grader"], maintain_order=True)
    differences = [_differences(group) for group in groups]
    p_values = [paired_permutation_test(d, seed=seed) for d in differences]
    evals = tuple(
        _eval_comparison(group, item_interval, p, adjusted, q)
        for group, item_interval, p, adjusted in zip(
            groups,
            [_item_interval(d, draws, level, seed) for d in differences],
            p_values,
            benjamini_hochberg(p_values).tolist(),
            strict=True,
        )
    )
    clusters = [
        _differences(group) for group in pairs.filter(_graded()).sort(_KEY).partition_by("suite", maintain_order=True)
    ]
    wins = [e for e in evals if e.difference > TIE]
    losses = [e for e in evals if e.difference < -TIE]
    total = sum(e.items > 0 for e in evals)
    return Comparison(
        treatment=treatment,
        control=control,
        evals=evals,
        difference=clustered_bootstrap(clusters, draws=draws, level=level, seed=seed),
        wins=len(wins),
        losses=len(losses),
        ties=total - len(wins) - len(losses),
        total=total,
        significant_wins=sum(e.significant for e in wins),
        significant_losses=sum(e.significant for e in losses),
    )


def _chosen(
    results: pl.DataFrame,
    grader: str | None,
    exclude_domains: Collection[str],
    only_domains: Collection[str],
) -> pl.DataFrame:
    if isinstance(exclude_domains, str) or isinstance(only_domains, str):
        # A string is a collection of its letters: it would exclude nothing, in silence.
        raise ValueError("domains must be a collection such as ('health',), not one string")
    rows = results
    if exclude_domains:
        rows = rows.filter(~pl.col("domain").is_in(list(exclude_domains)))
    if only_domains:
        rows = rows.filter(pl.col("domain").is_in(list(only_domains)))
    return rows if grader is None else rows.filter(pl.col("grader") == grader)


def _arm(rows: pl.DataFrame, checkpoint: str) -> pl.DataFrame:
    twin = pl.col("pair") if "pair" in rows.columns else pl.lit(None, pl.String)
    unit = pl.min_horizontal("task", twin).alias("unit")  # nulls are passed over
    arm = rows.filter(pl.col("checkpoint") == checkpoint).select(
        *_KEY, "construct", "domain", unit, pl.col("score").fill_nan(None)
    )
    twice = arm.filter(arm.select(_KEY).is_duplicated()).sort(_KEY)
    if not twice.is_empty():
        suite, how, task = twice.select(_KEY).row(0)
        raise ValueError(
            f"{checkpoint!r} has several rows of task {task!r} in suite {suite!r}, grader {how!r}; "
            "keep the rows of one judge, one condition and one seed"
        )
    return arm


def _graded() -> pl.Expr:
    return pl.col("score").is_not_null() & pl.col("score_control").is_not_null()


def _units(pairs: pl.DataFrame) -> pl.DataFrame:
    """The mean scores of each unit: a task graded in both arms, or what is graded of a pair of twins."""
    graded = pairs.filter(_graded())
    return graded.group_by("suite", "grader", "unit", maintain_order=True).agg(pl.col("score", "score_control").mean())


def _differences(pairs: pl.DataFrame) -> NDArray[np.float64]:
    units = _units(pairs)
    return (units["score"] - units["score_control"]).to_numpy()


def _item_interval(differences: NDArray[np.float64], draws: int, level: float, seed: int) -> Interval:
    if differences.size == 0:
        return Interval(np.nan, np.nan, np.nan, level)
    return item_bootstrap(differences, draws=draws, level=level, seed=seed)


def _eval_comparison(pairs: pl.DataFrame, interval: Interval, p: float, adjusted: float, q: float) -> EvalComparison:
    graded, units = pairs.filter(_graded()), _units(pairs)
    return EvalComparison(
        suite=pairs["suite"][0],
        construct=_label(pairs, "construct"),
        domain=_label(pairs, "domain"),
        grader=pairs["grader"][0],
        items=graded.height,
        dropped=pairs.height - graded.height,
        treatment=_mean(units["score"]),
        control=_mean(units["score_control"]),
        difference=interval.estimate,
        low=interval.low,
        high=interval.high,
        p=p,
        q=adjusted,
        significant=adjusted <= q,
    )


def _label(pairs: pl.DataFrame, column: str) -> str:
    found = pl.concat([pairs[column], pairs[f"{column}_control"]]).drop_nulls().unique().to_list()
    return found[0] if len(found) == 1 else "several"


def _mean(scores: pl.Series) -> float:
    return float(scores.to_numpy().mean()) if len(scores) else float("nan")
