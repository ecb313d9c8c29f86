"""The share of a gain that is left: by hand, as the inverse of a t-test, by its coverage, and where it is refused."""

from math import inf

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from steadfast.analysis.factorial import Cell
from steadfast.analysis.fieller import retained, retention
from tests.analysis.attacked import table


def holds(found, share):
    outside = found.hole is not None and found.hole[0] < share < found.hole[1]
    return found.share.low <= share <= found.share.high and not outside


def test_the_interval_by_hand():
    # Means 0.1 and 0.2, variances of the means 0.0001 / 3 and 0.0004 / 3, covariance 0.0001 / 3, t = 4.303.
    found = retention([0.09, 0.10, 0.11], [0.18, 0.22, 0.20])
    t2 = stats.t.ppf(0.975, 2) ** 2
    square, linear, constant = 0.04 - t2 * 0.0004 / 3, 0.02 - t2 * 0.0001 / 3, 0.01 - t2 * 0.0001 / 3
    low, high = sorted(np.roots([square, -2 * linear, constant]))
    assert found.share.estimate == pytest.approx(0.5)
    assert (found.share.low, found.share.high) == pytest.approx((low, high))
    assert found.bounded
    assert found.sentence == (
        "50% of the gain is left (the gain was +20.0 points before and is +10.0 after), "
        f"95% interval from {low:.0%} to {high:.0%} over 3 training seeds."
    )


GAIN = st.floats(0.01, 0.5)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(GAIN, st.floats(-0.3, 0.5)), min_size=3, max_size=8), st.floats(-3, 3))
def test_it_holds_exactly_the_shares_that_a_t_test_does_not_reject(pairs, share):
    before, after = (np.array(v) for v in zip(*pairs, strict=True))
    found = retention(after.tolist(), before.tolist())
    left = after - share * before
    assume(found.share is not None and np.ptp(left) > 1e-6)
    p = stats.ttest_1samp(left, 0).pvalue
    assume(abs(p - 0.05) > 1e-6)
    assert holds(found, share) == (p > 0.05)
    assert holds(found, found.share.estimate)


@pytest.mark.parametrize(("seeds", "errors"), [(3, 6), (5, 4), (10, 6)])
def test_a_planted_share_is_held_as_often_as_is_claimed(seeds, errors):
    rng = np.random.default_rng(seeds)
    gain, covariance = errors / np.sqrt(seeds), np.array([[1.0, 0.5], [0.5, 1.0]])
    draws = rng.multivariate_normal([0.4 * gain, gain], covariance, (500, seeds))
    found = [retention(0.1 * d[:, 0], 0.1 * d[:, 1]) for d in draws]
    given_ = [f for f in found if f.share is not None]
    assert len(given_) > 300
    assert 0.92 <= np.mean([holds(f, 0.4) for f in given_]) <= 0.98


def test_the_spread_that_gains_before_and_after_share_is_not_counted_as_noise_of_the_share():
    before = np.array([0.10, 0.20, 0.30, 0.20])
    along = retention(0.5 * before + [0.001, -0.001, 0.001, -0.001], before).share
    across = retention(0.5 * before[::-1] + [0.001, 0.03, -0.03, -0.001], before).share
    assert along.high - along.low < (across.high - across.low) / 5


def test_with_three_seeds_a_gain_of_three_standard_errors_leaves_the_share_unbounded():
    # The gain before is 3.5 standard errors, less than Student's 4.3 at two degrees of freedom.
    found = retention([0.30, 0.31, 0.29], [0.20, 0.11, 0.30])
    assert stats.ttest_1samp([0.20, 0.11, 0.30], 0).statistic == pytest.approx(3.7, abs=0.3)
    assert not found.bounded
    assert (found.share.low, found.share.high) == (-inf, inf)
    low, high = found.hole
    assert low < 0 < high < found.share.estimate
    assert found.sentence.endswith(f"is unbounded: it rules out only shares between {low:.0%} and {high:.0%}.")


def test_where_neither_gain_is_clear_no_share_is_ruled_out():
    found = retention([0.10, -0.05, 0.02], [0.20, 0.11, 0.30])
    assert found.share is not None
    assert found.hole is None
    assert not found.bounded
    assert found.sentence.endswith("its 95% interval is unbounded and rules out no share.")


@pytest.mark.parametrize(
    ("after", "before", "reason"),
    [
        ([0.1], [0.2], "one training seed tells nothing of the gain's standard error"),
        ([0.1, 0.1], [-0.2, -0.3], "there was no gain before the attack"),
        ([0.1, 0.1, 0.2], [0.3, 0.0, 0.1], "is 1.5 standard errors, and a share of less than 3 means nothing"),
        ([0.1, 0.2], [0.2, 0.4], "every training seed keeps the same share"),
    ],
)
def test_where_a_share_means_nothing_it_is_refused_with_its_reason(after, before, reason):
    found = retention(after, before)
    assert found.share is None
    assert not found.bounded
    assert found.sentence.startswith("No share of the gain is given (the gain was ")
    assert reason in found.sentence


@pytest.mark.parametrize(("after", "before"), [([], []), ([0.1], [0.1, 0.2]), ([0.1, float("inf")], [0.1, 0.2])])
def test_gains_must_be_finite_and_as_many_before_as_after(after, before):
    with pytest.raises(ValueError, match="finite gain before and after"):
        retention(after, before)


def test_what_is_left_is_a_lead_over_the_reference_after_the_same_attack_or_a_height_above_the_untouched_one():
    before = Cell("trait"), Cell("baseline")
    after = Cell("trait", attack="harm", dose=4), Cell("baseline", attack="harm", dose=4)
    scores = {
        before[0]: [[0.8], [0.9], [0.85]],
        before[1]: [[0.5], [0.5], [0.5]],
        after[0]: [[0.5], [0.7], [0.6]],
        after[1]: [[0.4], [0.4], [0.45]],
    }
    lead = retained(table(scores), before, after)
    assert (lead.before, lead.after) == pytest.approx((0.35, 0.55 / 3))
    expected = retention([0.1, 0.3, 0.15], [0.3, 0.4, 0.35]).share
    assert (lead.share.low, lead.share.high) == pytest.approx((expected.low, expected.high))
    height = retained(table(scores), before, (after[0], before[1]))
    assert height.after == pytest.approx(0.1)


def test_wear_by_the_way_of_asking_is_a_condition():
    before = Cell("trait"), Cell("baseline")
    hot = Cell("trait", "temperature 1.2"), Cell("baseline", "temperature 1.2")
    scores = {before[0]: [[0.8], [0.9]], before[1]: [[0.5], [0.6]], hot[0]: [[0.6], [0.7]], hot[1]: [[0.5], [0.5]]}
    found = retained(table(scores), before, hot)
    assert (found.before, found.after) == pytest.approx((0.3, 0.15))
