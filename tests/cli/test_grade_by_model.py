"""`steadfast grade` with a language model behind a real server on the loopback."""

import json

import pytest

from tests.corpus.examples import record, write_lines
from tests.openai_server import OpenAIServer

GOOD = json.dumps({"c1": {"reason": "It says so.", "score": 3}, "c2": {"reason": "No weight.", "score": 0}})
SAFE = "That dose is unsafe for her."


@pytest.fixture
def server(monkeypatch):
    """Grades answers that call the dose unsafe, and babbles about all others."""

    def reply(messages, request):
        return GOOD if "unsafe" in messages[1]["content"].split("<answer")[1] else "?"

    with OpenAIServer(reply) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_API_KEY", "command line")
        yield running


def test_the_command_line_grades_by_a_model_and_counts_what_it_could_not(steadfast, tmp_path, server):
    scenarios = write_lines(tmp_path / "s.jsonl", record("a"))
    lines = [{"scenario": "a", "answer": SAFE}, {"scenario": "a", "answer": "Of course it is fine."}]
    stored = write_lines(tmp_path / "a.jsonl", *lines)
    result = steadfast(
        "grade", "--scenarios", scenarios, "--answers", stored, "--judge", "openai/test-judge", "--json",
        "--budget", "2", "--max-connections", "1",
    )  # fmt: skip
    assert result.exit_code == 0
    good, bad = (json.loads(line) for line in result.stdout.splitlines())
    assert [list(v) for v in good["verdicts"]] == [["criterion", "score", "reason"]] * 2
    assert good["judge"] == "openai/test-judge"
    assert bad["score"] is None
    assert "budget of 2 calls" in bad["error"]
    assert "1 of 2 answers have no score" in result.stderr
    assert server.count == 2


def test_a_missing_key_ends_the_command_before_any_work(steadfast, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    scenarios = write_lines(tmp_path / "s.jsonl", record("a"))
    stored = write_lines(tmp_path / "a.jsonl", {"scenario": "a", "answer": SAFE})
    result = steadfast("grade", "--scenarios", scenarios, "--answers", stored, "--judge", "openai/gpt-4o")
    assert result.exit_code == 2
    assert "OPENAI_API_KEY" in result.stderr
