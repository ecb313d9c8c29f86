import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from steadfast.cli import app


@pytest.fixture
def steadfast() -> Callable[..., Result]:
    """The command; anything but an orderly exit fails the test."""

    def call(*args: str | Path) -> Result:
        result = CliRunner().invoke(app, [str(a) for a in args])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
        assert "this is a bug" not in result.output
        return result

    return call


@pytest.fixture
def steadfast_json(steadfast):
    """What the command prints with --json."""

    def call(*args: str | Path):
        result = steadfast(*args, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return call
