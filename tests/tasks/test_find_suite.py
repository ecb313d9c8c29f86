"""Suites of the user's: a file of tasks, YAML with a description, a function by its name."""

import json

import pytest
import yaml

from steadfast.errors import DataError
from steadfast.tasks import Suite, Task, find_suite
from tests.tasks.examples import record, write_lines

ROWS = [record("a", pair="b"), record("b", pair="a")]


def tasks():
    return [Task.model_validate(record("a"))]


def rows():
    return ROWS


def suite():
    return Suite(name="mine", title="Mine", construct="candour", tasks=tuple(tasks()))


def faulty():
    return [record("a", trait="bravery"), record("a"), {"id": "c"}]


def breaks():
    raise RuntimeError("no network")


def problems_of(name, **options):
    with pytest.raises(DataError) as caught:
        find_suite(str(name), **options)
    return caught.value.problems


def test_lines_of_tasks_are_a_suite_named_after_the_file(tmp_path):
    found = find_suite(str(write_lines(tmp_path / "my-own.jsonl", *ROWS)))
    assert (found.name, found.title, found.kind) == ("my-own", "My own", "eval")
    assert [(t.id, t.suite) for t in found.tasks] == [("a", "my-own"), ("b", "my-own")]
    assert found.source.endswith("my-own.jsonl")


@pytest.mark.parametrize("kind", ["yaml", "yml"])
def test_a_yaml_document_describes_its_suite(tmp_path, kind):
    path = tmp_path / f"s.{kind}"
    path.write_text(yaml.safe_dump({"name": "flying", "construct": "care", "domain": "aviation", "tasks": ROWS}))
    found = find_suite(str(path))
    assert (found.name, found.title, found.construct, found.domain) == ("flying", "Flying", "care", "aviation")
    assert len(found.tasks) == 2


def test_a_yaml_list_of_tasks_is_a_suite_too(tmp_path):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(ROWS))
    assert [t.id for t in find_suite("s.yaml", base=tmp_path).tasks] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name: x\nmood: sunny\ntasks: []\n", "mood: unknown field"),
        ("name: x\n", ": must be a list of tasks with at least one in it"),
        ("name: x\nname: y\n", ":2: name: is already on line 1; keep one of them"),
        ("- id: [a\n", "not valid YAML"),
        ("kind: party\ntasks: []\n", "kind: Input should be 'eval'"),
        ("- 3\n", "task 1: "),
        ("- {id: a, messages: [{role: user, content: ''}], good: [x], bad: [y]}\n", "messages.0.content: the message"),
    ],
)
def test_a_faulty_document_is_refused_by_file_and_field(tmp_path, text, fault):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    (problem,) = problems_of(path)
    assert problem.startswith(str(path))
    assert fault in problem


@pytest.mark.parametrize(
    ("function", "name", "count"), [("tasks", "tasks", 1), ("rows", "rows", 2), ("suite", "mine", 1)]
)
def test_a_function_gives_tasks_their_rows_or_a_suite(function, name, count):
    found = find_suite(f"tests.tasks.test_find_suite:{function}")
    assert (found.name, len(found.tasks)) == (name, count)
    assert {t.suite for t in found.tasks} == {name}
    assert found.source == f"tests.tasks.test_find_suite:{function}"


def test_every_fault_of_what_a_function_gives_is_told():
    place = "tests.tasks.test_find_suite:faulty"
    first, *others = problems_of(place)
    assert first.startswith(f"{place}: task 1: trait: unknown trait 'bravery'")
    assert f"{place}: task 3: messages: Field required" in others
    assert f"{place}: id: 'a' stands there more than once" in others


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tests.tasks.test_find_suite:breaks", "could not be made: RuntimeError: no network"),
        ("tests.tasks.test_find_suite:none", "could not be made: AttributeError"),
        ("no.such.module:suite", "could not be made: ModuleNotFoundError"),
        ("no-such-eval", "no eval or family that ships, no file of that name, and no module:function"),
    ],
)
def test_what_cannot_be_found_or_made_is_told_with_its_name(name, said):
    (problem,) = problems_of(name)
    assert f"suite {name!r}" in problem
    assert said in problem


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ({"a": "b"}, "a: pair: 'b' does not name it back"),
        ({"a": "c"}, "a: pair: 'c' is no task of this suite"),
        ({"a": "a"}, "a: pair: 'a' does not name it back"),
    ],
)
def test_tasks_of_a_pair_must_name_each_other(tmp_path, pairs, said):
    lines = [record(i, pair=pairs.get(i)) for i in "ab"]
    assert said in problems_of(write_lines(tmp_path / "s.jsonl", *lines))[0]


def test_a_suite_that_ships_is_found_by_its_name_before_any_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent-guardrails").write_text(json.dumps(record("a")))
    assert find_suite("agent-guardrails").source == "steadfast"
