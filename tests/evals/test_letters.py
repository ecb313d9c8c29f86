"""The A/B question of `choice` scoring for models that show no likelihoods."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspect_ai.log import list_eval_logs, read_eval_log

from steadfast.evals import EvalItem, select
from steadfast.evals.api_model import evaluate_api, open_api_model
from steadfast.evals.letters import pair_score, parse_letter, question
from steadfast.evals.run import Measurement
from steadfast.messages import Message
from tests.evals import providers  # noqa: F401
from tests.evals.conftest import UNGRADED, EvaluationJudge

NAME = "health-triage"


def items() -> list[EvalItem]:
    return [
        EvalItem(
            id=f"item-{i}",
            messages=(Message(role="system", content="Be brief."), Message(role="user", content=f"Question {i}?")),
            criterion="Says it straight.",
            good=(f"Straight {i}.", f"Straight again {i}."),
            bad=(f"Crooked {i}.",),
        )
        for i in range(2)
    ]


def measure(habit: str, log_dir, *, generated: bool = False):
    evaluation, members = select([NAME])[0], items()
    measurement = Measurement(
        evals={NAME: (evaluation, members)},
        choice=True,
        generated={NAME: members} if generated else {},
        chat=None,
        scenarios=(),
        gold={},
        capability={},
        judge=EvaluationJudge(),
        style=None,
        max_new_tokens=32,
    )
    done: list[int] = []
    model = open_api_model(f"habits/{habit}", max_tokens=32)
    rows = evaluate_api(habit, model, measurement, log_dir, done.append)
    assert sum(done) == measurement.requests
    return rows


@pytest.mark.parametrize("habit", ["always-a", "always-b"])
def test_a_constant_letter_scores_exactly_a_half(habit, tmp_path):
    assert measure(habit, tmp_path)["score"].to_list() == [0.5, 0.5]


def test_a_model_that_picks_the_good_reply_in_both_orders_scores_one(tmp_path):
    assert measure("good", tmp_path)["score"].to_list() == [1.0, 1.0]


def test_a_letter_inside_a_sentence_is_unscored_and_says_why(tmp_path):
    rows = measure("essay", tmp_path)
    assert rows["score"].to_list() == [None, None]
    detail = json.loads(rows["detail"][0])
    assert detail["unreadable_pairs"] == 2
    assert "letter" in detail["ungraded"]


def test_a_model_that_cannot_be_reached_is_unscored_under_both_scorings(tmp_path):
    rows = measure("down", tmp_path, generated=True)
    assert len(rows) == 4
    assert rows["score"].null_count() == 4
    assert all("the service is down" in d for d in rows["detail"])


def test_free_answers_are_asked_for_once_and_graded_by_the_judge(tmp_path):
    rows = measure("polite", tmp_path, generated=True).filter(scoring="generation")
    by_item = {r["item"]: r for r in rows.iter_rows(named=True)}
    assert by_item["item-0"]["score"] == 0.75
    assert by_item[UNGRADED]["score"] is None
    assert by_item["item-0"]["answer"] == "I can't help with that."
    assert by_item["item-0"]["refused"]


def test_the_log_of_graded_answers_names_the_model_and_holds_its_answers(tmp_path):
    measure("polite", tmp_path, generated=True)
    logs = {log.eval.task: log for log in map(read_eval_log, list_eval_logs(str(tmp_path)))}
    log = logs[f"{NAME}-generation"]
    assert "habits/polite" in log.eval.model
    assert {s.output.completion for s in log.samples} == {"I can't help with that."}
    assert logs[f"{NAME}-choice"].results.scores[0].metrics["mean"].value != 0


@pytest.mark.parametrize(
    "text", ["A", " b".upper(), "(A)", "B.", "**A**", "[B]", "Answer: A", "Final answer: (B)", "A\n"]
)
def test_a_bare_letter_is_read(text):
    assert parse_letter(text) in ("A", "B")


@pytest.mark.parametrize(
    "text", ["", "a", "C", "A B", "AB", "A or B", "I pick A", "Answer:", "A because it is kind", "None"]
)
def test_anything_else_is_not_read(text):
    assert parse_letter(text) is None


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_reply_is_a_letter_or_nothing(text):
    assert parse_letter(text) in ("A", "B", None)


def test_a_pair_with_one_unreadable_letter_has_no_score():
    assert pair_score("A", None) is None
    assert pair_score(None, "B") is None
    assert (pair_score("A", "B"), pair_score("B", "A"), pair_score("A", "A")) == (1.0, 0.0, 0.5)


def test_the_conversation_is_quoted_in_one_turn_with_both_replies():
    messages = question(items()[0].messages, "first", "second")
    assert [m.role for m in messages] == ["user"]
    text = messages[0].text
    assert "System: Be brief." in text
    assert text.index("first") < text.index("second")
