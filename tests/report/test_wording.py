import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from steadfast.analysis.points import bounds, points
from steadfast.report.limits import detectable
from steadfast.report.wording import direction


def test_points_have_a_sign_and_no_negative_zero() -> None:
    assert [points(v) for v in (0.0123, -0.0123, -0.0001, 0.0)] == ["+1.2", "\N{MINUS SIGN}1.2", "0.0", "0.0"]
    assert points(math.nan) == "unknown"


def test_an_interval_that_is_no_interval_says_so() -> None:
    assert bounds(math.nan, math.nan) == "[interval unknown: one value]"
    assert bounds(0.0, 0.0) == "[no spread]"
    assert bounds(-0.01, 0.02) == "[\N{MINUS SIGN}1.0, 2.0]"


@given(st.floats(-1, 1), st.floats(0, 1))
def test_a_direction_is_claimed_only_when_the_interval_leaves_out_zero(low: float, width: float) -> None:
    high = low + width
    assert direction(low, high) == (1 if low > 0 else -1 if high < 0 else 0)
    assert direction(math.nan, math.nan) == 0


def test_the_detectable_difference_is_found_four_times_in_five() -> None:
    error = 0.02
    half = norm.ppf(0.975) * error
    found = norm.sf(norm.ppf(0.975) - detectable(-half, half) / error)
    assert found == pytest.approx(0.8, abs=1e-6)
