"""Judged scores beside their floor: rescaled, with unfinished answers at the floor, and with bounds.

`steadfast.analysis.floors` says what the scale is, and what an unfinished answer counts as.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from math import isnan
from typing import Any

import polars as pl

from steadfast.analysis import Comparison, EvalComparison, compare
from steadfast.analysis.bootstrap import Interval
from steadfast.analysis.floors import Floor, best_constant, with_bound, with_counted
from steadfast.analysis.pooled import compare_pooled, pooled_interval
from steadfast.report.loading import Run

_KEY = ["suite", "task"]
_MOST, _LEAST = 1.0, 0.0
"""The highest and the lowest score that a judge can give."""


@dataclass(frozen=True)
class Raw:
    """The mean scores in [0, 1] as the judge gave them, a cut-off answer with whatever it gave to that, mostly 0."""

    treatment: float
    control: float


@dataclass(frozen=True)
class Bounds:
    """Between what a result lies, on the floor's scale, whatever score in [0, 1] each unfinished answer had earned.

    Attributes:
        treatment: The bounds of the treatment's level.
        control: The bounds of the control's level.
        low: The lower bound of the difference: all of the treatment's unfinished answers at 0, the control's at 1.
        high: The upper bound, the other way round.
        interval_low: The lower end of the 95% interval of `low`.
        interval_high: The upper end of the 95% interval of `high`.
    """

    treatment: tuple[float, float]
    control: tuple[float, float]
    low: float
    high: float
    interval_low: float
    interval_high: float


@dataclass(frozen=True)
class Judged(EvalComparison):
    """Two checkpoints by judged answers: all numbers of `EvalComparison` are on the scale whose 0 is the floor.

    An unfinished answer counts as the best constant.

    Attributes:
        constant: The best constant answer to these tasks; None where none was graded, and then the floor is 0.
        floor: What it earns, in [0, 1].
        raw: The levels as the judge gave them.
        unfinished: The shares of the treatment's and the control's judged answers that the limit cut off.
        bounds: What the unfinished answers leave open.
    """

    constant: str | None
    floor: float
    raw: Raw
    unfinished: tuple[float, float]
    bounds: Bounds


@dataclass(frozen=True)
class Standing:
    """One checkpoint's judged answers against the best constant answer.

    Attributes:
        checkpoint: The checkpoint.
        measure: The suite, or "held-out traits" for all suites of traits together.
        judge: The judge.
        items: The number of graded tasks.
        constant: The best constant answer to these tasks; None where none was graded, and then the floor is 0.
        floor: What it earns, in [0, 1].
        raw: The mean score as the judge gave it, in [0, 1].
        rescaled: The mean on the floor's scale, an unfinished answer counting as the best constant.
        low: The lower end of its 95% interval, that of the paired difference from the constant.
        high: The upper end.
        bounds: Between what `rescaled` lies, whatever the unfinished answers had earned.
        unfinished: The share of the answers that the limit cut off.
    """

    checkpoint: str
    measure: str
    judge: str
    items: int
    constant: str | None
    floor: float
    raw: float
    rescaled: float
    low: float
    high: float
    bounds: tuple[float, float]
    unfinished: float

    @property
    def above(self) -> bool:
        """Whether the level is shown to exceed the best constant answer's."""
        return self.low > 0

    @property
    def below(self) -> bool:
        """Whether the level is shown to be lower than the best constant answer's."""
        return self.high < 0


def compare_judged(rows: pl.DataFrame, constants: pl.DataFrame, treatment: str, control: str) -> Judged | None:
    """Compare all tasks together, above the constant answer that is best on all of them; None if none is paired.

    Args:
        rows: The answers of one judge; see `Run.answers`.
        constants: The constant answers to the same suites; see `Run.constants`.
        treatment: The checkpoint whose gain is asked for.
        control: The checkpoint to compare it with.
    """
    mine = _of(rows, treatment, control)
    floor = best_constant(constants, _paired(mine))
    counted = compare_pooled(with_counted(mine, floor), treatment, control)
    if counted is None:
        return None
    return _judged(counted, mine, floor, treatment, control, intervals=True)


def compare_judged_suites(
    rows: pl.DataFrame, constants: pl.DataFrame, treatment: str, control: str
) -> Comparison | None:
    """Compare suite by suite, each above the constant answer that is best in it; None if no task is paired."""
    mine = _of(rows, treatment, control)
    paired = _paired(mine)
    if paired.is_empty():
        return None
    floors = {suite: best_constant(constants, paired.filter(pl.col("suite") == suite)) for suite in _suites(mine)}
    by_suite = {suite: mine.filter(pl.col("suite") == suite) for suite in floors}
    counted = pl.concat([with_counted(own, floors[suite]) for suite, own in by_suite.items()])
    if _paired(counted).is_empty():
        return None
    found = compare(counted, treatment, control)
    evals = tuple(_judged(e, by_suite[e.suite], floors[e.suite], treatment, control) for e in found.evals)
    return replace(found, evals=evals)


def standings(run: Run) -> list[Standing]:
    """Hold every checkpoint against the best constant: held-out traits by each judge, then every judged suite."""
    found: list[Standing] = []
    for judge, chosen in ((run.evaluation_judge, None), (run.training_judge, run.training_judge)):
        rows, constants = run.answers("trait", chosen), run.constants("trait", chosen)
        found += _standings(run.checkpoints, rows, constants, TRAITS, judge)
    for kind in ("trait", "eval"):
        rows, constants = run.answers(kind), run.constants(kind)
        for suite in _suites(rows.filter(pl.col("judged"))):
            own = rows.filter(pl.col("suite") == suite)
            found += _standings(run.checkpoints, own, constants, suite, run.evaluation_judge)
    return found


def constants_table(run: Run) -> list[dict[str, Any]]:
    """Say what each constant answer earns: on held-out traits by each judge, then on every judged suite.

    Returns:
        One mapping for each measure and judge: `measure`, `judge`, `items`, and `scores`, the mean in [0, 1] by name.
    """
    tables = [
        (TRAITS, run.evaluation_judge, run.constants("trait")),
        (TRAITS, run.training_judge, run.constants("trait", run.training_judge)),
    ]
    for kind in ("trait", "eval"):
        constants = run.constants(kind)
        judged = constants.filter((pl.col("grader") == "rubric").any().over("suite"))
        tables += [(suite, run.evaluation_judge, judged.filter(pl.col("suite") == suite)) for suite in _suites(judged)]
    return [
        {"measure": measure, "judge": judge, "items": rows["task"].n_unique(), "scores": _means(rows)}
        for measure, judge, rows in tables
        if not rows.is_empty()
    ]


def _means(constants: pl.DataFrame) -> dict[str, float | None]:
    means = constants.group_by("checkpoint", maintain_order=True).agg(pl.col("score").mean())
    return dict(means.iter_rows())


TRAITS = "held-out traits"
"""The measure of all suites of traits together."""


def standing(rows: pl.DataFrame, constants: pl.DataFrame, checkpoint: str, measure: str, judge: str) -> Standing | None:
    """Hold one checkpoint's answers against the best constant answer to the same tasks; None if none is graded."""
    mine = rows.filter((pl.col("checkpoint") == checkpoint) & pl.col("score").is_not_null())
    if mine.is_empty():
        return None
    floor = best_constant(constants, mine)
    over = _over_constant(mine, floor, checkpoint)
    return Standing(
        checkpoint=checkpoint,
        measure=measure,
        judge=judge,
        items=mine.height,
        constant=floor.constant,
        floor=floor.score,
        raw=_mean(mine["score"]),
        rescaled=over.estimate,
        low=over.low,
        high=over.high,
        bounds=_level_bounds(mine, floor),
        unfinished=_mean(mine["unfinished"]),
    )


def _standings(
    checkpoints: Sequence[str], rows: pl.DataFrame, constants: pl.DataFrame, measure: str, judge: str
) -> list[Standing]:
    found = [standing(rows, constants, checkpoint, measure, judge) for checkpoint in checkpoints]
    return [one for one in found if one is not None]


def _over_constant(mine: pl.DataFrame, floor: Floor, checkpoint: str) -> Interval:
    """The level on the floor's scale, with the interval of the paired difference from the constant."""
    counted = with_counted(mine, floor)
    estimate = _mean(counted["score"])
    unknown = Interval(estimate, float("nan"), float("nan"), 0.95)
    if floor.constant is None or isnan(estimate):
        return unknown
    beside = mine.join(floor.scores, on=_KEY, how="inner").with_columns(
        floor.rescale(pl.col("constant")).alias("score"), pl.lit(floor.constant).alias("checkpoint")
    )
    found = pooled_interval(pl.concat([counted, beside.drop("constant")]), checkpoint, floor.constant)
    return unknown if found is None else Interval(estimate, found.low, found.high, found.level)


def _judged(
    counted: EvalComparison,
    rows: pl.DataFrame,
    floor: Floor,
    treatment: str,
    control: str,
    *,
    intervals: bool = False,
) -> Judged:
    paired = rows.join(_paired(rows), on=_KEY, how="semi")
    sides = [paired.filter(pl.col("checkpoint") == name) for name in (treatment, control)]
    raw, unfinished = (tuple(_mean(side[column]) for side in sides) for column in ("score", "unfinished"))
    levels = [_level_bounds(side, floor) for side in sides]
    edges = (float("nan"), float("nan"))
    if intervals:
        edges = (
            _edge(sides, floor, (_LEAST, _MOST), treatment, control).low,
            _edge(sides, floor, (_MOST, _LEAST), treatment, control).high,
        )
    return Judged(
        **{f.name: getattr(counted, f.name) for f in fields(EvalComparison)},
        constant=floor.constant,
        floor=floor.score,
        raw=Raw(*raw),
        unfinished=(unfinished[0], unfinished[1]),
        bounds=Bounds(
            treatment=levels[0],
            control=levels[1],
            low=levels[0][0] - levels[1][1],
            high=levels[0][1] - levels[1][0],
            interval_low=edges[0],
            interval_high=edges[1],
        ),
    )


def _edge(
    sides: Sequence[pl.DataFrame], floor: Floor, values: tuple[float, float], treatment: str, control: str
) -> Interval:
    """The difference if each side's unfinished answers had all earned the side's value."""
    rows = pl.concat([with_bound(side, floor, value) for side, value in zip(sides, values, strict=True)])
    found = pooled_interval(rows, treatment, control)
    return found or Interval(float("nan"), float("nan"), float("nan"), 0.95)


def _level_bounds(side: pl.DataFrame, floor: Floor) -> tuple[float, float]:
    low, high = (_mean(with_bound(side, floor, value)["score"]) for value in (_LEAST, _MOST))
    return low, high


def _of(rows: pl.DataFrame, treatment: str, control: str) -> pl.DataFrame:
    return rows.filter(pl.col("checkpoint").is_in([treatment, control]))


def _paired(rows: pl.DataFrame) -> pl.DataFrame:
    """The tasks that are graded in both checkpoints, as the columns suite and task."""
    graded = rows.filter(pl.col("score").is_not_null())
    counts = graded.group_by(_KEY, maintain_order=True).agg(pl.col("checkpoint").n_unique().alias("sides"))
    return counts.filter(pl.col("sides") == 2).select(_KEY)


def _suites(rows: pl.DataFrame) -> list[str]:
    return rows["suite"].unique(maintain_order=True).to_list()


def _mean(values: pl.Series) -> float:
    return float(values.to_numpy().mean()) if len(values.drop_nulls()) else float("nan")
