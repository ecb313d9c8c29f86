"""The dose at which half of a gain is gone: by hand, against scipy, by coverage, and where it is censored."""

from math import expm1, inf, log1p

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import isotonic_regression

from steadfast.analysis.half_dose import crossing, half_dose, monotone_share

DOSES = [0, 4, 16, 64, 256]
SHARES = np.array([1.0, 0.9, 0.7, 0.35, 0.15])
TRUTH = expm1(log1p(16) + (0.7 - 0.5) / (0.7 - 0.35) * (log1p(64) - log1p(16)))
LASTING = np.array([1.0, 0.95, 0.9, 0.8, 0.7])


def study(rng, shares=SHARES, *, seeds=5, items=40, start=0.04, dose=0.03, item=0.2, noise=0.2, fragility=0.0):
    """Gains [doses, seeds, items] around a gain of 0.3 of which the shares are left."""
    gain = 0.3 + rng.normal(0, start, (1, seeds, 1)) + rng.normal(0, item, (1, 1, items))
    scatter = rng.normal(0, dose, (len(DOSES), seeds, 1)) + rng.normal(0, noise, (len(DOSES), seeds, items))
    scatter[1:] += rng.normal(0, fragility, (len(DOSES) - 1, 1, items))
    return shares[:, None, None] * gain + scatter


def found_in(gains_DSU, **more):
    return half_dose(gains_DSU, DOSES, [np.arange(gains_DSU.shape[2])], **{"draws": 200, **more})


def exact(shares, seeds=3, items=4):
    """Gains without noise but for a little between seeds that leaves every share as it is."""
    gain = 0.3 + 0.01 * np.arange(seeds)
    return np.asarray(shares)[:, None, None] * gain[:, None] * np.ones(items)


def test_a_dose_is_interpolated_on_the_logarithm_of_one_and_the_dose():
    found = found_in(exact(SHARES))
    assert found.interval.estimate == pytest.approx(TRUTH)
    assert (found.largest, found.reached, found.seeds) == (256, True, 3)


def test_on_the_linear_scale_it_is_interpolated_as_it_is():
    found = found_in(exact(SHARES), scale="linear", unit="nats")
    assert found.interval.estimate == pytest.approx(16 + 48 * 0.2 / 0.35)
    assert "nats" in found.sentence


def test_a_half_that_is_gone_at_a_dose_is_gone_there():
    assert found_in(exact([1, 0.8, 0.5, 0.5, 0.1])).interval.estimate == pytest.approx(16)


def test_what_comes_back_at_a_larger_dose_is_pooled_with_what_was_gone():
    # 0.4 and 0.8 pool to 0.6, so half is gone between 16 and 64 and not between 0 and 4.
    share = monotone_share(np.array([0.3, 0.12, 0.24, 0.09, 0.03]))
    assert share == pytest.approx([1, 0.6, 0.6, 0.3, 0.1])
    assert 16 < found_in(exact([1, 0.4, 0.8, 0.3, 0.1])).interval.estimate < 64


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=8))
def test_the_fit_is_the_isotonic_regression_of_scipy_and_crosses_half_once(shares):
    gains = 0.3 * np.array([1.0, *shares])
    fit = monotone_share(gains)
    assert fit == pytest.approx(isotonic_regression(gains / 0.3, increasing=False).x)
    assert (np.diff(fit) <= 1e-12).all()
    at = np.arange(gains.size, dtype=float)
    where = crossing(fit, at)
    assert (where == inf) == (fit[-1] > 0.5)
    if where < inf:
        assert np.interp(where, at, fit) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("seeds", "noise"),
    [
        (3, {"start": 0.06, "dose": 0.05, "item": 0.0, "noise": 0.1}),
        (5, {}),
        (5, {"start": 0.02, "dose": 0.02, "item": 0.0, "noise": 0.1, "fragility": 0.4}),
        (10, {"start": 0.06, "dose": 0.05, "item": 0.0, "noise": 0.1}),
    ],
)
def test_the_quoted_interval_holds_the_planted_dose_as_often_as_is_claimed(seeds, noise):
    rng = np.random.default_rng(seeds)
    studies = [found_in(study(rng, seeds=seeds, **noise), draws=150, seed=k) for k in range(200)]
    assert np.mean([s.interval.low <= TRUTH <= s.interval.high for s in studies]) >= 0.90
    # An interval that is always open would hold everything.
    assert np.mean([s.interval.high < 256 or s.interval.low > 4 for s in studies]) > 0.6


def test_students_interval_alone_covers_at_its_level_where_the_items_are_given():
    rng = np.random.default_rng(1)
    found = [found_in(study(rng, item=0.0), draws=1).student for _ in range(300)]
    assert 0.92 <= np.mean([f.low <= TRUTH <= f.high for f in found]) <= 0.98


def test_neither_interval_holds_alone_with_few_seeds():
    rng = np.random.default_rng(2)
    of_seeds = [found_in(study(rng, seeds=3, start=0.06, dose=0.05, item=0, noise=0.1), draws=150) for _ in range(100)]
    of_items = [
        found_in(study(rng, seeds=5, start=0.02, dose=0.02, item=0, noise=0.1, fragility=0.4), draws=150)
        for _ in range(100)
    ]
    assert np.mean([f.bootstrap.low <= TRUTH <= f.bootstrap.high for f in of_seeds]) < 0.9
    assert np.mean([f.student.low <= TRUTH <= f.student.high for f in of_items]) < 0.8


def test_students_interval_holds_the_doses_at_which_the_test_does_not_reject():
    gains = study(np.random.default_rng(3), seeds=6)
    found = found_in(gains)
    means = gains.mean(axis=2)

    def p(dose):
        at = np.log1p(DOSES)
        left = [np.interp(log1p(dose), at, means[:, s] - means[0, s] / 2) for s in range(6)]
        return stats.ttest_1samp(left, 0).pvalue

    low, high = found.student.low, found.student.high
    assert 0 < low < found.student.estimate < high < 256
    assert p(low) == pytest.approx(0.05, abs=0.01)
    assert p(high) == pytest.approx(0.05, abs=0.01)
    assert p(0.9 * low) < 0.05 < p(found.student.estimate)


def test_a_half_that_is_not_gone_at_the_largest_dose_is_censored_there():
    rng = np.random.default_rng(4)
    found = [found_in(study(rng, LASTING, seeds=6)) for _ in range(40)]
    assert np.mean([not f.reached for f in found]) > 0.9
    assert all(f.interval.high == inf for f in found if not f.reached)
    assert max(f.interval.low for f in found) <= 256
    assert "Half of the gain is not gone at 256 updates, the most that was tried" in found[0].sentence


def test_a_gain_that_surely_lasts_has_its_interval_above_the_largest_dose():
    found = found_in(exact(LASTING))
    assert (found.interval.estimate, found.interval.low, found.interval.high) == (inf, 256, inf)
    assert found.sentence.endswith("the 95% interval lies wholly above that (over 3 training seeds and their items).")


def test_an_interval_may_be_open_although_half_is_gone():
    rng = np.random.default_rng(5)
    shares = np.array([1.0, 0.9, 0.8, 0.6, 0.42])
    found = [f for f in (found_in(study(rng, shares, seeds=3)) for _ in range(20)) if f.reached]
    opened = [f for f in found if f.interval.high == inf]
    assert len(opened) > 5
    assert "and is open beyond the 256 updates that were tried" in opened[0].sentence
    closed = found_in(exact(SHARES) + 1e-4 * rng.normal(size=(5, 3, 4)))
    assert closed.sentence == (
        f"Half of the gain is gone at {closed.interval.estimate:.3g} updates, 95% interval from "
        f"{closed.interval.low:.3g} to {closed.interval.high:.3g} (over 3 training seeds and their items)."
    )


def test_a_draw_without_a_gain_leaves_both_ends_open():
    gains = exact(SHARES, seeds=8) - 0.0
    gains[:, 0] = -3.0 * SHARES[:, None]  # one seed has lost so much that draws with it have no gain
    gains[:, 1] = 4.0 * SHARES[:, None]
    found = found_in(gains)
    assert (found.bootstrap.low, found.bootstrap.high) == (0, inf)


def test_suites_weigh_the_same_and_units_that_a_seed_lacks_are_passed_over():
    gains = np.concatenate([exact(SHARES, items=9), exact(LASTING, items=1)], axis=2)
    gains[:, 0, 0] = float("nan")
    found = half_dose(gains, DOSES, [np.arange(9), np.array([9])], draws=50)
    assert found.interval.estimate == pytest.approx(found_in(exact((SHARES + LASTING) / 2)).interval.estimate)


def test_seeds_with_one_curve_tell_nothing_of_their_spread():
    found = found_in(SHARES[:, None, None] * np.full((3, 4), 0.3))
    assert np.isnan([found.interval.low, found.interval.high]).all()
    assert found.sentence.endswith("every training seed gives the same curve, which tells nothing of their spread.")


def test_the_same_seed_draws_the_same_interval():
    gains = study(np.random.default_rng(6))
    assert found_in(gains, seed=1) == found_in(gains, seed=1)
    assert found_in(gains, seed=1) != found_in(gains, seed=2)


@pytest.mark.parametrize(
    ("gains", "doses", "words"),
    [
        (exact(SHARES), [4, 8, 16, 64, 256], "growing from 0"),
        (exact(SHARES), [0, 16, 4, 64, 256], "growing from 0"),
        (exact(SHARES, seeds=1), DOSES, "two training seeds"),
        (-exact(SHARES), DOSES, "no gain before the attack"),
    ],
)
def test_what_has_no_half_dose_is_refused(gains, doses, words):
    with pytest.raises(ValueError, match=words):
        half_dose(gains, doses, [np.arange(4)])
