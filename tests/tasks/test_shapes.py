"""Every shape that rows of the field have, brought into a task; and a task's way through JSON and back."""

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from steadfast.messages import is_blank
from steadfast.tasks import Task, battery, built_in_scenarios, faults
from steadfast.tasks.shapes import scenario_row
from tests.tasks.environments import disk
from tests.tasks.examples import criterion, record

ASK = [{"role": "user", "content": "Is it safe?"}]


def task(**fields):
    return Task.model_validate({"id": "a", "messages": ASK, **fields})


def faults_of(**fields):
    row = {"id": "a", "messages": ASK, **fields}
    with pytest.raises(ValidationError) as caught:
        Task.model_validate(row)
    return faults(caught.value, row)


def test_a_row_of_healthbench_is_a_rubric_task_with_its_ideal_answer():
    found = Task.model_validate(
        {
            "prompt": ASK,
            "prompt_id": "0001",
            "example_tags": ["theme:hedging"],
            "rubrics": [{"criterion": "Asks back", "points": 6, "tags": ["axis:x"]}, {"criterion": "No", "points": -8}],
            "ideal_completions_data": {"ideal_completion": "Ask first.", "ideal_completions_group": "g"},
            "canary": "HealthBench:...",
        }
    )
    assert (found.id, found.tags, found.references.good) == ("0001", ("theme:hedging",), ("Ask first.",))
    assert [(c.criterion, c.points, c.tags) for c in found.rubric] == [("Asks back", 6, ("axis:x",)), ("No", -8, ())]


def test_an_eval_item_is_one_criterion_whose_replies_are_references_too():
    found = task(criterion="Warns.", good=["It is not."], bad=["It is."])
    assert [(c.points, c.met, c.unmet) for c in found.rubric] == [(1, ("It is not.",), ("It is.",))]
    assert found.references.paired


def test_replies_alone_are_compared_by_likelihood():
    assert task(good=["No."], bad=["Yes."]).grader.kind == "preference"


def test_a_prompt_is_one_users_turn():
    found = Task.model_validate({"id": "a", "prompt": "Is it safe?", "good": ["No."], "bad": ["Yes."]})
    assert [(m.role, m.content) for m in found.messages] == [("user", "Is it safe?")]


def test_content_parts_are_joined_and_the_developer_is_the_system():
    parts = [{"type": "text", "text": "One."}, "Two."]
    found = task(
        messages=[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}], **REPLIES
    )
    assert [(m.role, m.content) for m in found.messages] == [("system", "Be brief."), ("user", "One.\nTwo.")]


REPLIES = {"good": ["No."], "bad": ["Yes."]}


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"rubric": [criterion()], "rubrics": []}, "rubrics: stands beside rubric"),
        ({"grader": {"kind": "preference"}, "criterion": "x"}, "criterion: stands beside grader"),
        ({"references": REPLIES, "good": ["No."]}, "good: stands beside references"),
        ({"good": "No.", "bad": ["Yes."]}, "good: must be a list of replies"),
        ({"good": ["No."], "bad": [" "]}, "bad.0: the text is blank"),
        ({"good": ["No."]}, "references: the preference grader needs a good and a bad reply"),
        ({"criterion": "x", "good": ["No."], "bad": [3]}, "bad.0: Input should be a valid string"),
        ({"grader": {"kind": "outcome"}}, "environment: the outcome grader and an environment go together"),
        ({"grader": {"kind": "telepathy"}}, "grader: "),
        ({}, "grader: Field required"),
        ({"rubrics": [{"criterion": "x", "points": 0}]}, "rubrics.0.points: a criterion worth 0 points"),
        (
            REPLIES | {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            "messages.0.content: a content part",
        ),
        (REPLIES | {"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: "),
    ],
)
def test_a_fault_is_named_by_the_field_as_it_was_written(fields, fault):
    assert any(found.startswith(fault) for found in faults_of(**fields)), faults_of(**fields)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: not is_blank(text))
points = st.one_of(st.integers(-9, 9), st.floats(-9, 9)).filter(bool)
criteria = (
    st.lists(
        st.fixed_dictionaries(
            {"criterion": texts, "points": points},
            optional={"met": st.lists(texts.map("met: {}".format)), "unmet": st.lists(texts), "tags": st.lists(texts)},
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda c: c["criterion"],
    )
    .filter(lambda rubric: any(c["points"] > 0 for c in rubric))
    .filter(lambda rubric: not any(u.startswith("met:") for c in rubric for u in c.get("unmet", [])))
)
plain = st.recursive(st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner, max_size=2))
graders = st.one_of(
    criteria.map(lambda c: {"kind": "rubric", "criteria": c}),
    st.builds(lambda p, a: {"kind": "program", "program": p, "args": a}, texts, st.dictionaries(texts, plain)),
    st.just({"kind": "preference"}),
    st.builds(lambda w: {"kind": "refusal", "wanted": w}, st.booleans()),
)
rows = st.fixed_dictionaries(
    {
        "id": texts,
        "messages": texts.map(lambda t: [{"role": "user", "content": t}]),
        "grader": graders,
        "references": st.fixed_dictionaries({"good": st.just(["g"]), "bad": st.lists(texts, min_size=1, max_size=2)}),
    },
    optional={
        "suite": texts,
        "trait": texts,
        "domain": texts,
        "pair": texts,
        "split": st.sampled_from(["train", "held_out"]),
        "pressure": st.sampled_from(["deadline", "money"]),
        "refusal_fails": st.booleans(),
        "tags": st.lists(texts, max_size=2),
    },
)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_a_task_is_the_same_after_its_row_was_written_as_json_and_read(row):
    made = Task.model_validate(row)
    assert Task.model_validate(json.loads(json.dumps(made.row(), ensure_ascii=False))) == made
    assert Task.model_validate(json.loads(json.dumps(scenario_row(made)))) == made
    assert pickle.loads(pickle.dumps(made)) == made


def test_all_that_ships_and_an_environment_are_the_same_after_it_too():
    shipped = [*built_in_scenarios(), *(t for suite in battery() for t in suite.tasks)]
    made = [*shipped, task(grader={"kind": "outcome"}, environment=disk().model_dump(mode="json"))]
    for one in made:
        assert Task.model_validate(json.loads(json.dumps(one.row()))) == one, one.id


def test_a_scenario_row_has_the_rubric_where_people_look_for_it_and_no_grader():
    row = scenario_row(Task.model_validate(record("a", split="train")))
    assert list(row) == ["id", "trait", "domain", "messages", "rubric", "split"]
    assert row["rubric"] == record()["rubric"]


def test_a_task_that_no_rubric_grades_stays_in_its_own_shape():
    made = task(**REPLIES)
    assert scenario_row(made) == made.row()
