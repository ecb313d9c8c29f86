import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from steadfast.cli import app
from tests.openai_server import OpenAIServer
from tests.synthesis.author import strong

CELL = ("--trait", "truthfulness", "--domain", "health")


@pytest.fixture
def server(monkeypatch):
    with OpenAIServer(strong) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none needed here")
        yield running


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "more.jsonl"


def command(*args: Any) -> Result:
    """`steadfast synthesize` without embeddings; anything but an orderly exit fails the test."""
    result = CliRunner().invoke(app, ["synthesize", "--no-embeddings", *map(str, args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def call(out):
    """The command on one cell."""

    def run(*args: Any, n: int = 1, cell: tuple[str, ...] = CELL):
        return command("--model", "openai/gpt-4o-test", "--out", out, "--n", n, *cell, *args)

    return run


@pytest.fixture
def report(call):
    """Its report."""

    def run(*args: Any, **kwargs: Any) -> dict[str, Any]:
        result = call("--json", *args, **kwargs)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run


@pytest.fixture
def instant_retries(monkeypatch):
    """Inspect's waits between retries, without the waiting."""

    async def no_wait(seconds: float) -> None:
        assert seconds > 0

    monkeypatch.setattr("inspect_ai.model._retry._sleep", no_wait)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
