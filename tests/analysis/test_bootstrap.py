import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from steadfast.analysis import clustered_bootstrap, item_bootstrap

ITEMS = 16


def simulated_coverage(evals: int, spread: float, studies: int = 400, effect: float = 0.1) -> float:
    """Share of studies whose 95% interval holds the true effect; `spread` is its deviation over evals."""
    rng = np.random.default_rng(evals)
    held = 0
    for study in range(studies):
        effects = effect + rng.normal(0, spread, size=evals)
        values = [mean + rng.normal(0, 0.4, size=ITEMS) for mean in effects]
        interval = clustered_bootstrap(values, draws=1_000, seed=study)
        held += interval.low <= effect <= interval.high
    return held / studies


# The Monte Carlo standard error at 400 studies is 0.011. A plain percentile interval covers 0.88 at eight
# evals, and a two-stage one 0.99 where the evals do not differ.
@pytest.mark.parametrize(("evals", "spread"), [(3, 0.2), (8, 0.0), (8, 0.2), (12, 0.1), (30, 0.2)])
def test_95_percent_interval_covers_the_true_effect_in_about_95_percent_of_studies(evals: int, spread: float):
    assert 0.915 <= simulated_coverage(evals, spread) <= 0.975


def test_items_taken_as_independent_would_cover_far_less_than_the_clustered_interval():
    rng = np.random.default_rng(0)
    values = [effect + rng.normal(0, 0.1, size=ITEMS) for effect in rng.normal(0, 0.3, size=12)]
    clustered, pooled = clustered_bootstrap(values), item_bootstrap(np.concatenate(values))
    assert clustered.high - clustered.low > 2 * (pooled.high - pooled.low)


def test_every_eval_weighs_the_same_however_many_items_it_has():
    assert clustered_bootstrap([np.ones(100), np.zeros(2)]).estimate == pytest.approx(0.5)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_interval_of_many_values_agrees_with_scipy_s_bootstrap_and_with_student_s_t(level: float):
    values = np.random.default_rng(1).normal(0.1, 0.3, size=400)
    interval = item_bootstrap(values, level=level)
    bca = stats.bootstrap((values,), np.mean, confidence_level=level, rng=np.random.default_rng(2)).confidence_interval
    student = DescrStatsW(values).tconfint_mean(alpha=1 - level)
    assert (interval.low, interval.high) == pytest.approx((bca.low, bca.high), abs=2e-3)
    assert (interval.low, interval.high) == pytest.approx(student, abs=2e-3)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.level == level


def test_interval_over_evals_is_that_of_their_means():
    rng = np.random.default_rng(2)
    values = [rng.normal(size=size) for size in range(3, 15)]
    means = np.array([v.mean() for v in values])
    assert clustered_bootstrap(values, seed=4) == item_bootstrap(means, seed=4)


@pytest.mark.parametrize("evals", [2, 3, 7])
def test_interval_of_a_few_evals_is_student_s_on_their_means(evals: int):
    rng = np.random.default_rng(3)
    values = [rng.normal(size=ITEMS) for _ in range(evals)]
    expected = stats.ttest_1samp([v.mean() for v in values], 0).confidence_interval(0.95)
    interval = clustered_bootstrap(values)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_interval_of_eight_evals_stays_within_their_range_as_only_a_bootstrap_does():
    values = [np.full(ITEMS, mean) for mean in (0.0, 0, 0, 0, 0, 0, 0, 1)]
    assert clustered_bootstrap(values).low >= 0
    assert clustered_bootstrap(values[1:]).low < 0  # seven: Student's


def test_one_eval_is_judged_by_its_items():
    values = np.random.default_rng(4).normal(size=20)
    assert clustered_bootstrap([values], seed=7) == item_bootstrap(values, seed=7)


def test_one_item_has_an_estimate_and_no_bounds():
    interval = item_bootstrap(np.array([0.25]))
    assert interval.estimate == 0.25
    assert np.isnan([interval.low, interval.high]).all()


@pytest.mark.parametrize("size", [2, 20])
def test_equal_differences_have_an_interval_without_width(size: int):
    interval = item_bootstrap(np.full(size, 0.5))
    assert (interval.low, interval.high) == pytest.approx((0.5, 0.5))


def test_same_seed_gives_the_same_interval_and_another_seed_another():
    values = np.random.default_rng(5).normal(size=30)
    assert item_bootstrap(values, seed=1) == item_bootstrap(values, seed=1)
    assert item_bootstrap(values, seed=1) != item_bootstrap(values, seed=2)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=20), st.floats(-1, 1), st.floats(0.1, 10))
def test_interval_holds_the_estimate_and_moves_with_shift_and_scale(values: list[float], shift: float, scale: float):
    array = np.array(values)
    plain, moved = (item_bootstrap(a, draws=300) for a in (array, array * scale + shift))
    assert plain.low - 1e-9 <= plain.estimate <= plain.high + 1e-9
    assert (moved.low, moved.high) == pytest.approx((plain.low * scale + shift, plain.high * scale + shift), abs=1e-7)


@pytest.mark.parametrize("values", [[], [np.array([])], [np.ones(3), np.array([])], [np.array([np.nan, 1.0])]])
def test_values_without_a_mean_are_an_error(values: list[np.ndarray]):
    with pytest.raises(ValueError, match=r"no evals|one item at least|not finite"):
        clustered_bootstrap(values)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_level_outside_zero_and_one_is_an_error(level: float):
    with pytest.raises(ValueError, match="level"):
        item_bootstrap(np.arange(10.0), level=level)
