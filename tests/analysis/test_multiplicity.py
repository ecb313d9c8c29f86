import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from steadfast.analysis import benjamini_hochberg, paired_permutation_test

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


@given(P_VALUES)
def test_q_values_agree_with_statsmodels(p_values: list[float]):
    assert benjamini_hochberg(p_values) == pytest.approx(multipletests(p_values, method="fdr_bh")[1])


@given(P_VALUES, st.integers(1, 5))
def test_tests_that_could_not_be_made_stay_nan_and_do_not_count(p_values: list[float], missing: int):
    q_values = benjamini_hochberg([np.nan] * missing + p_values)
    assert np.isnan(q_values[:missing]).all()
    assert q_values[missing:] == pytest.approx(benjamini_hochberg(p_values))


def test_q_values_of_benjamini_and_hochberg_s_own_example_reject_its_four_hypotheses():
    # The 15 p-values of the paper's section 3.2, of which the procedure rejects the first four at 0.05.
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
    ]
    assert (benjamini_hochberg([*p, 0.7590, 1.0]) <= 0.05).sum() == 4


def test_nothing_to_adjust_gives_nothing():
    assert benjamini_hochberg([]).shape == (0,)
    assert np.isnan(benjamini_hochberg([np.nan, np.nan])).all()


def test_p_value_outside_zero_and_one_is_an_error():
    with pytest.raises(ValueError, match="between 0 and 1"):
        benjamini_hochberg([0.5, 1.5])


def false_discovery_share(significant: np.ndarray, null: np.ndarray) -> float:
    return float((significant & null).sum() / max(significant.sum(), 1))


def test_false_discovery_rate_is_0_04_at_q_0_05_when_80_percent_of_evals_are_null():
    # With independent tests it is the null share times q exactly (Benjamini & Yekutieli 2001, theorem 5.1).
    rng = np.random.default_rng(0)
    null = np.arange(50) >= 10
    z = rng.normal(np.where(null, 0.0, 3.0), 1.0, size=(3_000, 50))
    p_values = 2 * stats.norm.sf(np.abs(z))
    shares = [false_discovery_share(benjamini_hochberg(p) <= 0.05, null) for p in p_values]
    assert np.mean(shares) == pytest.approx(0.04, abs=4 * stats.sem(shares))


def test_paired_tests_with_adjustment_keep_the_false_discovery_rate_and_find_the_true_effects():
    rng = np.random.default_rng(1)
    null = np.arange(20) >= 4
    shares: list[float] = []
    found: list[float] = []
    for study in range(60):
        differences = rng.normal(np.where(null, 0.0, 0.5)[:, None], 0.4, size=(20, 16))
        p = [paired_permutation_test(d, resamples=999, seed=study) for d in differences]
        significant = benjamini_hochberg(p) <= 0.05
        shares.append(false_discovery_share(significant, null))
        found.append(float(significant[~null].mean()))
    assert np.mean(shares) <= 0.05 + 2 * stats.sem(shares)
    assert np.mean(found) > 0.8
