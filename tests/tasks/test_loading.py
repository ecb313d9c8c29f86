import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from steadfast.errors import DataError
from steadfast.messages import is_blank
from steadfast.tasks import Task, built_in_scenarios, load_tasks, read_jsonl, with_splits
from tests.tasks.examples import criterion, record, write_lines

VISIBLE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: not is_blank(text))

USER, ASSISTANT, SYSTEM = ({"role": r, "content": f"the {r} speaks"} for r in ("user", "assistant", "system"))

FAULTS = {
    "unknown trait": (record(trait="bravery"), "trait: unknown trait 'bravery'; known: truthfulness"),
    "unknown domain": (record(domain="space"), "domain: unknown domain 'space'; known: "),
    "no positive points": (record(rubric=[criterion(points=-1)]), "rubric: no criterion has points above zero"),
    "same criterion twice": (record(rubric=[criterion(), criterion()]), "rubric: the same criterion"),
    "zero points": (record(rubric=[criterion(), criterion("x", 0)]), "rubric.1.points: a criterion worth 0 points"),
    "no rubric": (record(rubric=[]), "rubric: "),
    "points that are no number": (record(rubric=[criterion(points="3")]), "rubric.0.points: points must be a number"),
    "points that are a truth value": (record(rubric=[criterion(points=True)]), "rubric.0.points: points must be"),
    "infinite points": (record(rubric=[criterion(points=float("inf"))]), "rubric.0.points: Infinity is not JSON"),
    "points that are NaN": (record(rubric=[criterion(points=float("nan"))]), "rubric.0.points: NaN is not JSON"),
    "points beyond floats": (record(rubric=[criterion(points=10**400)]), "rubric.0.points: the number 1000"),
    "a blank criterion": (record(rubric=[criterion(" \t\u200b")]), "rubric.0.criterion: the text is blank"),
    "a blank statement": (record(rubric=[criterion(met=["\n"])]), "rubric.0.met.0: the text is blank"),
    "one statement met and unmet": (
        record(rubric=[criterion(met=["It is safe."], unmet=["No.", "It is  safe."])]),
        "rubric.0: met: 'It is safe.' is an unmet statement too",
    ),
    "unknown field": (record(weight=2), "weight: unknown field"),
    "unknown field in the rubric": (record(rubric=[criterion(weigth=2)]), "rubric.0.weigth: unknown field"),
    "missing field": ({k: v for k, v in record().items() if k != "messages"}, "messages: Field required"),
    "empty id": (record(""), "id: "),
    "empty message": (record(messages=[{"role": "user", "content": ""}]), "messages.0.content: "),
    "unknown role": (record(messages=[{"role": "bot", "content": "x"}]), "messages.0.role: "),
    "assistant speaks first": (record(messages=[ASSISTANT, USER]), "messages: after an optional system turn"),
    "user speaks twice": (record(messages=[USER, USER]), "messages: after an optional system turn"),
    "system in the middle": (record(messages=[USER, ASSISTANT, SYSTEM, USER]), "messages: after an optional system"),
    "assistant speaks last": (record(messages=[USER, ASSISTANT]), "messages: the last message must be the user's"),
    "system alone": (record(messages=[SYSTEM]), "messages: the last message must be the user's"),
    "no messages": (record(messages=[]), "messages: "),
    "unknown split": (record(split="test"), "split: "),
    "unknown pressure": (record(pressure="boredom"), "pressure: "),
    "cut-off JSON": ('{"id": "a", "trait"', "not a JSON object: "),
    "a list": ("[1, 2]", ""),
    "a bare word": ("hello", "not a JSON object: "),
}


def problems_of(path):
    with pytest.raises(DataError) as caught:
        load_tasks(path)
    return caught.value.problems


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_reported_with_file_line_and_field(tmp_path, name):
    line, expected = FAULTS[name]
    path = write_lines(tmp_path / "s.jsonl", record("fine"), "", line)
    problems = problems_of(path)
    assert any(p.startswith(f"{path}:3: {expected}") for p in problems), problems
    assert all(p.startswith(f"{path}:3: ") for p in problems)


def test_a_rubric_needs_no_statements_and_its_points_may_be_fractions(tmp_path):
    bare = [{"criterion": "Asks her weight.", "points": 2.5}, {"criterion": "Guesses.", "points": -1}]
    (scenario,) = load_tasks(write_lines(tmp_path / "s.jsonl", record(rubric=bare)))
    assert [(c.points, c.met, c.unmet) for c in scenario.rubric] == [(2.5, (), ()), (-1, (), ())]
    assert [type(c.points) for c in scenario.rubric] == [float, int]


def test_faults_of_all_lines_are_reported_in_one_go(tmp_path):
    path = write_lines(tmp_path / "s.jsonl", *(line for line, _ in FAULTS.values()))
    problems = problems_of(path)
    for number, (_, expected) in enumerate(FAULTS.values(), start=1):
        assert any(p.startswith(f"{path}:{number}: {expected}") for p in problems), (number, expected)


def test_two_faulty_fields_of_one_line_are_both_reported(tmp_path):
    path = write_lines(tmp_path / "s.jsonl", record(trait="bravery", domain="space", colour="red"))
    fields = {p.removeprefix(f"{path}:1: ").split(":")[0] for p in problems_of(path)}
    assert fields == {"trait", "domain", "colour"}


def test_a_rubric_without_positive_points_is_reported_beside_another_fault_of_its_line(tmp_path):
    path = write_lines(tmp_path / "s.jsonl", record(trait="bravery", rubric=[criterion(points=-1)]))
    text = "\n".join(problems_of(path))
    assert "unknown trait" in text
    assert "points above zero" in text


def test_a_duplicate_id_is_reported_with_both_lines(tmp_path):
    path = write_lines(tmp_path / "s.jsonl", record("a"), record("b"), "", record("a"), record("a"))
    assert problems_of(path) == [
        f"{path}:4: id: 'a' is already on line 1",
        f"{path}:5: id: 'a' is already on line 1",
    ]


def test_a_duplicate_id_is_reported_even_where_one_of_the_two_lines_has_another_fault(tmp_path):
    path = write_lines(tmp_path / "s.jsonl", record("a", trait="bravery"), record("a"))
    problems = problems_of(path)
    assert any(p.startswith(f"{path}:2: id: 'a'") for p in problems), problems


@pytest.mark.parametrize("content", ["", "\n\n  \n"])
def test_a_file_without_records_is_an_error(tmp_path, content):
    path = tmp_path / "s.jsonl"
    path.write_text(content)
    assert problems_of(path) == [f"{path}: the file holds no records"]


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "none.jsonl"
    assert problems_of(path) == [f"{path}: no such file"]


def test_text_that_is_not_utf8_is_an_error_that_names_the_place(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_bytes(b'{"id": "caf\xe9"}\n')
    (problem,) = problems_of(path)
    assert problem.startswith(f"{path}: not UTF-8")
    assert "byte 11" in problem


@pytest.mark.parametrize("line", ["[" * 100_000, '{"id": ' + "1" * 5000 + "}"], ids=["deep nesting", "huge number"])
def test_json_that_the_parser_gives_up_on_is_reported_like_any_other_fault(tmp_path, line):
    path = write_lines(tmp_path / "s.jsonl", record("fine"), line)
    assert any(p.startswith(f"{path}:2: ") for p in problems_of(path))


def test_the_error_counts_its_problems(tmp_path):
    path = write_lines(tmp_path / "s.jsonl", "x", "y")
    with pytest.raises(DataError, match=r"^2 problems found:\n"):
        load_tasks(path)
    path = write_lines(tmp_path / "s.jsonl", "x")
    with pytest.raises(DataError, match=r"^1 problem found:\n"):
        load_tasks(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(["", "a list"])
@example(["a list", "a bare word", None])
@given(st.lists(st.sampled_from([None, "", *FAULTS]), min_size=1, max_size=12))
def test_exactly_the_faulty_lines_are_reported(tmp_path, plan):
    """None stands for a good line, "" for a blank one."""
    lines = [record(f"good-{i}") if name is None else FAULTS[name][0] if name else "" for i, name in enumerate(plan)]
    lines = [{**x, "id": f"bad-{i}"} if isinstance(x, dict) and x["id"] == "a" else x for i, x in enumerate(lines)]
    path = write_lines(tmp_path / "s.jsonl", *lines)
    faulty = {i for i, name in enumerate(plan, start=1) if name}
    good = [f"good-{i}" for i, name in enumerate(plan) if name is None]
    if faulty:
        assert {int(p.removeprefix(f"{path}:").split(":")[0]) for p in problems_of(path)} == faulty
    elif good:
        assert [s.id for s in load_tasks(path)] == good


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_no_content_of_a_file_raises_anything_but_a_data_error(tmp_path, content):
    path = tmp_path / "s.jsonl"
    path.write_bytes(content)
    assert problems_of(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VISIBLE, min_size=1, max_size=5, unique=True))
@example(["a\u2028b", "c\x85d"])
def test_what_is_written_is_read_back_whatever_characters_it_holds(tmp_path, ids):
    written = [Task.model_validate(record(i)) for i in ids]
    path = tmp_path / "s.jsonl"
    lines = [json.dumps(s.row(), ensure_ascii=False) for s in written]
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
    assert read_jsonl(path, Task, key="id") == written


def test_the_split_of_an_id_never_changes(tmp_path):
    """Pinned: a change of the hash would move scenarios between the pools of runs already made."""
    path = write_lines(tmp_path / "s.jsonl", *(record(f"scenario-{i}") for i in range(12)))
    first = {s.id: s.split for s in load_tasks(path)}
    backwards = with_splits(Task.model_validate(record(f"scenario-{i}")) for i in reversed(range(12)))
    assert {s.id: s.split for s in backwards} == first
    assert [i for i, split in first.items() if split == "held_out"] == [
        "scenario-1",
        "scenario-7",
        "scenario-8",
        "scenario-10",
    ]


def test_a_split_that_is_given_stays():
    for split in ("train", "held_out"):
        given_ones = [Task.model_validate(record(f"s{i}", split=split)) for i in range(40)]
        assert {s.split for s in with_splits(given_ones)} == {split}


def test_about_a_quarter_is_held_out():
    split = with_splits(Task.model_validate(record(f"s{i}")) for i in range(1000))
    assert 200 <= sum(s.split == "held_out" for s in split) <= 300
    assert {s.split for s in split} == {"train", "held_out"}


def test_the_corpus_comes_in_the_same_order_each_time():
    assert [s.id for s in built_in_scenarios()] == [s.id for s in built_in_scenarios()]


def test_a_first_line_that_is_a_list_hides_no_fault_of_the_others(tmp_path):
    path = tmp_path / "tasks.jsonl"
    path.write_text("[]\n" + json.dumps(record(trait="bravery")) + "\n")
    with pytest.raises(DataError) as caught:
        load_tasks(path)
    first, second = caught.value.problems
    assert first.startswith(f"{path}:1: not a JSON object")
    assert second.startswith(f"{path}:2: trait: unknown trait 'bravery'")


@pytest.mark.parametrize("unmet", ["It\u00a0is safe.", "It is\u200b safe.", "It  is safe.\n"])
def test_a_statement_met_and_unmet_is_found_in_any_spelling_that_reads_alike(tmp_path, unmet):
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(record(rubric=[criterion(met=["It is safe."], unmet=[unmet])])) + "\n")
    with pytest.raises(DataError, match="is an unmet statement too"):
        load_tasks(path)
