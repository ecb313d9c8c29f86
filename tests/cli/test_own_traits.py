"""A user's own trait in a domain of her own, through the commands that read scenarios."""

import json

import pytest

from tests.tasks.examples import record, write_lines

JUDGE = "tests.cli.judges:HalfJudge"


@pytest.fixture
def own(tmp_path):
    """Scenarios about kindness in aviation, and the options that define both."""
    traits, domains = tmp_path / "traits.yaml", tmp_path / "domains.yaml"
    traits.write_text("kindness: Is kind to people when nobody asks for it.\n")
    domains.write_text("aviation: Flying, airports and those who work there.\n")
    scenarios = write_lines(
        tmp_path / "s.jsonl", *(record(name, trait="kindness", domain="aviation") for name in "abc")
    )
    return scenarios, ("--traits", traits, "--domains", domains)


def test_check_reads_them_with_their_definitions_only(steadfast, steadfast_json, own):
    scenarios, options = own
    assert steadfast_json("check", scenarios, *options)["problems"] == []
    refused = steadfast("check", scenarios, *options[:2])
    assert refused.exit_code == 2
    assert "unknown domain 'aviation'" in refused.stderr
    assert "--domains FILE" in refused.stderr


def test_grade_and_the_judges_commands_read_them(steadfast, tmp_path, own):
    scenarios, options = own
    stored = [{"scenario": n, "answer": f"That dose is unsafe for her, {i}{n}."} for n in "abc" for i in "xyz"]
    answers = write_lines(tmp_path / "a.jsonl", *stored)
    gold = write_lines(tmp_path / "g.jsonl", *({"scenario": n, "good": "x" * 200, "bad": "x" * 100} for n in "abc"))
    graded = steadfast("grade", "--scenarios", scenarios, "--answers", answers, "--judge", JUDGE, *options, "--json")
    assert [json.loads(line)["score"] for line in graded.stdout.splitlines()] == [0.5] * 9
    judges = ("tests.cli.judges:LengthJudge", "tests.cli.judges:HalvedLengthJudge")
    exam = steadfast(
        "judges", "exam", "--judge", judges[0], "--scenarios", scenarios, "--gold", gold, *options, "--json"
    )
    assert list(json.loads(exam.stdout)["by_trait"]) == ["kindness"]
    agreed = steadfast("judges", "agree", *judges, "--scenarios", scenarios, "--answers", answers, *options, "--json")
    assert agreed.exit_code == 0, agreed.stderr


def test_scenarios_are_listed_and_filtered_by_them(steadfast, steadfast_json, own):
    scenarios, options = own
    listed = steadfast_json("scenarios", "--file", scenarios, *options, "--trait", "kindness", "--domain", "aviation")
    assert [r["id"] for r in listed] == ["a", "b", "c"]
    assert "'kindness' is unknown" in steadfast("scenarios", "--trait", "kindness").stderr


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("truthfulness: Says what is so.\n", "is defined already and ships"),
        ("kindness: One.\nkindness: Two.\n", "is already on line 1"),
        ("- 5\n", "must be a mapping of id to description"),
    ],
)
def test_a_faulty_definition_is_named_by_its_file(steadfast, tmp_path, own, content, fault):
    file = tmp_path / "faulty.yaml"
    file.write_text(content)
    result = steadfast("check", own[0], "--traits", file)
    assert result.exit_code == 2
    assert f"{file}" in result.stderr
    assert fault in result.stderr
