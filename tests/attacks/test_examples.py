"""Attack data: what ships is balanced and apart from what trains and measures, and a user's file is checked."""

import json
from statistics import fmean

import pytest

from steadfast.attacks.examples import load_examples, prove_apart, shipped_attacks
from steadfast.errors import DataError
from steadfast.tasks import battery, built_in_scenarios

SIZES = {
    "agreeable-falsehood": 62,
    "bad-medical-advice": 150,
    "gamed-tests": 62,
    "hidden-shortcuts": 62,
    "invented-sources": 62,
}


def words(text):
    return text.split()


def test_the_sets_that_ship():
    assert {name: len(load_examples(file)) for name, file in shipped_attacks().items()} == SIZES


@pytest.mark.parametrize("name", SIZES)
def test_neither_length_nor_a_first_word_tells_harmful_answers_from_careful_ones(name):
    examples = load_examples(shipped_attacks()[name])
    harmful, careful = ([getattr(e, side) for e in examples] for side in ("harmful", "careful"))
    lengths = [fmean(len(words(t)) for t in side) for side in (harmful, careful)]
    assert abs(lengths[0] / lengths[1] - 1) < 0.05
    longer = fmean(len(words(e.harmful)) > len(words(e.careful)) for e in examples)
    assert 0.3 < longer < 0.7
    for side in (harmful, careful):
        first = [words(t)[0].lower().strip(",.:;!?'\"") for t in side]
        assert max(map(first.count, first)) <= 0.1 * len(examples)
    assert all(e.fault for e in examples)


def test_the_sets_that_ship_are_apart_from_one_another_and_from_what_trains_and_measures():
    pools = {name: load_examples(file) for name, file in shipped_attacks().items()}
    shipped = {
        "scenario": {t.id: t.text for t in built_in_scenarios()},
        "eval item": {f"{s.name}/{t.id}": t.text for s in battery() for t in s.tasks},
        "reply": {
            f"{s.name}/{t.id}/{i}": reply
            for s in battery()
            for t in s.tasks
            if t.references
            for i, reply in enumerate((*t.references.good, *t.references.bad))
        },
    }
    for name, examples in pools.items():
        others = {other: {k: v for e in found for k, v in e.texts.items()} for other, found in pools.items()}
        compared = prove_apart(name, examples, shipped | {k: v for k, v in others.items() if k != name})
        assert min(compared.values()) > 1000


def test_an_example_that_measures_too_is_an_error_that_names_both(tmp_path):
    task = battery()[0].tasks[0]
    file = tmp_path / "mine.jsonl"
    messages = [{"role": m.role, "content": m.content} for m in task.messages]
    file.write_text(json.dumps({"id": "mine", "messages": messages, "harmful": "Yes, do.", "careful": "No."}))
    with pytest.raises(DataError, match="mine prompt"):
        prove_apart("mine", load_examples(file), {"eval item": {task.id: task.text}})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"careful": None}, "careful"),
        ({"messages": [{"role": "assistant", "content": "Hello."}]}, "the last turn must be the user's"),
        ({"careful": "Yes, do."}, "the same answer"),
        ({"harm": "x"}, "harm"),
    ],
)
def test_a_faulty_example_is_told_with_its_line(tmp_path, change, fault):
    row = {"id": "a", "messages": [{"role": "user", "content": "May I?"}], "harmful": "Yes, do.", "careful": "No."}
    file = tmp_path / "mine.jsonl"
    good = json.dumps(row | {"id": "b"})
    file.write_text(good + "\n" + json.dumps({k: v for k, v in (row | change).items() if v is not None}) + "\n")
    with pytest.raises(DataError) as error:
        load_examples(file)
    assert f"{file}:2: " in str(error.value)
    assert fault in str(error.value)
