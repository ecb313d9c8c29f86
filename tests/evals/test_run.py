"""A whole evaluation through Inspect on a tiny model."""

import json

import polars as pl
import pytest
from inspect_ai.log import list_eval_logs, read_eval_log

from steadfast.evals.run import evaluate
from steadfast.evals.schema import RESULT_SCHEMA
from steadfast.evals.tasks import preference
from steadfast.models import score_candidates
from steadfast.models.chat import encode_chat
from tests.evals.conftest import EVALS


def test_every_item_has_a_row_under_each_scoring(measured):
    found = {(r["kind"], r["eval"], r["scoring"], r["item"]) for r in measured.rows.iter_rows(named=True)}
    items = ("item-0", "item-1")
    expected = {("battery", e, s, i) for e in EVALS for s in ("choice", "generation") for i in items}
    expected |= {("chat", "chat-everyday-requests", "generation", i) for i in items}
    expected |= {("trait", "trait:truthfulness", s, i) for s in ("choice", "generation") for i in items}
    expected |= {("capability", "capability-sums", "verified", i) for i in ("sum-0", "sum-1")}
    assert found == expected
    assert len(measured.rows) == len(expected)


def test_rows_have_the_columns_and_names_that_later_steps_read(measured):
    assert dict(measured.rows.schema) == RESULT_SCHEMA
    assert set(measured.rows["checkpoint"]) == {"pre-rl"}
    by_eval = {r["eval"]: (r["construct"], r["domain"], r["source"]) for r in measured.rows.iter_rows(named=True)}
    assert by_eval["health-triage"] == ("health", "health", "steadfast")
    assert by_eval["trait:truthfulness"][:2] == ("truthfulness", "health")


def test_an_ungraded_answer_is_null_and_its_answer_is_kept(measured):
    judged = measured.rows.filter(pl.col("scoring") == "generation")
    assert set(judged.filter(pl.col("item") == "item-1")["score"]) == {None}
    assert set(judged.filter(pl.col("item") == "item-0")["score"]) == {0.75}
    assert judged["answer"].null_count() == 0


def test_the_row_of_an_ungraded_answer_says_why(measured):
    row = measured.only(kind="battery", scoring="generation", item="item-1").row(0, named=True)
    assert "rubbish from the judge" in row["detail"]


def test_an_ungraded_answer_does_not_pull_down_the_mean(measured):
    assert measured.only(kind="battery", scoring="generation")["score"].mean() == 0.75


def test_grades_come_with_their_judge_protocol_and_verdicts(measured):
    row = measured.only(kind="battery", scoring="generation").row(0, named=True)
    detail = json.loads(row["detail"])
    assert (detail["judge"], detail["protocol"]) == ("evaluation-fake", "p")
    assert detail["verdicts"] == [["Says it straight.", 0.75]]


def test_the_training_judge_stands_beside_the_evaluation_judge_and_never_in_its_place(measured):
    row = measured.only(kind="trait", scoring="generation").row(0, named=True)
    detail = json.loads(row["detail"])
    assert row["score"] == 0.75
    assert (detail["training_judge"], detail["training_judge_score"]) == ("training-fake", 0.125)


def test_choice_scores_are_the_preference_by_likelihood(measured, measurement, tiny_model):
    rows = measured.only(kind="battery", scoring="choice", eval="health-triage")
    for row, item in zip(rows.iter_rows(named=True), measurement.evals["health-triage"][1], strict=True):
        prompt = encode_chat(tiny_model.tokenizer, item.messages)
        replies = [tiny_model.tokenizer(t, add_special_tokens=False)["input_ids"] for t in (*item.good, *item.bad)]
        (scores,) = score_candidates(tiny_model.lm, [(prompt, replies)])
        assert row["score"] == pytest.approx(preference(scores[:2], scores[2:]), abs=1e-6)
        assert 0 < row["score"] < 1
        assert row["score"] != 0.5


def test_choice_scoring_invents_no_answer_and_no_refusal(measured):
    rows = measured.rows.filter(pl.col("scoring") == "choice")
    assert rows["answer"].null_count() == rows["refused"].null_count() == len(rows)


def test_an_answer_cut_off_by_the_limit_is_marked_and_earns_no_capability(measured):
    rows = measured.only(kind="capability")
    for row in rows.iter_rows(named=True):
        assert row["score"] == (0.5 if row["finished"] else 0.0)
        assert json.loads(row["detail"])["gate"] == (None if row["finished"] else "truncated")
    assert not rows["finished"].all()


def test_progress_adds_up_to_the_requests_that_were_announced(measured, measurement):
    # Twelve conversations of 2 evals, chat, traits and capability; six choice requests.
    assert measurement.requests == 16
    assert sum(measured.progress) == measurement.requests


def test_logs_can_be_read_back_and_tell_ungraded_from_wrong(measured):
    logs = {log.eval.task: log for log in map(read_eval_log, list_eval_logs(str(measured.log_dir)))}
    assert set(logs) == {
        *(f"{e}-{s}" for e in EVALS for s in ("choice", "generation")),
        "chat-everyday-requests-generation",
        "held-out-traits-choice",
        "held-out-traits-generation",
        "capability-sums-generation",
    }
    for log in logs.values():
        assert log.status == "success"
        assert len(log.samples) == 2
    by_item = {s.id: s for s in logs["health-triage-generation"].samples}
    (graded,), (ungraded,) = (by_item[i].scores.values() for i in ("item-0", "item-1"))
    assert graded.value == 0.75
    assert ungraded.value != 0
    assert ungraded.reason == "rubbish from the judge"
    assert (
        by_item["item-0"].output.completion
        == measured.only(eval="health-triage", scoring="generation", item="item-0")["answer"].item()
    )


def test_the_metric_in_the_log_leaves_ungraded_answers_out(measured):
    (log,) = (
        log
        for log in map(read_eval_log, list_eval_logs(str(measured.log_dir)))
        if log.eval.task == "health-triage-generation"
    )
    assert log.results.scores[0].metrics["mean"].value == 0.75


def test_the_same_checkpoint_is_measured_the_same_again(measured, measurement, tiny_model, tmp_path):
    again = evaluate("pre-rl", tiny_model, measurement, tmp_path)
    assert again.drop("detail").equals(measured.rows.drop("detail"))
