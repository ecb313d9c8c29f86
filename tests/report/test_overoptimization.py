"""A reward that outgrows every other measure is called over-optimization, in words."""

import json
from pathlib import Path

import pytest

from steadfast.report.loading import load_run
from steadfast.report.overoptimization import overoptimization
from steadfast.report.summary import all_comparisons

from .synthetic import STEPS, TRAINING_JUDGE, Row, make_run


def opinions(directory: Path, trained: float, other: float) -> None:
    """Both judges' scores of the health-only arm's rollouts, with the given rise over training."""
    steps = [
        {"step": s, "answers": 24, "trained": 0.2 + trained * s / STEPS, "other": 0.2 + other * s / STEPS}
        for s in range(1, STEPS + 1)
    ]
    file = directory / "arms" / "health-only" / "seed-0" / "second_opinion.jsonl"
    file.write_text("".join(json.dumps(s) + "\n" for s in steps))


def said(directory: Path) -> str:
    run = load_run(directory)
    return " ".join(overoptimization(run, all_comparisons(run)[0]))


def lifted_by_the_training_judge_alone(row: Row) -> Row:
    by_training_judge = row["kind"] == "trait" and row["judge"] == TRAINING_JUDGE
    return row | {"score": row["score"] + 0.3} if by_training_judge and row["checkpoint"] == "health-only" else row


def test_a_rise_by_the_training_judge_alone_is_called_a_sign_of_it(tmp_path):
    text = said(make_run(tmp_path / "run", edit=lifted_by_the_training_judge_alone))
    assert "A sign of over-optimization" in text
    assert "by the evaluation judge it changes by" in text


def test_a_rise_that_all_measures_share_is_not(tmp_path):
    assert said(make_run(tmp_path / "run", trait_effect={"health-only": 0.2})) == ""


@pytest.mark.parametrize(("other", "falls"), [(-0.2, True), (0.1, False)])
def test_both_judges_are_compared_over_training(tmp_path, other, falls):
    directory = make_run(tmp_path / "run", trait_effect={"health-only": 0.2})
    opinions(directory, 0.3, other)
    text = said(directory)
    assert "the gap between the judges grew" in text
    assert ("while the other judge's score falls is over-optimization" in text) is falls


def test_the_other_judges_curve_stands_in_the_report(tmp_path):
    directory = make_run(tmp_path / "run")
    opinions(directory, 0.3, 0.1)
    from steadfast.report.page import render

    assert "other judge: trait" in render(load_run(directory))
