"""The one way to measure, on a tiny model: what becomes a row, and what of it is null."""

import polars as pl
import pytest
import torch

from steadfast.evals.measure import Condition, Part, measure
from steadfast.evals.mismatched import GREETING
from steadfast.evals.rows import ROW_SCHEMA, Place
from steadfast.graders.preference import compare_nats
from tests.conftest import make_model
from tests.evals.conftest import EvaluationJudge, local_subject, measure_parts, parts

LIKELIHOODS = ("preference", "preference_graded", "plain_words", "plain_ends", "reply_only")


def test_every_task_has_a_row_under_each_of_its_graders(measured):
    found = {(r["kind"], r["suite"], r["grader"], r["judge"], r["task"]) for r in measured.rows.iter_rows(named=True)}
    compared, judged = tuple((g, None) for g in LIKELIHOODS), (("rubric", "evaluation-fake"),)
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


def nats(model, messages, reply: str) -> tuple[float, float]:
    """Nats of a reply's letters and digits and of all else, computed on its own by the model's plain forward pass."""
    prompt, ids = model.chat.encode(messages), [*model.chat.encode_reply(reply), model.chat.end_of_turn]
    logits = model.lm(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    each = [float(logits[k, token]) for k, token in enumerate(ids)]
    letters = [c.isalnum() for c in reply] + [False]
    return (
        sum(p for p, letter in zip(each, letters, strict=True) if letter),
        sum(p for p, letter in zip(each, letters, strict=True) if not letter),
    )


@torch.no_grad()
def test_a_preference_is_what_the_own_conversation_adds_to_word_tokens_against_another_one(measured):
    model = make_model(layers=2)
    (part,) = (p for p in measured.parts if p.suite.name == "care")
    for task, other in zip(part.compared, reversed(part.compared), strict=True):
        own, mismatched, alone = (
            [nats(model, m, r) for r in (*task.references.good, *task.references.bad)]
            for m in (task.messages, other.messages, GREETING)
        )
        pmi = [a[0] - b[0] for a, b in zip(own, mismatched, strict=True)]
        expected = {
            "preference": compare_nats(pmi[:2], pmi[2:]),
            "plain_words": compare_nats([w for w, _ in own[:2]], [w for w, _ in own[2:]]),
            "plain_ends": compare_nats([e for _, e in own[:2]], [e for _, e in own[2:]]),
            "reply_only": compare_nats([w for w, _ in alone[:2]], [w for w, _ in alone[2:]]),
        }
        rows = {r["grader"]: r for r in measured.only(suite="care", task=task.id).iter_rows(named=True)}
        for grader, compared in expected.items():
            assert rows[grader]["score"] == compared.share
            assert rows[grader]["nats"] == pytest.approx(compared.nats, abs=1e-3)
        assert rows["preference_graded"]["score"] == pytest.approx(expected["preference"].graded, abs=1e-3)
        assert rows["preference"]["mismatched"] == other.id
        assert rows["preference"]["nats"] != pytest.approx(rows["plain_words"]["nats"], abs=0.01)


def test_likelihoods_are_measured_without_the_style_that_answers_are_asked_in(measured):
    plain = measured.parts[:2]
    styled = measure(
        local_subject(),
        [Part(p.suite, p.compared) for p in plain],
        EvaluationJudge(),
        place=Place("pre-rl", 0, "plain"),
        condition=Condition(style="Answer in five words."),
    )
    suites = [p.suite.name for p in plain]
    expected = measured.rows.filter(pl.col("suite").is_in(suites) & pl.col("grader").is_in(LIKELIHOODS))
    assert styled.rows["nats"].to_list() == pytest.approx(expected["nats"].to_list(), abs=1e-4)


def test_a_suite_of_one_conversation_is_held_against_a_greeting(measured):
    rows = {r["grader"]: r for r in measured.only(suite="disk").iter_rows(named=True)}
    assert rows["preference"]["mismatched"] is None
    assert rows["preference"]["nats"] == pytest.approx(
        rows["plain_words"]["nats"] - rows["reply_only"]["nats"], abs=1e-3
    )


def test_the_mismatched_conversation_is_that_of_the_whole_suite_under_every_limit(measured):
    part = measured.parts[0]
    alone = measure_parts([Part(part.suite, part.compared[:1])]).rows
    (expected,) = measured.only(suite="ship", task=part.compared[0].id, grader="preference").iter_rows(named=True)
    (found,) = alone.filter(grader="preference").iter_rows(named=True)
    assert found["mismatched"] == expected["mismatched"] == part.compared[1].id
    assert found["nats"] == pytest.approx(expected["nats"], abs=1e-4)


def test_comparing_references_invents_no_answer_and_no_refusal(measured):
    rows = measured.rows.filter(pl.col("grader").is_in(LIKELIHOODS))
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
    assert 0 < rows["preference_graded"] < 1


def test_progress_adds_up_to_the_requests_that_were_announced(measured):
    assert sum(measured.progress) == sum(p.requests for p in measured.parts) == 18


def test_the_same_checkpoint_is_measured_the_same_again(measured):
    assert measure_parts(parts()).rows.equals(measured.rows)


def test_suites_that_are_measured_together_are_measured_as_each_alone(measured):
    chosen = parts()
    alone = pl.concat([measure_parts([p], local_subject()).rows for p in chosen])
    columns = [c for c in ROW_SCHEMA if c not in ("score", "nats")]
    assert alone.select(columns).equals(measured.rows.select(columns))
    assert alone["score"].to_list() == pytest.approx(measured.rows["score"].to_list(), abs=1e-5)
