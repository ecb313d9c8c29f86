"""What has no score is asked again, and what has one is not."""

import polars as pl
import pytest

from steadfast.errors import SteadfastError
from steadfast.evals.completion import complete, read_rows, unscored, without_any_score
from steadfast.evals.measure import Condition, Part, Preference, measure
from steadfast.evals.rows import Place
from steadfast.graders import Grade
from steadfast.graders.preference import Nats, ReplyLikelihood, compare_replies
from steadfast.rollouts import Rollout
from tests.evals.conftest import TrainingJudge, scenarios, suite


class Flaky:
    """A subject whose calls fail for some tasks, and that remembers what it was asked."""

    name = "m"
    prefers_by = "letters"

    def __init__(self, *down):
        self.down, self.compared, self.answered = set(down), [], []

    def prefer(self, tasks, mismatched, condition, on_done):
        self.compared += [t.id for t in tasks]
        return [Preference(None, reason="the call failed") if t.id in self.down else Preference(0.5) for t in tasks]

    def answer(self, tasks, condition, on_done):
        self.answered += [t.id for t in tasks]
        return [
            Rollout.without_answer(t, "the model gave no answer")
            if t.id in self.down
            else Rollout.of_text(t, "Straight.")
            for t in tasks
        ]


class Judge:
    name = "judge"
    settings = {}

    def __init__(self, *ungradable):
        self.ungradable = ungradable

    def grade(self, answers):
        return [
            Grade(None, (), self.name, "p", error="rubbish")
            if a.task.id in self.ungradable
            else Grade(1.0, (), self.name, "p")
            for a in answers
        ]


def chosen(kind="eval", *tasks):
    made = suite("ship", *tasks, kind=kind)
    return [Part(made, made.tasks, made.tasks)]


def session(file, subject, judge, parts=None):
    def run(left):
        place, condition = Place("m", 0, "plain"), Condition()
        return measure(subject, left, judge, place=place, condition=condition, training_judge=TrainingJudge())

    return complete(file, "m", parts or chosen(), run)


def test_what_is_complete_is_not_measured_again(tmp_path):
    file = tmp_path / "rows.parquet"
    first = session(file, Flaky(), Judge())
    subject = Flaky()
    assert session(file, subject, Judge()).equals(first)
    assert subject.compared == subject.answered == []


@pytest.mark.parametrize("kind", ["eval", "trait"])
def test_a_failed_call_is_a_null_with_its_reason_and_is_asked_again_alone(tmp_path, kind):
    file = tmp_path / "rows.parquet"
    parts = chosen(kind, *scenarios())
    first = session(file, Flaky("item-1"), Judge(), parts)
    failed = first.filter(pl.col("task") == "item-1")
    assert failed["score"].null_count() == len(failed)
    assert set(failed["reason"]) == {"the call failed", "the model gave no answer"}
    subject = Flaky()
    second = session(file, subject, Judge(), parts)
    assert subject.compared == subject.answered == ["item-1"]
    assert second["score"].null_count() == 0
    assert len(second) == len(first)
    assert second.sort("task", "grader", "judge").equals(
        session(tmp_path / "whole.parquet", Flaky(), Judge(), parts).sort("task", "grader", "judge")
    )
    assert session(file, Flaky("item-0", "item-1"), Judge(), parts).equals(second), "nothing is left to ask"


def test_an_answer_that_the_judge_could_not_grade_is_asked_again_and_its_comparison_is_not(tmp_path):
    file = tmp_path / "rows.parquet"
    session(file, Flaky(), Judge("item-0"))
    subject = Flaky()
    rows = session(file, subject, Judge())
    assert (subject.compared, subject.answered) == ([], ["item-0"])
    assert rows["score"].null_count() == 0


def test_tasks_that_were_never_measured_are_left_to_do():
    (part,) = chosen()
    left = unscored([part], session_rows(Part(part.suite, part.compared, ())))
    assert [(p.compared, p.answered) for p in left] == [((), part.answered)]


def session_rows(part):
    return measure(Flaky(), [part], Judge(), place=Place("m", 0, "plain"), condition=Condition()).rows


def test_a_comparison_with_the_measures_beside_it_is_no_answer():
    class Local(Flaky):
        prefers_by = "preference"

        def prefer(self, tasks, mismatched, condition, on_done):
            likelihood = [ReplyLikelihood(Nats(-1, -2), Nats(-3, -4), Nats(-5, -6))]
            return [Preference(0.5, compared=compare_replies(likelihood, likelihood)) for _ in tasks]

    (part,) = chosen()
    compared = Part(part.suite, part.compared, ())
    rows = measure(Local(), [compared], Judge(), place=Place("m", 0, "plain"), condition=Condition()).rows
    assert [p.answered for p in unscored([part], rows)] == [part.answered]


def test_a_suite_of_which_nothing_was_scored_is_named_with_a_reason(tmp_path):
    rows = session(tmp_path / "rows.parquet", Flaky("item-0", "item-1"), Judge())
    (line,) = without_any_score(rows)
    assert line.startswith("ship on m: none of 2 tasks was scored: ")
    assert without_any_score(session(tmp_path / "other.parquet", Flaky("item-0"), Judge())) == []


def test_a_damaged_table_is_a_sentence_that_names_it(tmp_path):
    file = tmp_path / "rows.parquet"
    file.write_bytes(b"rubbish")
    with pytest.raises(SteadfastError, match="not a readable Parquet table") as caught:
        session(file, Flaky(), Judge())
    assert str(file) in str(caught.value)


def test_a_table_of_an_earlier_version_is_refused_and_a_nan_is_null(tmp_path):
    rows = session(tmp_path / "rows.parquet", Flaky(), Judge())
    old = tmp_path / "old.parquet"
    rows.drop("condition").write_parquet(old)
    with pytest.raises(SteadfastError, match="columns missing: condition"):
        read_rows(old)
    rows.with_columns(score=pl.lit(float("nan"))).write_parquet(old)
    assert read_rows(old)["score"].null_count() == len(rows)
