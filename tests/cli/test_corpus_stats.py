"""`steadfast corpus stats`, with embeddings that a test decides."""

import json

import numpy as np
import pytest

from tests.tasks.examples import record, write_lines


@pytest.fixture
def embedded(monkeypatch):
    """Every scenario alone in its direction, or all in the same."""

    def choose(*, alike):
        def embed(texts):
            rows = np.eye(len(texts), 1000, dtype=np.float32)
            return rows[:1].repeat(len(texts), axis=0) if alike else rows

        monkeypatch.setattr("steadfast.models.conversations.conversation_embeddings", embed)

    return choose


def test_the_shipped_corpus_passes_as_a_table(steadfast, embedded):
    embedded(alike=False)
    result = steadfast("corpus", "stats")
    assert result.exit_code == 0
    assert result.stderr == ""
    for title in ("figures", "scenarios by trait (15)", "scenarios by domain (12)", "nearest pairs by embedding (10)"):
        assert title in result.stdout


def test_the_shipped_corpus_as_json(steadfast_json, embedded):
    embedded(alike=False)
    stats = steadfast_json("corpus", "stats", "--pairs", "3")
    assert stats["faults"] == []
    assert len(stats["cells"]) == 15
    assert all(len(row) == 12 for row in stats["cells"].values())
    assert sum(stats["turns"].values()) == sum(stats["scenarios"].values())
    assert len(stats["nearest"]) == 3


@pytest.mark.parametrize("as_json", [True, False])
def test_a_file_of_scenarios_too_much_alike_is_exit_code_2_and_the_pair_is_named(
    steadfast, embedded, tmp_path, as_json
):
    embedded(alike=True)
    path = write_lines(tmp_path / "s.jsonl", record("first"), record("second"))
    result = steadfast("corpus", "stats", "--file", path, *["--json"] * as_json)
    assert result.exit_code == 2
    assert "'first' and 'second' are nearly one scenario" in result.stderr
    if as_json:
        assert len(json.loads(result.stdout)["faults"]) == 1


def test_a_faulty_file_is_an_error_with_line_and_field(steadfast, tmp_path):
    path = write_lines(tmp_path / "s.jsonl", record(trait="bravery"))
    result = steadfast("corpus", "stats", "--file", path)
    assert result.exit_code == 2
    assert "s.jsonl:1: trait: unknown trait" in result.stderr
