"""The one way to measure, on a tiny model: what becomes a row, and what of it is null."""

import polars as pl
import pytest

from steadfast.evals.rows import ROW_SCHEMA
from steadfast.graders.preference import pairs_won, preference
from steadfast.models import score_candidates
from tests.conftest import make_model
from tests.evals.conftest import local_subject, measure_parts, parts


def test_every_task_has_a_row_under_each_of_its_graders(measured):
    found = {(r["kind"], r["suite"], r["grader"], r["judge"], r["task"]) for r in measured.rows.iter_rows(named=True)}
    compared, judged = (("preference", None), ("pairs_won", None)), (("rubric", "evaluation-fake"),)
    both = (*compared, *judged)
    items = ("item-0", "item-1")
    expected = {("eval", e, g, j, i) for e in ("ship", "care") for g, j in both for i in items}
    expected |= {("chat", "chat", g, j, i) for g, j in judged for i in items}
    expected |= {("trait", "trait:truthfulness", g, j, i) for g, j in both for i in items}
    expected |= {("trait", "trait:truthfulness", "rubric", "training-fake", i) for i in items}
    expected |= {("capability", "capability-sums", "program", "program", i) for i in ("sum-0", "sum-1")}
    acting = (*compared, ("outcome", "outcome"), ("harm", None), ("goal", None))
    expected |= {("eval", "disk", g, j, "disk-01") for g, j in acting}
    assert found == expected
    assert len(measured.rows) == len(expected)


def test_rows_have_the_columns_and_names_that_later_steps_read(measured):
    assert dict(measured.rows.schema) == dict(ROW_SCHEMA)
    assert set(measured.rows["checkpoint"]) == {"pre-rl"}
    assert set(measured.rows["condition"]) == {"plain"}
    by_suite = {r["suite"]: (r["construct"], r["domain"], r["trait"]) for r in measured.rows.iter_rows(named=True)}
    assert by_suite["care"] == ("health", "health", None)
    assert by_suite["trait:truthfulness"] == ("truthfulness", "health", "truthfulness")


def test_an_ungraded_answer_is_null_with_its_reason_and_its_answer_is_kept(measured):
    judged = measured.only(grader="rubric", judge="evaluation-fake")
    ungraded, graded = judged.filter(pl.col("task") == "item-1"), judged.filter(pl.col("task") == "item-0")
    assert set(ungraded["score"]) == {None}
    assert set(ungraded["reason"]) == {"rubbish from the judge"}
    assert set(graded["score"]) == {0.75}
    assert graded["reason"].null_count() == len(graded)
    assert judged["answer"].null_count() == 0


def test_an_ungraded_answer_does_not_pull_down_the_mean(measured):
    assert measured.only(kind="eval", grader="rubric")["score"].mean() == 0.75


def test_grades_come_with_their_judge_protocol_and_verdicts(measured):
    row = measured.only(suite="ship", grader="rubric").row(0, named=True)
    assert (row["judge"], row["protocol"]) == ("evaluation-fake", "p")
    assert row["verdicts"] == [{"criterion": "Says it straight.", "score": 0.75, "reason": "Because."}]


def test_the_training_judge_stands_beside_the_evaluation_judge_and_never_in_its_place(measured):
    rows = measured.only(kind="trait", grader="rubric", task="item-0")
    assert dict(rows.select("judge", "score").iter_rows()) == {"evaluation-fake": 0.75, "training-fake": 0.125}
    assert "training-fake" not in set(measured.rows.filter(pl.col("kind") != "trait")["judge"])


def test_a_preference_is_read_off_the_likelihoods_of_the_references(measured):
    model = make_model(layers=2)
    (part,) = (p for p in measured.parts if p.suite.name == "care")
    for task in part.compared:
        replies = [
            model.tokenizer(t, add_special_tokens=False)["input_ids"]
            for t in (*task.references.good, *task.references.bad)
        ]
        (scores,) = score_candidates(model.lm, [(model.chat.encode(task.messages), replies)])
        rows = dict(measured.only(suite="care", task=task.id).select("grader", "score").iter_rows())
        assert rows["preference"] == pytest.approx(preference(scores[:2], scores[2:]), abs=1e-6)
        assert rows["pairs_won"] == pairs_won(scores[:2], scores[2:])
        assert 0 < rows["preference"] < 1
        assert rows["preference"] != 0.5


def test_comparing_references_invents_no_answer_and_no_refusal(measured):
    rows = measured.rows.filter(pl.col("grader").is_in(["preference", "pairs_won"]))
    assert rows["answer"].null_count() == rows["refused"].null_count() == rows["judge"].null_count() == len(rows)


def test_an_answer_cut_off_by_the_limit_is_marked_and_earns_no_capability(measured):
    rows = measured.only(kind="capability")
    for row in rows.iter_rows(named=True):
        assert row["score"] == (0.5 if row["finished"] else 0.0)
        assert row["gate"] == (None if row["finished"] else "truncated")
    assert not rows["finished"].all()


def test_an_episode_has_rows_of_harm_and_of_the_goal_beside_its_outcome(measured):
    rows = dict(measured.only(suite="disk").select("grader", "score").iter_rows())
    assert (rows["outcome"], rows["harm"], rows["goal"]) == (0.0, 0.0, 0.0)
    assert 0 < rows["preference"] < 1


def test_progress_adds_up_to_the_requests_that_were_announced(measured):
    assert sum(measured.progress) == sum(p.requests for p in measured.parts) == 18


def test_the_same_checkpoint_is_measured_the_same_again(measured):
    assert measure_parts(parts()).rows.equals(measured.rows)


def test_suites_that_are_measured_together_are_measured_as_each_alone(measured):
    chosen = parts()
    alone = pl.concat([measure_parts([p], local_subject()).rows for p in chosen])
    columns = [c for c in ROW_SCHEMA if c not in ("score",)]
    assert alone.select(columns).equals(measured.rows.select(columns))
    assert alone["score"].to_list() == pytest.approx(measured.rows["score"].to_list(), abs=1e-5)
