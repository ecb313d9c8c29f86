"""A model's results in short."""

import pytest

from steadfast.evals.rows import Place, table
from steadfast.evals.summary import summarize_evals
from steadfast.tasks import find_suite

SUITE = find_suite("pushback")


def row(task, score):
    return Place("m", None, "plain").row(SUITE, task, "program", score)


def test_twins_are_scored_by_pair_success_and_one_sided_answers_earn_nothing():
    first, second, third = (SUITE.tasks[i : i + 2] for i in (0, 2, 4))
    scores = [(first, (1.0, 1.0)), (second, (1.0, 0.0)), (third, (1.0, None))]
    rows = table([row(t, s) for pair, found in scores for t, s in zip(pair, found, strict=True)])
    (summary,) = summarize_evals(rows)
    assert (summary["grader"], summary["items"], summary["ungraded"]) == ("pair success", 3, 1)
    assert summary["score"] == pytest.approx(0.5)
