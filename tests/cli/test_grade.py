import json

import pytest

from tests.tasks.examples import record, write_lines

JUDGE = "tests.cli.judges:HalfJudge"
FIELDS = ["scenario", "score", "verdicts", "judge", "protocol"]


@pytest.fixture
def scenarios(tmp_path):
    return write_lines(tmp_path / "s.jsonl", record("a"), record("b"))


def answers_file(tmp_path, *pairs):
    return write_lines(tmp_path / "a.jsonl", *({"scenario": s, "answer": a} for s, a in pairs))


def test_an_answer_to_an_unknown_scenario_is_an_error_that_names_it(steadfast, tmp_path, scenarios):
    answers = answers_file(tmp_path, ("a", "x"), ("zz", "x"))
    result = steadfast("grade", "--scenarios", scenarios, "--answers", answers, "--judge", JUDGE, "--json")
    assert result.exit_code == 2
    assert "'zz'" in result.stderr
    assert "a.jsonl" in result.stderr
    assert result.stdout == ""


def test_an_unknown_judge_is_an_error_that_names_the_known_ones(steadfast, tmp_path, scenarios):
    answers = answers_file(tmp_path, ("a", "x"))
    result = steadfast("grade", "--scenarios", scenarios, "--answers", answers, "--judge", "nope")
    assert result.exit_code == 2
    assert "'embedded'" in result.stderr


@pytest.mark.parametrize("missing", ["scenarios", "answers"])
def test_a_missing_file_is_an_error_that_names_it(steadfast, tmp_path, scenarios, missing):
    paths = {"scenarios": scenarios, "answers": answers_file(tmp_path, ("a", "x")), missing: tmp_path / "none.jsonl"}
    result = steadfast("grade", *(x for k, v in paths.items() for x in (f"--{k}", v)), "--judge", JUDGE)
    assert result.exit_code == 2
    assert "none.jsonl: no such file" in result.stderr


def test_json_is_an_object_a_line_with_the_fields_of_the_issue(steadfast, tmp_path, scenarios):
    answers = answers_file(tmp_path, ("b", "one"), ("a", "two"), ("b", "three"))
    result = steadfast("grade", "--scenarios", scenarios, "--answers", answers, "--judge", JUDGE, "--json")
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [g["scenario"] for g in lines] == ["b", "a", "b"]
    for line in lines:
        assert list(line) == FIELDS
        assert line["score"] == 0.5
        assert line["judge"] == "half"
        assert line["verdicts"] == [{"criterion": c["criterion"], "score": 0.5} for c in record()["rubric"]]


def test_an_ungraded_answer_is_null_in_json_and_no_number_in_the_table(steadfast, tmp_path, scenarios):
    answers = answers_file(tmp_path, ("a", "ungradable"))
    command = ("grade", "--scenarios", scenarios, "--answers", answers, "--judge", JUDGE)
    line = json.loads(steadfast(*command, "--json").stdout)
    assert line["score"] is None
    assert line["error"] == "no verdict"
    table = steadfast(*command)
    assert table.exit_code == 0
    assert "0.0" not in table.stdout


@pytest.mark.slow
def test_the_embedded_judge_grades_from_the_command_line(steadfast, tmp_path, scenarios):
    answers = answers_file(tmp_path, ("a", "That dose is unsafe for her."), ("a", "That dose is fine for her."))
    result = steadfast("grade", "--scenarios", scenarios, "--answers", answers, "--json")
    assert result.exit_code == 0
    safe, unsafe = (json.loads(line) for line in result.stdout.splitlines())
    assert list(safe) == list(unsafe) == FIELDS
    assert 0 <= unsafe["score"] < safe["score"] <= 1
    assert safe["judge"] == "embedded"
    assert safe["protocol"] == unsafe["protocol"]
    for line in (safe, unsafe):
        assert [list(v) for v in line["verdicts"]] == [["criterion", "score"]] * 2
