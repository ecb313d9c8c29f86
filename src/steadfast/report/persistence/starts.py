"""Arms that start an attack at different levels, from the same level: an earlier checkpoint, and a covariance."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from steadfast.analysis.matched_start import (
    Adjusted,
    MatchedStart,
    Start,
    analysis_of_covariance,
    at_matched_start,
    choose_start,
)
from steadfast.evals.rows import PLAIN
from steadfast.report.persistence.measures import Measure
from steadfast.study.arms import BASELINE

AT = "@"
"""What stands between an arm's name and the step of an earlier checkpoint, as in "health-only@12"."""


@dataclass(frozen=True)
class Starts:
    """An arm and the baseline from the same level, at the largest dose that both were measured after.

    Attributes:
        arm: The arm.
        dose: The updates.
        start: The earlier checkpoint that was chosen; None where none was measured.
        matched: It and the baseline through the attack; None where the chosen one was not attacked.
        adjusted: The analysis of covariance of the arms as they are; None where the cells cannot be paired.
    """

    arm: str
    dose: int
    start: Start | None
    matched: MatchedStart | None
    adjusted: Adjusted | None


def starts_of(measure: Measure, attack: str, attacked: Mapping[str, tuple[int, ...]], arm: str) -> Starts | None:
    """Compare an arm with the baseline from the same level; None where both were not attacked."""
    common = set(attacked.get(arm, ())) & set(attacked.get(BASELINE, ()))
    if not common or arm == BASELINE:
        return None
    dose, start, matched = max(common), None, None
    earlier = _earlier(measure.rows, arm)
    try:
        adjusted = analysis_of_covariance(measure.rows, arm, BASELINE, attack, dose, twins=measure.twins)
    except ValueError:
        adjusted = None
    if earlier:
        try:
            start = choose_start(measure.rows, [*earlier, arm], BASELINE, twins=measure.twins)
            matched = at_matched_start(measure.rows, start, BASELINE, attack, dose, twins=measure.twins)
        except ValueError:
            pass  # what was chosen was not attacked, which is said of a start without a match
    return Starts(arm, dose, start, matched, adjusted)


def _earlier(rows: pl.DataFrame, arm: str) -> list[str]:
    """The names of an arm's earlier checkpoints that were measured before an attack, by step."""
    plain = rows.filter((pl.col("condition") == PLAIN) & pl.col("attack").is_null())
    names = [n for n in plain["checkpoint"].unique().to_list() if n.startswith(f"{arm}{AT}")]
    return sorted(names, key=lambda n: (len(n), n))
