from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from steadfast.analysis import paired_permutation_test

# Halves and quarters add up exactly, so that ties are ties.
QUARTERS = st.lists(st.integers(-4, 4).map(lambda n: n / 4), min_size=2, max_size=7)


def p_by_enumeration(differences: np.ndarray) -> float:
    signs = np.array(list(product([-1, 1], repeat=len(differences))))
    return float((np.abs(signs @ differences) >= abs(differences.sum())).mean())


@settings(max_examples=50, deadline=None)
@given(QUARTERS)
def test_p_value_of_few_items_is_the_share_of_sign_patterns_as_extreme(differences: list[float]):
    assert paired_permutation_test(differences) == pytest.approx(p_by_enumeration(np.array(differences)))


@settings(max_examples=25, deadline=None)
@given(QUARTERS)
def test_p_value_does_not_depend_on_which_arm_is_which(differences: list[float]):
    assert paired_permutation_test(differences) == paired_permutation_test([-d for d in differences])


def test_p_value_of_many_items_agrees_with_scipy_s_paired_t_test():
    rng = np.random.default_rng(0)
    treatment, control = rng.normal(0.2, 1, size=100), rng.normal(0, 1, size=100)
    expected = stats.ttest_rel(treatment, control).pvalue
    assert 0.01 < expected < 0.5  # else agreement would say little
    assert paired_permutation_test(treatment - control) == pytest.approx(expected, abs=0.02)


def test_test_without_an_effect_rejects_5_percent_at_0_05():
    differences = np.random.default_rng(1).normal(size=(800, 7))
    rejected = np.mean([paired_permutation_test(d) <= 0.05 for d in differences])
    # 128 patterns: the exact level is 6/128 = 0.047; four standard errors are 0.03.
    assert rejected == pytest.approx(6 / 128, abs=0.03)


def test_no_item_that_differs_gives_p_1():
    assert paired_permutation_test(np.zeros(10)) == 1.0
    assert paired_permutation_test([0.0, 0.0, 0.5]) == 1.0


def test_items_that_do_not_differ_leave_the_p_value_as_it_is():
    differences = np.random.default_rng(2).normal(0.5, 1, size=8)
    assert paired_permutation_test([*differences, *np.zeros(50)]) == paired_permutation_test(differences)


@pytest.mark.parametrize("differences", [[], [0.5], [0.0]])
def test_fewer_than_two_items_give_no_p_value(differences: list[float]):
    assert np.isnan(paired_permutation_test(differences))


def test_random_sign_patterns_are_seeded_and_bounded():
    differences = np.random.default_rng(3).normal(0.1, 1, size=40)
    one, again, other = (paired_permutation_test(differences, resamples=199, seed=s) for s in (1, 1, 2))
    assert one == again != other
    assert paired_permutation_test(np.ones(40), resamples=199) == pytest.approx(2 / 200)


def test_ungraded_difference_is_an_error():
    with pytest.raises(ValueError, match="not finite"):
        paired_permutation_test([0.1, np.nan, 0.3])
