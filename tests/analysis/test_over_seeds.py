"""A null outside the ladder says what size the training seeds would have found."""

import polars as pl
import pytest

from steadfast.analysis.over_seeds import over_seeds
from steadfast.analysis.seeds import detectable_effect
from steadfast.report.wording import seeds


def rows(by_arm):
    """Two suites of one and of three tasks; every task of an arm and seed has the same score but for its suite."""
    return pl.DataFrame(
        [
            {"checkpoint": arm, "seed": seed, "suite": suite, "task": f"{suite}-{i}", "score": score + shift}
            for (arm, seed), score in by_arm.items()
            for suite, tasks, shift in (("a", 1, 0.1), ("b", 3, 0.0))
            for i in range(tasks)
        ]
    )


def test_the_difference_is_taken_within_each_seed_and_suites_weigh_the_same():
    table = rows({("t", 0): 0.5, ("t", 1): 0.6, ("t", 2): 0.4, ("c", 0): 0.4, ("c", 1): 0.4, ("c", 2): 0.4})
    found = over_seeds(table, "t", "c")
    assert found.seeds == 3
    assert found.difference.estimate == pytest.approx(0.1)
    assert found.detectable == pytest.approx(detectable_effect(0.1, 3))
    sentence = seeds(found).replace("\N{MINUS SIGN}", "-")
    assert sentence.startswith(" Over 3 training seeds it is +10.0 [-14.8, 34.8]; they find a change of 32.6 points")


def test_a_model_without_a_seed_is_held_against_every_seed():
    table = rows({("t", 0): 0.5, ("t", 1): 0.7, ("pre", None): 0.4})
    assert over_seeds(table, "t", "pre").difference.estimate == pytest.approx(0.2)


def test_one_training_run_says_nothing_of_seeds():
    assert over_seeds(rows({("t", 0): 0.5, ("c", 0): 0.4}), "t", "c") is None
    assert seeds(None) == ""
