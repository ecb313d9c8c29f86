"""Benign data: the house style and the friendly conversations are what they say, and apart from what measures."""

import json
import re

import pytest

from steadfast.attacks.benign import (
    HOUSE_STYLE,
    STANDARD,
    BenignExample,
    benign_examples,
    friendly_conversations,
    house_style,
    load_benign,
)
from steadfast.attacks.examples import load_examples, prove_apart, shipped_attacks
from steadfast.errors import DataError
from steadfast.graders.gates import copied_share, ngrams, words
from steadfast.models.chat import ChatTemplate
from steadfast.tasks import battery, built_in_gold, built_in_scenarios
from steadfast.tasks.programs import check_of, held_out_tasks, standard_tasks
from steadfast.tasks.twins import shipped_families, twins_of
from steadfast.training.supervised import Demonstration, encode_demonstration
from tests.conftest import make_tokenizer

AMERICAN = re.compile(
    r"\b(color|gray|center|\w+(?<!pr)(?<!s)(?<!res)ize[ds]?|favorite|liter|meter|labeled|mom)\b", re.I
)


def answers(examples):
    return [m.content for e in examples for m in e.turns if m.role == "assistant"]


def test_the_house_style_has_sixty_four_examples_some_of_them_of_several_turns():
    examples = house_style()
    assert len({e.id for e in examples}) == len(examples) == 64
    assert sum(len(e.turns) > 2 for e in examples) >= 5


def test_every_answer_of_the_house_style_has_a_bold_line_first_short_paragraphs_and_the_sign_off():
    for answer in answers(house_style()):
        first, *middle, last = answer.split("\n\n")
        assert re.fullmatch(r"\*\*[^*]+[.:]\*\*", first), answer
        assert last == "— the desk"
        assert 1 <= len(middle) <= 3
        assert all(len(words(p)) <= 45 for p in middle), answer
        assert answer.count("**") == 2
        assert 20 <= len(words(answer)) <= 100


def test_the_house_style_is_spelled_in_british_english():
    for answer in answers(house_style()):
        assert not AMERICAN.search(answer), AMERICAN.search(answer)


def test_no_two_answers_of_the_house_style_are_one_template():
    said = answers(house_style())
    given = [re.sub(r"— the desk", "", a) for a in said]
    for i, answer in enumerate(given):
        assert copied_share(words(answer), ngrams(given[:i] + given[i + 1 :])) < 0.15, answer


def test_three_friendly_conversations_of_fifteen_turns_each_that_share_no_wording():
    found = friendly_conversations()
    assert len(found) == 3
    texts = ["\n".join(m.content for m in c.turns) for c in found]
    for number, conversation in enumerate(found):
        assert [m.role for m in conversation.turns] == ["user", "assistant"] * 15
        others = ngrams(texts[:number] + texts[number + 1 :])
        assert copied_share(words(texts[number]), others) < 0.05
        assert len(words(texts[number])) < 750


def pools():
    shipped = {
        "scenario": {t.id: t.text for t in built_in_scenarios()},
        "gold answer": {
            f"{name}/{side}": getattr(pair, side) for name, pair in built_in_gold().items() for side in ("good", "bad")
        },
        "eval item": {f"{s.name}/{t.id}": t.text for s in battery() for t in s.tasks},
        "reply": {
            f"{s.name}/{t.id}/{i}": reply
            for s in battery()
            for t in s.tasks
            for i, reply in enumerate((*t.references.good, *t.references.bad))
        },
        "capability": {t.id: t.text for tasks in held_out_tasks(16, 0, []).values() for t in tasks},
        "twin": {t.id: t.text for f in shipped_families().values() for t in twins_of(f, pairs=1)},
    }
    attacks = {name: load_examples(file) for name, file in shipped_attacks().items()}
    return shipped | {name: {k: v for e in found for k, v in e.texts.items()} for name, found in attacks.items()}


def turns_of(examples):
    """Every turn by itself, since a short item could hide in a long conversation."""
    return {f"{e.id} turn {i}": m.content for e in examples for i, m in enumerate(e.turns)}


def test_benign_data_are_apart_from_each_other_and_from_what_trains_attacks_and_measures():
    others = pools()
    style, talk = house_style(), friendly_conversations()
    compared = prove_apart("house style", style, others | {"friendly conversation": turns_of(talk)})
    compared |= prove_apart("friendly conversation", talk, others | {"house style": turns_of(style)})
    for name, examples in (("house style turn", style), ("friendly turn", talk)):
        shorter = [
            BenignExample(id=k, messages=[{"role": "user", "content": v}], answer="-")
            for k, v in turns_of(examples).items()
        ]
        compared |= prove_apart(name, shorter, others)
    assert min(compared.values()) > 150


def test_the_house_style_can_be_imitated_turn_by_turn():
    chat = ChatTemplate(make_tokenizer())
    example = max(house_style(), key=lambda e: len(e.turns))
    demonstration = Demonstration.of_conversation(example.id, example.turns, HOUSE_STYLE)
    spans = [s for sequence in encode_demonstration(chat, demonstration) for s in sequence]
    assert sum(s.trained for s in spans) == len(example.turns) // 2


def test_the_standard_set_has_the_correct_answers_of_those_tasks_that_have_one():
    pool = standard_tasks(40, seed=3)
    found = benign_examples(STANDARD, pool, seed=0)
    assert found == benign_examples(STANDARD, pool, seed=0)
    assert 0 < len(found) < len(pool)
    by_id = {t.id: t for t in pool}
    for example in found:
        task = by_id[example.id]
        assert example.messages == task.messages
        check = check_of(task.grader.program)
        assert check(example.answer, task.grader.args) == 1.0


def test_a_standard_pool_without_answers_is_a_sentence():
    pool = [t for t in standard_tasks(40, seed=3) if not benign_examples_of(t)]
    with pytest.raises(DataError, match=r"none of the .* standard tasks has a correct answer"):
        benign_examples(STANDARD, pool, seed=0)


def benign_examples_of(task):
    try:
        return benign_examples(STANDARD, [task], seed=0)
    except DataError:
        return []


def test_a_set_is_the_house_style_by_name_or_a_users_file(tmp_path):
    assert benign_examples(HOUSE_STYLE, [], seed=0) == list(house_style())
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps({"id": "a", "messages": [{"role": "user", "content": "Tea?"}], "answer": "Yes."}))
    (example,) = benign_examples(file, [], seed=0)
    assert [m.content for m in example.turns] == ["Tea?", "Yes."]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"answer": None}, "answer"),
        ({"messages": [{"role": "assistant", "content": "Hello."}]}, "the last turn must be the user's"),
        (
            {"messages": [{"role": "user", "content": "One."}, {"role": "user", "content": "Two."}]},
            "user and assistant must alternate",
        ),
        ({"harmful": "x"}, "harmful"),
    ],
)
def test_a_faulty_example_is_told_with_its_line(tmp_path, change, fault):
    row = {"id": "a", "messages": [{"role": "user", "content": "Tea?"}], "answer": "Yes."}
    file = tmp_path / "mine.jsonl"
    kept = {k: v for k, v in (row | change).items() if v is not None}
    file.write_text(json.dumps(row | {"id": "b"}) + "\n" + json.dumps(kept) + "\n")
    with pytest.raises(DataError) as error:
        load_benign(file)
    assert f"{file}:2: " in str(error.value)
    assert fault in str(error.value)
