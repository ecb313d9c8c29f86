import numpy as np
import pytest

from steadfast.graders.exam.calibration import calibration, monotone_map


def test_a_judge_that_always_says_half_is_calibrated_and_has_a_brier_score_of_a_quarter():
    result = calibration(np.full(10, 0.5), np.array([0.0, 1.0] * 5))
    assert result["brier"] == pytest.approx(0.25)
    assert result["ece"] == pytest.approx(0)


def test_a_perfect_judge_has_neither_error():
    result = calibration(np.array([1.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0]))
    assert (result["brier"], result["ece"]) == (0, 0)
    assert [(b["low"], b["answers"]) for b in result["bins"]] == [(0.0, 1), (0.9, 2)]


def test_calibration_error_weighs_bins_by_their_answers():
    scores = np.array([0.2] * 6 + [0.8] * 2)
    good = np.array([0.0] * 3 + [1.0] * 3 + [1.0] * 2)
    assert calibration(scores, good)["ece"] == pytest.approx(6 / 8 * 0.3 + 2 / 8 * 0.2)


def test_the_map_never_falls_and_follows_the_shares_it_was_fitted_on():
    scores = np.array([0.1, 0.1, 0.4, 0.4, 0.6, 0.6])
    good = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    mapped = monotone_map(scores, good)
    assert mapped(np.array([0.1, 0.4, 0.6])).tolist() == [0, 0.5, 1]
    assert mapped(np.array([0.0, 0.25, 0.9])).tolist() == pytest.approx([0, 0.25, 1])


def test_where_the_shares_fall_the_map_is_flat():
    mapped = monotone_map(np.array([0.2, 0.5]), np.array([1.0, 0.0]))
    assert mapped(np.array([0.2, 0.3, 0.5])).tolist() == [0.5, 0.5, 0.5]
