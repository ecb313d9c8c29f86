import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import steadfast  # noqa: F401
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


@pytest.fixture
def call(steadfast, out):  # noqa: F811
    """`steadfast synthesize` on one cell."""

    def run(*args: Any, n: int = 1, cell: tuple[str, ...] = CELL):
        common = ("--model", "openai/gpt-4o-test", "--out", out, "--no-embeddings", "--n", n)
        return steadfast("synthesize", *common, *cell, *args)

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
