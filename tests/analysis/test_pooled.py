"""Pooled measures: intervals that count clusters."""

from math import isnan

import numpy as np
import polars as pl
import pytest
from scipy import stats

from steadfast.analysis.bootstrap import student_interval
from steadfast.analysis.pooled import clustered_interval, compare_pooled


def table(differences, suite, pair=None):
    """A control at 0 and a treatment at the differences."""
    return pl.DataFrame(
        [
            {"checkpoint": c, "suite": suite(i), "task": f"t{i:03}", "pair": pair(i) if pair else None,
             "construct": "x", "domain": "health", "score": float(d) if c == "arm" else 0.0}
            for c in ("arm", "base")
            for i, d in enumerate(differences)
        ],
        schema_overrides={"pair": pl.String},
    )  # fmt: skip


def width(interval):
    return interval.high - interval.low


def test_ignoring_suites_is_too_narrow_by_the_root_of_their_size():
    """Ten suites whose sixteen tasks move alike: an interval over tasks is too narrow fourfold."""
    moves = np.repeat(np.random.default_rng(0).normal(0, 0.1, 10), 16)
    found = compare_pooled(table(moves, lambda i: f"s{i // 16}"), "arm", "base")
    blind = student_interval(moves)
    # The rest is Student's quantiles and Bessel's corrections.
    quantiles = stats.t.ppf(0.975, 9) / stats.t.ppf(0.975, 159)
    corrections = np.sqrt((10 / 9) / (160 / 159))
    assert width(found) / width(blind) == pytest.approx(4 * quantiles * corrections)
    assert found.difference == pytest.approx(blind.estimate)


def test_clustered_intervals_cover_where_blind_ones_fail():
    rng, clusters = np.random.default_rng(1), np.repeat(np.arange(12), 10)
    clustered = blind = 0
    for _ in range(400):
        values = rng.normal(0, 1, 12)[clusters] + rng.normal(0, 1, 120)
        a, b = clustered_interval(values, clusters), student_interval(values)
        clustered += a.low <= 0 <= a.high
        blind += b.low <= 0 <= b.high
    assert clustered / 400 == pytest.approx(0.95, abs=0.033)
    assert blind / 400 < 0.7


def test_twins_of_one_suite_are_one_cluster():
    moves = np.repeat(np.random.default_rng(0).normal(0, 0.1, 20), 2)
    twins = compare_pooled(table(moves, lambda i: "s", lambda i: f"t{i ^ 1:03}"), "arm", "base")
    expected = student_interval(moves[::2])
    assert (twins.low, twins.high) == pytest.approx((expected.low, expected.high))


def test_one_cluster_has_no_interval():
    found = clustered_interval(np.array([0.1, 0.2, 0.3]), np.zeros(3, dtype=np.int64))
    assert found.estimate == pytest.approx(0.2)
    assert isnan(found.low)


def test_ungraded_tasks_are_dropped_from_both_and_counted():
    rows = table([0.1, 0.2, 0.3], lambda i: "s")
    lost = pl.when((pl.col("task") == "t002") & (pl.col("checkpoint") == "base")).then(None).otherwise("score")
    found = compare_pooled(rows.with_columns(lost.alias("score")), "arm", "base")
    assert (found.items, found.dropped, found.difference) == (2, 1, pytest.approx(0.15))
    assert compare_pooled(rows.filter(pl.col("checkpoint") == "arm"), "arm", "base") is None
