"""One arm against another over all evals of a results table, paired by item."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadfast.analysis.bootstrap import Interval, clustered_bootstrap, item_bootstrap
from steadfast.analysis.multiplicity import benjamini_hochberg
from steadfast.analysis.permutation import paired_permutation_test

_KEY = ["eval", "scoring", "item"]
_TIE = 1e-12
"""A mean difference below this is rounding: scores such as 0.1 and 0.3 have no exact binary form."""


@dataclass(frozen=True)
class EvalComparison:
    """Two arms on one eval under one scoring.

    Attributes:
        eval: its name.
        construct: what it measures.
        domain: where; "several" if its items come from several domains.
        scoring: how its answers were scored.
        items: paired items, graded in both arms.
        dropped: items left out because one arm, or both, has no grade for them.
        treatment: mean score of the treatment over the paired items; NaN without any.
        control: mean score of the control over the same items.
        difference: treatment minus control.
        low: lower bound of the difference, items drawn; see `item_bootstrap`.
        high: upper bound.
        p: two-sided sign-flip permutation p-value; NaN with fewer than two paired items.
        q: p after Benjamini-Hochberg over all evals of the comparison.
        significant: whether q is at or below the false discovery rate asked for.
    """

    eval: str
    construct: str
    domain: str
    scoring: str
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
    """Two arms over all evals.

    Attributes:
        treatment: name of the treatment's checkpoint.
        control: name of the control's checkpoint.
        evals: one entry an eval and scoring, by name.
        difference: mean over evals of treatment minus control; see `clustered_bootstrap`.
        wins: entries where the treatment is better.
        losses: entries where it is worse.
        ties: entries without a difference.
        total: wins, losses and ties together; an entry without any paired item counts in none of them.
        significant_wins: wins that are significant.
        significant_losses: losses that are significant.
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
    scoring: str | None = None,
    exclude_domains: Collection[str] = (),
    only_domains: Collection[str] = (),
    draws: int = 10_000,
    level: float = 0.95,
    q: float = 0.05,
    seed: int = 0,
) -> Comparison:
    """Compare two checkpoints, paired by eval, scoring and item.

    The domains are chosen before anything is computed: an arm trained on health alone is judged on the other
    evals by excluding the health domains, and Benjamini-Hochberg then counts the others only.

    An eval with two scorings has two entries, and wins count entries; in the overall interval it is one
    cluster, its paired items pooled. Name a `scoring` to count evals.

    Args:
        results: one row an item and checkpoint, with the columns checkpoint, eval, construct, domain,
            scoring, item and score; others are ignored. A null (or NaN) score could not be graded: its item is dropped
            from both arms and counted.
        treatment: checkpoint whose gain is asked for.
        control: checkpoint to compare it with.
        scoring: keep only rows of this scoring.
        exclude_domains: leave out rows of these domains.
        only_domains: keep only rows of these domains; empty keeps all.
        draws: bootstrap draws of each interval.
        level: nominal coverage of the intervals.
        q: false discovery rate for `significant`.
        seed: of every interval and test. Each eval gets the same, so that its interval and p-value do not
            depend on which other evals are in the table.

    Raises:
        ValueError: a checkpoint has no rows, an item has several rows in an arm, no item is graded in both
            arms, or the domains are one string instead of a collection.
    """
    for name in (treatment, control):
        if results.filter(pl.col("checkpoint") == name).is_empty():
            known = ", ".join(sorted(results["checkpoint"].drop_nulls().unique().to_list())) or "none"
            raise ValueError(f"no results of checkpoint {name!r}; the table has: {known}")
    rows = _chosen(results, scoring, exclude_domains, only_domains)
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
            "nothing to compare: no item of the chosen scoring and domains is graded in both "
            f"{treatment!r} and {control!r}"
        )
    groups = pairs.sort(_KEY).partition_by(["eval", "scoring"], maintain_order=True)
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
        _differences(group) for group in pairs.filter(_graded()).sort(_KEY).partition_by("eval", maintain_order=True)
    ]
    wins = [e for e in evals if e.difference > _TIE]
    losses = [e for e in evals if e.difference < -_TIE]
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
    scoring: str | None,
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
    return rows if scoring is None else rows.filter(pl.col("scoring") == scoring)


def _arm(rows: pl.DataFrame, checkpoint: str) -> pl.DataFrame:
    arm = rows.filter(pl.col("checkpoint") == checkpoint).select(
        *_KEY, "construct", "domain", pl.col("score").fill_nan(None)
    )
    twice = arm.filter(arm.select(_KEY).is_duplicated()).sort(_KEY)
    if not twice.is_empty():
        name, how, item = twice.select(_KEY).row(0)
        raise ValueError(f"{checkpoint!r} has several rows of item {item!r} in eval {name!r}, scoring {how!r}")
    return arm


def _graded() -> pl.Expr:
    return pl.col("score").is_not_null() & pl.col("score_control").is_not_null()


def _differences(pairs: pl.DataFrame) -> NDArray[np.float64]:
    graded = pairs.filter(_graded())
    return (graded["score"] - graded["score_control"]).to_numpy()


def _item_interval(differences: NDArray[np.float64], draws: int, level: float, seed: int) -> Interval:
    if differences.size == 0:
        return Interval(np.nan, np.nan, np.nan, level)
    return item_bootstrap(differences, draws=draws, level=level, seed=seed)


def _eval_comparison(pairs: pl.DataFrame, interval: Interval, p: float, adjusted: float, q: float) -> EvalComparison:
    graded = pairs.filter(_graded())
    return EvalComparison(
        eval=pairs["eval"][0],
        construct=_label(pairs, "construct"),
        domain=_label(pairs, "domain"),
        scoring=pairs["scoring"][0],
        items=graded.height,
        dropped=pairs.height - graded.height,
        treatment=_mean(graded["score"]),
        control=_mean(graded["score_control"]),
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
