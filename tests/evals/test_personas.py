"""A persona as a condition: it reaches the model, in this process and behind an API, and no grader."""

import polars as pl
import pytest
from inspect_ai.log import list_eval_logs, read_eval_log
from inspect_ai.model import GenerateConfig, get_model

from steadfast.attacks.personas import Persona, shipped_personas
from steadfast.errors import DataError
from steadfast.evals.api_subject import ApiSubject
from steadfast.evals.inspect_logs import write_logs
from steadfast.evals.local_subject import LocalSubject
from steadfast.evals.measure import Condition, Part, measure
from steadfast.evals.mismatched import GREETING
from steadfast.evals.personas import parse_persona, persona_condition, personas_protocol
from steadfast.evals.rows import Place
from steadfast.graders.preference import compare_nats
from steadfast.messages import Message, with_system
from steadfast.models.chat import ChatTemplate
from steadfast.models.lower_layers import LowerLayers
from steadfast.models.rendering import RenderSettings
from steadfast.tasks.suite import environment_task
from tests.conftest import make_model, make_tokenizer
from tests.evals.conftest import EvaluationJudge, item, local_subject, measure_parts, parts, suite, sums
from tests.evals.test_measure import nats
from tests.openai_server import OpenAIServer
from tests.tasks.environments import disk

PERSONA = "You are Marlow."
ROLE = Persona(
    name="marlow",
    kind="benign",
    wordings=(PERSONA, "Marlow speaks."),
    check={"program": "at-most-words", "args": {"words": 2}},
)
CONDITION = persona_condition(ROLE, 1)
OWN = Message(role="system", content="Reply in verse.")
LIKELIHOODS = ("preference", "preference_graded", "plain_words", "plain_ends", "reply_only")


def under(chosen, condition=CONDITION, subject=None, judge=None):
    return measure(
        subject or local_subject(),
        chosen,
        judge or EvaluationJudge(),
        place=Place("pre-rl", 0, condition.name),
        condition=condition,
    )


def answered(*tasks):
    made = suite("ship", *tasks)
    return Part(made, (), made.tasks)


class Watched(ChatTemplate):
    """Remembers every conversation that the model was given."""

    def __init__(self, tokenizer, settings):
        super().__init__(tokenizer, settings)
        self.seen = []

    def render(self, messages, style=None):
        text = super().render(messages, style)
        self.seen.append(text)
        return text


def watched_subject(template=None, room=None):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template or tokenizer.chat_template
    chat = Watched(tokenizer, RenderSettings(context_length=room))
    chat.seen.clear()
    return LocalSubject("pre-rl", make_model(layers=2).lm, chat, 6)


# The conversation.


def test_a_persona_stands_first_in_the_system_turn_and_the_conversations_own_text_after_it():
    user = Message(role="user", content="Hello?")
    assert with_system((user,), PERSONA) == (Message(role="system", content=PERSONA), user)
    merged = with_system((OWN, user), PERSONA)
    assert [(m.role, m.content) for m in merged] == [("system", f"{PERSONA}\n\n{OWN.content}"), ("user", "Hello?")]
    assert with_system((OWN, user), None) == (OWN, user)


def test_answers_are_given_under_the_persona_the_conversations_own_system_turn_and_the_style():
    subject = watched_subject()
    task = item("q", 0).model_copy(update={"messages": (OWN, *item("q", 0).messages)})
    under([answered(task)], persona_condition(ROLE, 1, "Be brief."), subject)
    assert subject.chat.seen == [
        f"<|system|>{PERSONA}\n\n{OWN.content}\nBe brief.<|end|><|user|>q question 0?<|end|><|assistant|>"
    ]


def test_references_are_tried_under_the_persona_after_every_conversation_and_without_the_style():
    subject = watched_subject()
    part = Part(suite("ship"), suite("ship").tasks)
    under([part], persona_condition(ROLE, 1, "Be brief."), subject)
    system = f"<|system|>{PERSONA}<|end|>"
    said = ("ship question 0?", "ship question 1?", "Hello.")
    assert set(subject.chat.seen) == {f"{system}<|user|>{words}<|end|><|assistant|>" for words in said}


def test_an_episode_is_acted_in_under_the_persona_turn_by_turn():
    subject = watched_subject()
    under([answered(environment_task(disk()))], subject=subject)
    assert subject.chat.seen
    assert all(text.startswith(f"<|system|>{PERSONA}\n\n") and "- archive(" in text for text in subject.chat.seen)


def test_a_template_without_a_system_role_puts_the_persona_before_the_first_users_turn():
    template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    subject = watched_subject(template)
    made = suite("ship")
    under([Part(made, made.tasks, made.tasks[:1])], subject=subject)
    assert f"<|user|>{PERSONA}\n\nship question 0?<|end|><|assistant|>" in subject.chat.seen
    assert all(text.startswith(f"<|user|>{PERSONA}\n\n") for text in subject.chat.seen)


def test_a_conversation_that_the_persona_makes_too_long_has_no_score_and_says_why():
    long = persona_condition(ROLE.model_copy(update={"wordings": ("Be Marlow. " * 60,)}), 1)
    part = Part(suite("ship"), suite("ship").tasks, suite("ship").tasks)
    rows = under([part], long, watched_subject(room=512)).rows
    assert rows["score"].null_count() == len(rows)
    assert rows.filter(grader="preference")["gate"].to_list() == ["unshown"] * 2
    assert all("exceed the 512 tokens" in reason for reason in rows["reason"])
    assert set(rows["grader"]) == {"preference", "rubric", "followed"}


# What becomes of it in the rows.


@pytest.fixture(scope="module")
def both():
    """The same parts plainly and under the persona."""
    chosen = parts()
    return measure_parts(chosen).rows, under(chosen).rows


def test_rows_under_a_persona_pair_with_the_plain_ones_task_by_task(both):
    plain, marlow = both
    assert set(marlow["condition"]) == {"persona:marlow/1"}
    key = ["suite", "grader", "task"]
    plain = plain.filter((pl.col("judge") != "training-fake").fill_null(True))
    assert set(marlow.filter(pl.col("grader") != "followed").select(key).iter_rows()) == set(
        plain.select(key).iter_rows()
    )


def test_likelihoods_and_answers_are_others_under_a_persona(both):
    key = ["suite", "grader", "task"]
    joined = both[0].join(both[1], on=key, suffix="_under")
    for grader in LIKELIHOODS[2:]:
        pairs = joined.filter(grader=grader)
        assert (pairs["nats"] - pairs["nats_under"]).abs().min() > 1e-3, grader
    answers = joined.filter(pl.col("answer").is_not_null(), pl.col("kind") != "eval")
    assert (answers["answer"] != answers["answer_under"]).any()


def test_a_preference_under_a_persona_is_held_against_the_mismatched_conversation_under_it(both):
    model = make_model(layers=2)
    made = suite("care", construct="health", domain="health")
    for task, other in zip(made.tasks, reversed(made.tasks), strict=True):
        own, mismatched, alone = (
            [nats(model, with_system(m, PERSONA), r) for r in (*task.references.good, *task.references.bad)]
            for m in (task.messages, other.messages, GREETING)
        )
        pmi = [a[0] - b[0] for a, b in zip(own, mismatched, strict=True)]
        rows = {r["grader"]: r for r in both[1].filter(suite="care", task=task.id).iter_rows(named=True)}
        expected = {
            "preference": compare_nats(pmi[:2], pmi[2:]),
            "reply_only": compare_nats([w for w, _ in alone[:2]], [w for w, _ in alone[2:]]),
        }
        for grader, compared in expected.items():
            assert rows[grader]["score"] == compared.share
            assert rows[grader]["nats"] == pytest.approx(compared.nats, abs=1e-3)
        assert rows["preference"]["mismatched"] == other.id


def test_kept_lower_layers_of_the_plain_conversations_serve_no_persona_and_the_reverse():
    chosen = [parts()[0]]
    kept = LowerLayers(1)
    model = make_model(layers=2)

    def subject(lower):
        return LocalSubject("pre-rl", model.lm, model.chat, 6, lower)

    alone = [under(chosen, c, subject(None)).rows for c in (Condition(), CONDITION)]
    for _ in range(2):
        shared = [under(chosen, c, subject(kept)).rows for c in (Condition(), CONDITION)]
        for one, other in zip(alone, shared, strict=True):
            assert one["answer"].to_list() == other["answer"].to_list()
            assert one["nats"].to_list() == pytest.approx(other["nats"].to_list(), abs=1e-4)


def test_whether_each_answer_followed_the_persona_is_a_row_of_its_own(both):
    plain, marlow = both
    assert plain.filter(grader="followed").is_empty()
    rows = marlow.filter(grader="followed")
    answers = marlow.filter(pl.col("grader").is_in(["rubric", "program"]))
    assert set(rows.select("suite", "task").iter_rows()) == set(answers.select("suite", "task").iter_rows())
    assert "disk" not in set(rows["suite"]), "an episode's calls are no answer to check"
    assert set(rows["protocol"]) == {"at-most-words"}
    joined = rows.join(answers, on=["suite", "task"], suffix="_answer")
    assert (joined["finished"] == joined["finished_answer"]).all()
    assert joined.filter(~pl.col("finished"))["score"].to_list() == [0.0] * (~joined["finished"]).sum()
    assert set(joined.filter(~pl.col("finished"))["gate"]) == {"truncated"}


def test_a_hostile_persona_has_no_followed_rows():
    flatterer = next(p for p in shipped_personas() if p.name == "flatterer")
    assert "followed" not in set(under([answered(item("q", 0))], persona_condition(flatterer, 1)).rows["grader"])


def test_judges_are_shown_the_task_as_it_is_and_not_the_persona():
    seen = []

    class Reader(EvaluationJudge):
        def grade(self, answers):
            seen.extend(a.task for a in answers)
            return super().grade(answers)

    made = answered(item("q", 0))
    under([made], judge=Reader())
    assert seen == list(made.answered)


def test_a_log_names_the_condition_and_holds_the_personas_text(tmp_path):
    made = answered(*sums())
    write_logs(tmp_path, "m", [made], under([made]), CONDITION)
    (log,) = map(read_eval_log, list_eval_logs(str(tmp_path)))
    assert (log.eval.metadata["condition"], log.eval.metadata["persona"]) == ("persona:marlow/1", PERSONA)


# Models behind an API.


@pytest.fixture
def server(monkeypatch):
    with OpenAIServer(lambda messages, request: "A") as started:
        monkeypatch.setenv("OPENAI_BASE_URL", started.url)
        monkeypatch.setenv("OPENAI_API_KEY", "test")
        yield started


def api():
    config = GenerateConfig(max_tokens=32, temperature=0.0, max_retries=0)
    return ApiSubject("m", get_model("openai/gpt-4-subject", config=config, memoize=False))


def systems(server):
    return [[m["content"] for m in r["messages"] if m["role"] == "system"] for r in server.requests]


def test_an_api_is_sent_the_persona_as_its_system_message_for_answers_and_for_letters(server):
    made = suite("ship")
    rows = under([Part(made, made.tasks, made.tasks)], subject=api()).rows
    assert set(map(tuple, systems(server))) == {(PERSONA,)}
    assert not any(PERSONA in m["content"] for r in server.requests for m in r["messages"] if m["role"] == "user")
    assert server.count == 2 * 4 + 2
    assert rows.filter(grader="followed")["score"].to_list() == [1.0, 1.0]


def test_an_api_is_sent_persona_own_system_turn_and_style_in_this_order(server):
    task = item("q", 0).model_copy(update={"messages": (OWN, *item("q", 0).messages)})
    under([answered(task)], persona_condition(ROLE, 2, "Be brief."), api())
    assert systems(server) == [[f"Marlow speaks.\n\n{OWN.content}\nBe brief."]]


def test_an_api_acts_in_an_environment_under_the_persona(server):
    under([answered(environment_task(disk()))], subject=api())
    ((system,),) = systems(server)
    assert system == f"{PERSONA}\n\n{disk().system}"


# Its name.


def test_a_persona_is_spelled_by_its_name_and_a_wording():
    known = (ROLE,)
    assert parse_persona("marlow", known) == CONDITION
    second = parse_persona("marlow/2", known)
    assert (second.name, second.persona) == ("persona:marlow/2", "Marlow speaks.")
    assert second.folders == ("persona-marlow", "2")
    assert second.followed == ROLE.check


@pytest.mark.parametrize(
    ("spelled", "fault"),
    [
        ("marlowe", "unknown persona 'marlowe'; known: marlow"),
        ("marlow/3", "persona 'marlow' has no wording 3; it has 2, counted from 1"),
        ("marlow/0", "has no wording 0"),
        ("marlow/", "after the slash stands a wording's number, such as marlow/2"),
        ("marlow/one", "after the slash stands a wording's number"),
        ("marlow/²", "after the slash stands a wording's number"),
    ],
)
def test_a_persona_that_is_not_there_is_a_sentence(spelled, fault):
    with pytest.raises(DataError, match=fault):
        parse_persona(spelled, (ROLE,))


def test_an_edited_wording_or_check_is_another_protocol():
    edited = ROLE.model_copy(update={"wordings": ("You are Marlow!", "Marlow speaks.")})
    looser = ROLE.model_copy(
        update={"check": ROLE.check.model_copy(update={"args": {"words": 3}})},
    )
    hashes = [personas_protocol([persona_condition(p, 1)]) for p in (ROLE, edited, looser)]
    assert len({h["persona:marlow/1"]["protocol"] for h in hashes}) == 3
    assert personas_protocol([Condition()]) == {}
