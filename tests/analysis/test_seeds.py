"""Intervals over seeds, power and pair success, against scipy, simulation and hand-made tables."""

from math import isnan

import numpy as np
import polars as pl
import pytest
from scipy import stats

from steadfast.analysis.pairs import by_seed, pair_successes
from steadfast.analysis.seeds import detectable_effect, detectable_of, seed_interval, seed_p_value


def test_the_interval_is_students_over_seeds():
    values = [0.1, 0.3, 0.25]
    interval = seed_interval(values)
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_one_seed_has_no_interval():
    interval = seed_interval([0.2])
    assert interval.estimate == 0.2
    assert np.isnan(interval.low)
    assert np.isnan(interval.high)


@pytest.mark.parametrize("values", [[], [0.1, float("nan")]])
def test_nothing_to_draw_an_interval_from_is_an_error(values):
    with pytest.raises(ValueError, match="finite difference"):
        seed_interval(values)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_detectable_effect_is_found_four_times_in_five(seeds):
    effect = detectable_effect(0.1, seeds)
    rng = np.random.default_rng(0)
    draws = rng.normal(effect, 0.1, (20_000, seeds))
    p = stats.ttest_1samp(draws, 0, axis=1).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.015)


def test_power_needs_two_seeds():
    with pytest.raises(ValueError, match="two seeds"):
        detectable_effect(0.1, 1)


def table(*rows):
    names = ["checkpoint", "seed", "suite", "task", "pair", "score"]
    cell = {"group": "g", "domain": "health", "format": "chat", "wording": 0}
    return pl.DataFrame([dict(zip(names, r, strict=True)) | cell for r in rows], schema_overrides={"score": pl.Float64})


def test_a_pair_succeeds_only_if_both_twins_do_and_an_ungraded_twin_leaves_it_out():
    pairs = pair_successes(
        table(
            ("x", 0, "s", "1a", "1b", 1.0),
            ("x", 0, "s", "1b", "1a", 0.0),
            ("x", 0, "s", "2a", "2b", 1.0),
            ("x", 0, "s", "2b", "2a", 0.5),
            ("x", 0, "s", "3a", "3b", 1.0),
            ("x", 0, "s", "3b", "3a", None),
        )
    )
    assert pairs.select("pair", "one", "other", "success").rows() == [("1a", 1.0, 0.0, 0.0), ("2a", 1.0, 0.5, 0.5)]


def test_families_weigh_the_same_whatever_their_number_of_pairs():
    rows = [("x", 0, "many", f"{i}a", f"{i}b", 1.0) for i in range(9)]
    rows += [("x", 0, "many", f"{i}b", f"{i}a", 1.0) for i in range(9)]
    rows += [("x", 0, "few", "f-a", "f-b", 0.0), ("x", 0, "few", "f-b", "f-a", 1.0)]
    assert by_seed(pair_successes(table(*rows))).select("success", "pairs").rows() == [(0.5, 10)]


def test_differences_that_are_the_same_but_for_rounding_have_no_spread():
    rounded = [0.1 + 0.2, 0.3, 0.3]
    assert rounded[0] != rounded[1]
    interval = seed_interval(rounded)
    assert interval.estimate == pytest.approx(0.3)
    assert isnan(interval.low)
    assert isnan(interval.high)
    assert detectable_of(rounded) is None
    assert isnan(seed_p_value(rounded))
    assert seed_p_value([0.1 + 0.2 - 0.3, 0.0]) == 1.0
    assert seed_interval([0.3, 0.3 + 1e-6]).low < 0.3
