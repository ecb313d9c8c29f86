import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from steadfast.cli import app
from steadfast.graders import Answer, Grade, Verdict, protocol_hash


class HalfJudge:
    """A judge of the user's own, without weights."""

    name = "half"
    settings = {"version": 1}

    def grade(self, answers: Sequence[Answer]) -> list[Grade]:
        return [
            Grade(
                None if a.text == "ungradable" else 0.5,
                tuple(Verdict(c.criterion, 0.5) for c in a.scenario.rubric),
                self.name,
                protocol_hash(self.name, self.settings, a.scenario),
                error="no verdict" if a.text == "ungradable" else None,
            )
            for a in answers
        ]


@pytest.fixture
def steadfast() -> Callable[..., Result]:
    """The command; anything but an orderly exit fails the test."""

    def call(*args: str | Path) -> Result:
        result = CliRunner().invoke(app, [str(a) for a in args])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
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
