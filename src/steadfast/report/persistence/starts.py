"""Arms that start an attack at different levels, from the same level: an earlier checkpoint, and a covariance."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import polars as pl

from steadfast.analysis.matched_start import (
    Adjusted,
    MatchedStart,
    Start,
    analysis_of_covariance,
    at_matched_start,
    choose_start,
)
from steadfast.evals.rows import AT, PLAIN, UNATTACKED
from steadfast.report.persistence.measures import Measure
from steadfast.study.arms import BASELINE

T = TypeVar("T")


@dataclass(frozen=True)
class Starts:
    """An arm and the baseline from the same level, at the largest dose that both were measured after.

    Attributes:
        arm: The arm.
        dose: The updates; None where they were measured after no dose of the attack in common.
        start: The checkpoint that was chosen, an earlier one or the arm itself; None where there was no choice.
        matched: It and the baseline through the attack.
        unmatched: Why they are not compared; empty where they are.
        adjusted: The analysis of covariance of the arms as they are.
        unadjusted: Why there is none; empty where there is one.
    """

    arm: str
    dose: int | None
    start: Start | None = None
    matched: MatchedStart | None = None
    unmatched: str = ""
    adjusted: Adjusted | None = None
    unadjusted: str = ""


def starts_of(measure: Measure, attack: str, attacked: Mapping[str, tuple[int, ...]], arm: str) -> Starts | None:
    """Compare an arm with the baseline from the same level; None where the arm is the baseline, or was not attacked.

    Args:
        measure: What was measured.
        attack: The attack's name.
        attacked: The doses of the attack that each checkpoint was measured after.
        arm: The arm.
    """
    if arm == BASELINE or arm not in attacked:  # behind a closed gate, which says so itself
        return None
    common = {*attacked[arm]} & {*attacked.get(BASELINE, ())}
    if not common:
        reason = f"{arm!r} and {BASELINE!r} were measured after no dose of {attack!r} in common"
        return Starts(arm, None, unmatched=reason, unadjusted=reason)
    dose, rows, twins = max(common), measure.rows, measure.twins
    adjusted, unadjusted = _tried(lambda: analysis_of_covariance(rows, arm, BASELINE, attack, dose, twins=twins))
    earlier = _earlier(rows, arm)
    if not earlier:
        unmatched = f"no earlier checkpoint of {arm!r} was measured; attacks.earlier names steps to keep"
        return Starts(arm, dose, None, None, unmatched, adjusted, unadjusted)
    start, unmatched = _tried(lambda: choose_start(rows, [*earlier, arm], BASELINE, twins=twins))
    matched = None
    if start is not None:
        matched, unmatched = _tried(lambda: at_matched_start(rows, start, BASELINE, attack, dose, twins=twins))
    return Starts(arm, dose, start, matched, unmatched, adjusted, unadjusted)


def _tried(make: Callable[[], T]) -> tuple[T | None, str]:
    """What is made, and no reason; or None, and why its cells cannot be paired."""
    try:
        return make(), ""
    except ValueError as error:
        return None, str(error)


def _earlier(rows: pl.DataFrame, arm: str) -> list[str]:
    """The names of an arm's earlier checkpoints that were measured before an attack, by step."""
    plain = rows.filter((pl.col("condition") == PLAIN) & UNATTACKED)
    names = [n for n in plain["checkpoint"].unique().to_list() if n.startswith(f"{arm}{AT}")]
    return sorted(names, key=lambda n: (len(n), n))
