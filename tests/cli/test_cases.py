"""Inputs that were once refused or read wrongly, through `check` and `grade`, with what a user expects of each."""

import json
from pathlib import Path

import pytest

from tests.openai_server import OpenAIServer

CASES = Path(__file__).parent / "cases"
READ = ("bom", "chinese", "good", "healthbench", "no_statements", "nul")
REFUSED = {
    "blank": ["blank.jsonl:1: messages.0.content: ", "blank.jsonl:2: messages.0.content: "],
    "own_trait": ["own_trait.jsonl:1: trait: unknown trait 'warmth'", "own_trait.jsonl:1: domain: unknown domain"],
    "same_statement": ["same_statement.jsonl:1: rubric.0: met: 'Vinegar does not heal.' is an unmet statement too"],
    "surrogate_half": ["surrogate_half.jsonl:1: messages.0.content: holds half a surrogate pair"],
    "twice_key": ["twice_key.jsonl:1: domain: stands twice"],
}
UNGRADABLE = {
    "chinese": "not written in Latin letters",
    "healthbench": "has no met and no unmet statements",
    "no_statements": "has no met and no unmet statements",
}


def case(name):
    return CASES / f"{name}.jsonl"


@pytest.mark.parametrize("name", READ)
def test_what_can_be_read_passes_the_check(steadfast_json, name):
    found = steadfast_json("check", case(name))
    assert found["problems"] == []
    assert found["scenarios"] == len(case(name).read_text(encoding="utf-8-sig").splitlines())


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_by_line_and_field(steadfast, name):
    result = steadfast("check", case(name))
    assert result.exit_code == 2
    for fault in REFUSED[name]:
        assert fault in result.stderr


@pytest.mark.parametrize("name", READ)
def test_the_check_notes_what_the_embedded_judge_cannot_grade_without_its_encoder(
    steadfast, steadfast_json, monkeypatch, name
):
    def fail(*args):
        raise AssertionError("the encoder was loaded")

    monkeypatch.setattr("steadfast.graders.embedded.embedder.Embedder.__init__", fail)
    notes = steadfast_json("check", case(name))["notes"]
    if name not in UNGRADABLE:
        assert notes == []
        return
    (note,) = notes
    assert "the judge 'embedded' cannot grade 1 of 1 scenarios" in note
    assert UNGRADABLE[name] in note
    assert UNGRADABLE[name] in steadfast("check", case(name)).stderr


@pytest.mark.parametrize("name", ["chinese", "healthbench", "no_statements"])
def test_a_judge_that_grades_all_of_it_has_no_note(steadfast_json, name):
    assert steadfast_json("check", case(name), "--judge", "tests.cli.judges:HalfJudge")["notes"] == []


def test_the_embedded_judge_refuses_chinese_before_work_begins(steadfast):
    result = steadfast("grade", "--scenarios", case("chinese"), "--answers", case("chinese_answers"))
    assert result.exit_code == 2
    assert "this judge reads English" in result.stderr
    assert result.stdout == ""


def test_a_language_model_grades_chinese_and_no_gate_takes_it_for_empty(steadfast, monkeypatch):
    def reply(messages, request):
        return json.dumps({"c1": {"reason": "It says so.", "score": 4}, "c2": {"reason": "No.", "score": 0}})

    with OpenAIServer(reply) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "command line")
        result = steadfast(
            "grade", "--scenarios", case("chinese"), "--answers", case("chinese_answers"), "--judge",
            "openai/test-judge", "--json",
        )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    grades = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(g["score"], g.get("gate")) for g in grades] == [(1.0, None)] * 3


class ReadsEverything:
    """Gives each answer the share of its letters that the rubric's judge would see."""

    name = "reader"
    settings = {"version": 1}

    def grade(self, answers):
        from steadfast.graders import Grade, protocol_hash

        return [
            Grade(len(a.text) / 1000, (), self.name, protocol_hash(self.name, self.settings, a.task)) for a in answers
        ]


def test_thoughts_are_taken_off_before_a_judge_reads_the_answer(steadfast):
    result = steadfast(
        "grade", "--scenarios", case("good"), "--answers", case("think_answers"), "--judge",
        "tests.cli.test_cases:ReadsEverything", "--json",
    )  # fmt: skip
    plain, thought = (json.loads(line)["score"] for line in result.stdout.splitlines())
    assert plain == thought > 0


@pytest.mark.slow
def test_the_embedded_judge_gives_an_answer_the_same_grade_with_and_without_its_thoughts(steadfast):
    result = steadfast("grade", "--scenarios", case("good"), "--answers", case("think_answers"), "--json")
    plain, thought = (json.loads(line)["score"] for line in result.stdout.splitlines())
    assert plain == thought > 0.9
