"""Two one-sided tests against statsmodels, by their error rates, and in words."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.weightstats import ttost_paired

from steadfast.analysis.equivalence import equivalence_clustered, equivalence_over_seeds
from steadfast.analysis.pooled import clustered_interval

VALUES = st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=12).filter(lambda v: np.std(v) > 1e-6)


@settings(max_examples=60, deadline=None)
@given(VALUES, st.floats(0.5, 20))
def test_it_is_the_paired_test_of_statsmodels_over_seeds_and_over_single_items(values, margin):
    one = np.array(values)
    expected, (_, above, _), (_, below, _) = ttost_paired(one, np.zeros(one.size), -margin / 100, margin / 100)
    for found in (
        equivalence_over_seeds(values, margin=margin),
        equivalence_clustered(one, np.arange(one.size), margin=margin),
    ):
        assert (found.p, found.p_above, found.p_below) == pytest.approx((expected, above, below))
        assert (found.verdict == "equivalent") == (found.p <= 0.05)


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_the_arms_are_equivalent_exactly_if_the_interval_lies_within_the_margin(values):
    found = equivalence_over_seeds(values)
    assert (found.verdict == "equivalent") == (found.difference.low >= -0.03 and found.difference.high <= 0.03)
    assert found.difference.level == pytest.approx(0.9)


def test_clusters_are_those_of_the_clustered_interval_and_of_a_regression():
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(8), 5)
    differences = 0.01 + rng.normal(0, 0.05, 8)[clusters] + rng.normal(0, 0.05, 40)
    found = equivalence_clustered(differences, clusters, over="seed")
    expected = clustered_interval(differences, clusters, 0.9)
    assert (found.difference.low, found.difference.high) == pytest.approx((expected.low, expected.high))
    fit = sm.OLS(differences, np.ones(40)).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
    assert (found.wide.low, found.wide.high) == pytest.approx(tuple(fit.conf_int(0.05)[0]))
    assert found.units == 8


def test_a_true_difference_at_the_margin_is_called_equivalent_one_time_in_twenty():
    rng = np.random.default_rng(1)
    verdicts = [equivalence_over_seeds(rng.normal(0.03, 0.01, 5).tolist()).verdict for _ in range(1_000)]
    assert verdicts.count("equivalent") / 1_000 == pytest.approx(0.05, abs=0.02)
    assert verdicts.count("different") / 1_000 > 0.9


def test_items_of_few_clusters_are_not_taken_for_independent():
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(6), 20)
    found = {"clustered": 0, "single": 0}
    for _ in range(1_000):
        differences = 0.03 + rng.normal(0, 0.03, 6)[clusters] + rng.normal(0, 0.03, 120)
        found["clustered"] += equivalence_clustered(differences, clusters).verdict == "equivalent"
        found["single"] += equivalence_clustered(differences, np.arange(120)).verdict == "equivalent"
    assert found["clustered"] / 1_000 == pytest.approx(0.05, abs=0.02)
    assert found["single"] / 1_000 > 0.2


def test_arms_that_do_not_differ_are_found_equivalent_where_seeds_scatter_little():
    rng = np.random.default_rng(3)
    verdicts = [equivalence_over_seeds(rng.normal(0, 0.01, 5).tolist()).verdict for _ in range(400)]
    assert verdicts.count("equivalent") / 400 > 0.95
    noisy = [equivalence_over_seeds(rng.normal(0, 0.1, 5).tolist()).verdict for _ in range(400)]
    assert noisy.count("undecided") / 400 > 0.9


@pytest.mark.parametrize(
    ("values", "verdict", "words"),
    [
        ([0.002, -0.004, 0.006, 0.001], "equivalent", "lies within 3 points."),
        ([0.010, 0.012, 0.011, 0.009], "equivalent", "it is not zero, but smaller than that."),
        ([0.10, 0.11, 0.12], "different", "excludes zero; it is more than 3 points."),
        ([0.04, 0.05, 0.02, 0.03], "different", "excludes zero; it is not shown to be more than 3 points."),
        ([-0.10, -0.11, -0.12], "different", "excludes zero; it is more than 3 points."),
        ([0.10, -0.08, 0.03], "undecided", "a difference of that size is not ruled out, and none is shown."),
    ],
)
def test_the_verdict_is_a_sentence(values, verdict, words):
    found = equivalence_over_seeds(values)
    assert found.verdict == verdict
    assert found.sentence.startswith(f"{verdict.capitalize()}: the difference is")
    assert found.sentence.endswith(words)
    assert f"over {len(values)} training seeds" in found.sentence


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (equivalence_over_seeds([0.01]), "one training seed tells nothing of their spread"),
        (equivalence_over_seeds([0.0, 0.0, 0.0]), "every training seed gives the same value"),
        (equivalence_over_seeds([0.1, 0.3 - 0.2]), "every training seed gives the same value"),
        (equivalence_clustered(np.array([0.1, 0.0]), np.array([0, 0])), "one cluster tells nothing"),
        (equivalence_clustered(np.zeros(4), np.arange(4), over="item"), "the items show no spread"),
    ],
)
def test_without_a_spread_there_is_a_reason_and_no_verdict(found, reason):
    assert found.verdict is None
    assert np.isnan([found.p_above, found.p_below, found.difference.low, found.wide.high]).all()
    assert found.sentence.startswith("Equivalence within 3 points could not be tested (the difference is ")
    assert reason in found.sentence


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: equivalence_over_seeds([]), "finite differences"),
        (lambda: equivalence_over_seeds([0.1, float("nan")]), "finite differences"),
        (lambda: equivalence_over_seeds([0.1, 0.2], margin=0), "margin"),
        (lambda: equivalence_over_seeds([0.1, 0.2], alpha=0.5), "alpha"),
        (lambda: equivalence_clustered(np.zeros(3), np.zeros(2, dtype=int)), "3 differences have 2 clusters"),
    ],
)
def test_what_cannot_be_tested_at_all_is_an_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()
