"""judges exam and judges agree, on a user's own files and judges."""

import json

import pytest

from steadfast.graders.exam.polarity import KINDS, minimal_pairs
from tests.tasks.examples import record, write_lines


@pytest.fixture
def run(steadfast):
    return lambda *arguments: steadfast("judges", *arguments)


@pytest.fixture
def files(tmp_path):
    scenarios = write_lines(tmp_path / "s.jsonl", *(record(name) for name in "abc"))
    gold = write_lines(tmp_path / "g.jsonl", *({"scenario": n, "good": "x" * 200, "bad": "x" * 100} for n in "abc"))
    return scenarios, gold


FAKE = "tests.cli.judges:LengthJudge"
HALF = "tests.cli.judges:HalvedLengthJudge"


def test_a_judge_is_examined_and_attacked_on_a_users_gold_answers(run, files):
    scenarios, gold = files
    result = run("exam", "--judge", FAKE, "--scenarios", scenarios, "--gold", gold, "--attacks", "--json")
    exam = json.loads(result.stdout)
    assert (exam["pairs"], exam["accuracy"], exam["auc"]) == (3, 1, 1)
    assert {k: f["n"] for k, f in exam["polarity"].items()} == {k: len(minimal_pairs(k)) for k in KINDS}
    assert exam["polarity"]["added"]["share"] == 0  # the false answer is the longer one
    assert exam["polarity"]["removed"]["share"] == 1
    low, high = exam["polarity"]["roles"]["interval"]
    assert low < exam["polarity"]["roles"]["share"] < high
    assert exam["calibration"]["brier"] == pytest.approx((0.8**2 + 0.1**2) / 2)
    assert exam["attacks"][0] == {
        "answer": "good answer",
        "kind": "gold",
        "mean": pytest.approx(0.2),
        "beats_good": 0.5,
        "beats_bad": None,
        "gated": 0.0,
        "ungraded": 0,
    }


def test_the_exam_shows_its_parts_on_the_error_stream(run, files):
    scenarios, gold = files
    result = run("exam", "--judge", FAKE, "--scenarios", scenarios, "--gold", gold, "--json")
    lines = result.stderr.splitlines()
    for number, part in enumerate(("gold answers", "minimal pairs", "attacks"), start=1):
        assert f"stage {number} of 3: {part}" in lines
    assert any("23/23" in line for line in lines)
    json.loads(result.stdout)


def test_the_exam_prints_tables(run, files):
    scenarios, gold = files
    result = run("exam", "--judge", FAKE, "--scenarios", scenarios, "--gold", gold)
    assert result.exit_code == 0
    for title in ("exam of length", "reliability", "by trait", "by domain", "minimal pairs", "attacks"):
        assert title in result.stdout


def test_gold_answers_of_unknown_scenarios_are_reported_with_file_and_line(run, tmp_path, files):
    scenarios, _ = files
    gold = write_lines(tmp_path / "other.jsonl", {"scenario": "zz", "good": "x", "bad": "y"})
    result = run("exam", "--judge", FAKE, "--scenarios", scenarios, "--gold", gold)
    assert result.exit_code == 2
    assert f"{gold}:1: scenario: 'zz'" in result.stderr


def test_scenarios_without_gold_and_a_cross_fit_of_another_judge_are_refused(run, files):
    scenarios, _ = files
    assert "give both" in run("exam", "--judge", FAKE, "--scenarios", scenarios).stderr
    assert "--cross-fit" in run("exam", "--judge", FAKE, "--cross-fit").stderr
    assert "give both" in run("agree", FAKE, HALF, "--scenarios", scenarios).stderr


def test_the_agreement_of_two_judges_on_a_users_answers(run, tmp_path, files):
    scenarios, _ = files
    rows = [{"scenario": n, "answer": "x" * (100 + 10 * i + j)} for i, n in enumerate("abc") for j in range(3)]
    answers = write_lines(tmp_path / "answers.jsonl", *rows)
    result = run("agree", FAKE, HALF, "--scenarios", scenarios, "--answers", answers, "--json")
    agreement = json.loads(result.stdout)
    assert (agreement["spearman"], agreement["order"]) == (pytest.approx(1), 1)
    assert (agreement["answers"], agreement["pairs"]) == (9, 9)
    assert "spearman" in run("agree", FAKE, HALF, "--scenarios", scenarios, "--answers", answers).stdout
