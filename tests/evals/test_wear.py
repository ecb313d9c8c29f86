"""Ordinary wear as conditions: names and seeds, and what a model is shown late in a conversation."""

import polars as pl
import pytest
from inspect_ai.log import list_eval_logs, read_eval_log

from steadfast.attacks.benign import friendly_conversations
from steadfast.attacks.wear import WearConfig
from steadfast.errors import DataError
from steadfast.evals.inspect_logs import write_logs
from steadfast.evals.measure import Condition, Part
from steadfast.evals.mismatched import GREETING
from steadfast.evals.wear import temperature_condition, turn_condition, wear_conditions, wear_protocol, worn_parts
from steadfast.graders.preference import compare_nats
from steadfast.messages import Message
from steadfast.tasks.suite import environment_task
from tests.conftest import make_model
from tests.evals.conftest import EvaluationJudge, item, parts, suite, sums
from tests.evals.test_measure import nats
from tests.evals.test_personas import answered, api, server, under, watched_subject  # noqa: F401
from tests.tasks.environments import disk

TALK = (
    Message(role="user", content="Good morning!"),
    Message(role="assistant", content="A very good one."),
    Message(role="user", content="It snows."),
    Message(role="assistant", content="How lovely."),
)
LATE = Condition("turn:3/1", preface=TALK)
BEFORE = "".join(f"<|{m.role}|>{m.content}<|end|>" for m in TALK)
OWN = Message(role="system", content="Reply in verse.")


# Names, seeds and turns.


def test_a_config_gives_its_temperatures_and_then_its_turns_in_every_conversation():
    conditions = wear_conditions(WearConfig(temperatures=[0.4, 1], turns=[5, 15]), style="Be brief.", seed=7)
    turns = [f"turn:{turn}/{number}" for turn in (5, 15) for number in (1, 2, 3)]
    assert [c.name for c in conditions] == ["temperature:0.4", "temperature:1", *turns]
    assert [(c.temperature, c.seed) for c in conditions] == [(0.4, 7), (1.0, 7), *[(0.0, 0)] * 6]
    assert {c.style for c in conditions} == {"Be brief."}
    assert conditions[0].folders == ("temperature-0.4",)
    assert conditions[-1].folders == ("turn-15", "3")
    assert len({c.folders for c in conditions}) == len(conditions)


def test_at_turn_five_four_turns_of_the_conversation_stand_before_the_task():
    conversation = friendly_conversations()[1]
    condition = turn_condition(5, 2)
    assert condition.preface == conversation.turns[:8]
    assert condition.preface[-1].role == "assistant"
    assert turn_condition(16, 2).preface == conversation.turns


@pytest.mark.parametrize(
    ("turn", "number", "fault"),
    [(1, 1, "turns 2 to 16"), (17, 1, "not at 17"), (5, 0, "no friendly conversation 0"), (5, 4, "there are 3")],
)
def test_a_turn_or_a_conversation_that_is_not_there_is_a_sentence(turn, number, fault):
    with pytest.raises(DataError, match=fault):
        turn_condition(turn, number)


def test_what_decides_the_numbers_under_a_condition_is_hashed_under_its_name():
    conditions = wear_conditions(WearConfig())
    hashes = wear_protocol(conditions)
    assert list(hashes) == [c.name for c in conditions]
    assert len(set(hashes.values())) == len(conditions)
    assert wear_protocol([temperature_condition(0.4, seed=1)])["temperature:0.4"] != hashes["temperature:0.4"]
    assert wear_protocol([Condition("turn:5/1", preface=TALK)])["turn:5/1"] != hashes["turn:5/1"]


# What a model is shown.


def test_a_task_comes_after_the_conversation_and_its_own_system_turn_before_it():
    subject = watched_subject()
    task = item("q", 0).model_copy(update={"messages": (OWN, *item("q", 0).messages)})
    under([answered(task)], Condition("turn:3/1", "Be brief.", preface=TALK), subject)
    assert subject.chat.seen == [
        f"<|system|>{OWN.content}\nBe brief.<|end|>{BEFORE}<|user|>q question 0?<|end|><|assistant|>"
    ]


def test_references_are_tried_after_the_conversation_and_so_are_the_mismatched_one_and_the_greeting():
    subject = watched_subject()
    under([Part(suite("ship"), suite("ship").tasks)], LATE, subject)
    said = ("ship question 0?", "ship question 1?", "Hello.")
    assert set(subject.chat.seen) == {f"{BEFORE}<|user|>{words}<|end|><|assistant|>" for words in said}


def test_a_persona_and_a_conversation_can_stand_together():
    subject = watched_subject()
    under([answered(item("q", 0))], Condition("both", persona="You are Marlow.", preface=TALK), subject)
    assert subject.chat.seen == [f"<|system|>You are Marlow.<|end|>{BEFORE}<|user|>q question 0?<|end|><|assistant|>"]


def test_an_episode_is_acted_in_after_the_conversation():
    subject = watched_subject()
    under([answered(environment_task(disk()))], LATE, subject)
    assert subject.chat.seen
    for text in subject.chat.seen:
        assert text.startswith("<|system|>")
        assert "- archive(" in text[: text.index(BEFORE)]


def test_preferences_late_in_a_conversation_are_those_of_a_plain_pass_over_the_whole_of_it():
    model = make_model(layers=2)
    made = suite("care", construct="health", domain="health")
    rows = under([Part(made, made.tasks)], LATE).rows
    for task, other in zip(made.tasks, reversed(made.tasks), strict=True):
        own, mismatched, alone = (
            [nats(model, (*TALK, *m), r) for r in (*task.references.good, *task.references.bad)]
            for m in (task.messages, other.messages, GREETING)
        )
        pmi = [a[0] - b[0] for a, b in zip(own, mismatched, strict=True)]
        found = {r["grader"]: r for r in rows.filter(task=task.id).iter_rows(named=True)}
        expected = {
            "preference": compare_nats(pmi[:2], pmi[2:]),
            "plain_words": compare_nats([w for w, _ in own[:2]], [w for w, _ in own[2:]]),
            "reply_only": compare_nats([w for w, _ in alone[:2]], [w for w, _ in alone[2:]]),
        }
        for grader, compared in expected.items():
            assert found[grader]["score"] == compared.share
            assert found[grader]["nats"] == pytest.approx(compared.nats, abs=1e-3)


def test_answers_late_in_a_conversation_are_others_and_pair_with_the_plain_ones():
    chosen = [p for p in parts() if p.answered]
    plain, late = (under(chosen, c).rows.filter(pl.col("answer").is_not_null()) for c in (Condition(), LATE))
    joined = plain.join(late, on=["suite", "grader", "task"], suffix="_late")
    assert len(joined) == len(plain) == len(late)
    assert (joined["answer"] != joined["answer_late"]).any()


def test_judges_are_shown_the_task_alone():
    seen = []

    class Reader(EvaluationJudge):
        def grade(self, answers):
            seen.extend(a.task for a in answers)
            return super().grade(answers)

    made = answered(item("q", 0))
    under([made], LATE, judge=Reader())
    assert seen == list(made.answered)


def test_a_conversation_beyond_the_models_context_has_no_score_and_says_why_and_the_rest_is_measured():
    part = Part(suite("ship"), suite("ship").tasks, suite("ship").tasks)
    short, long = (
        under([part], LATE, watched_subject(room=512)),
        under([part], turn_condition(15, 1), watched_subject(room=512)),
    )
    assert short.rows.filter(grader="preference")["score"].null_count() == 0
    assert long.rows["score"].null_count() == len(long.rows)
    assert long.rows.filter(grader="preference")["gate"].to_list() == ["unshown"] * 2
    assert long.rows.filter(grader="rubric")["gate"].to_list() == ["unshown"] * 2
    assert all("exceed the 512 tokens" in reason for reason in long.rows["reason"])


def test_a_log_holds_the_conversation(tmp_path):
    made = answered(*sums())
    write_logs(tmp_path, "m", [made], under([made], LATE), LATE)
    (log,) = map(read_eval_log, list_eval_logs(str(tmp_path)))
    assert log.eval.metadata["condition"] == "turn:3/1"
    assert [m["content"] for m in log.eval.metadata["preface"]] == [m.content for m in TALK]


# Temperatures.


def test_under_a_temperature_only_answers_are_asked_for_and_under_a_turn_all():
    chosen = [*parts(), Part(suite("ship"), suite("ship").tasks)]
    warm = worn_parts(temperature_condition(0.8), chosen)
    assert [p.suite.name for p in warm] == [p.suite.name for p in chosen if p.answered]
    assert [p.answered for p in warm] == [p.answered for p in chosen if p.answered]
    assert not any(p.compared for p in warm)
    assert worn_parts(LATE, chosen) == chosen


def test_answers_at_a_temperature_are_drawn_by_the_seed():
    made = [answered(*sums())]
    found = [under(made, temperature_condition(1.2, seed=s)).rows["answer"].to_list() for s in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


# Models behind an API.


def test_an_api_is_sent_the_conversation_before_answers_and_before_letters(server):  # noqa: F811
    made = suite("ship")
    under([Part(made, made.tasks[:1], made.tasks[:1])], LATE, api())
    assert server.count == 4 + 1
    for request in server.requests:
        sent = [(m["role"], m["content"]) for m in request["messages"]]
        assert sent[:4] == [(m.role, m.content) for m in TALK]
        assert [role for role, _ in sent[4:]] == ["user"]


def test_an_api_acts_in_an_environment_after_the_conversation(server):  # noqa: F811
    under([answered(environment_task(disk()))], LATE, api())
    sent = [m["content"] for m in server.requests[0]["messages"]]
    assert sent[0] == disk().system
    assert sent[1:5] == [m.content for m in TALK]
    assert sent[5] == disk().task
