"""False findings of intervals, on scores whose spread over seeds is known."""

import numpy as np
import pytest

from steadfast.analysis.a_over_a import false_findings


def scores(rng, *, seeds, between, items=64, suites=2):
    """Scores whose mean moves by `between` from one training seed to the next, all suites alike."""
    return {
        s: {f"suite-{k}": 0.5 + shift + rng.normal(0, 0.2, items) for k in range(suites)}
        for s, shift in enumerate(rng.normal(0, between, seeds))
    }


def shares(between, studies=12):
    rng = np.random.default_rng(7)
    found = [false_findings(scores(rng, seeds=8, between=between), splits=150) for _ in range(studies)]
    return {name: np.mean([getattr(f, name) for f in found]) for name in ("by_suite", "over_seeds")}


def test_where_seeds_do_not_differ_every_interval_keeps_its_word():
    found = shares(between=0.0)
    assert found["by_suite"] == pytest.approx(0.05, abs=0.03)
    assert found["over_seeds"] == pytest.approx(0.05, abs=0.03)


def test_where_seeds_differ_intervals_over_items_find_what_is_not_there_and_those_over_seeds_do_not():
    found = shares(between=0.1)
    # The difference of two runs has a standard deviation of 0.1 * sqrt(2), against half an interval of
    # 1.96 * 0.2 * sqrt(2 / 64) over items: beyond it lie 65%, with the items' own noise.
    assert found["by_suite"] == pytest.approx(0.65, abs=0.08)
    assert found["over_seeds"] == pytest.approx(0.05, abs=0.03)


def test_two_groups_need_their_seeds_and_the_same_items():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="need 6 of them, not 5"):
        false_findings(scores(rng, seeds=5, between=0.1))
    made = scores(rng, seeds=6, between=0.1)
    made[3] = {"suite-0": np.zeros(4)}
    with pytest.raises(ValueError, match="same items"):
        false_findings(made)
