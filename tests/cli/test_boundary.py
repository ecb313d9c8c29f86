"""Where commands end: errors, signals, what is printed and what is read from the surroundings."""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import typer
from pydantic import TypeAdapter
from typer.testing import CliRunner

from steadfast.cli import app
from steadfast.cli._errors import resumable, user_errors
from steadfast.errors import SteadfastError
from steadfast.files import write_text
from tests.tasks.examples import record, write_lines

ROOT = Path(__file__).parents[2]
MARKUP = "[bold]x[/nope]"
CONTROL = "\x1b[31mred\x9b0m\u202e"
JUDGE = "tests.cli.judges:HalfJudge"


def outcome(raises, decorator=user_errors, *options):
    """The result of a command that raises something."""
    small = typer.Typer()

    @small.command()
    @decorator
    def command():
        raises()

    return CliRunner().invoke(small, list(options))


def process(*args, cwd=ROOT, **environment):
    """The real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "steadfast", *map(str, args)],
        capture_output=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])} | environment,
        timeout=120,
    )


def raising(error):
    def raises():
        raise error

    return raises


USERS_FAULTS = {
    "SteadfastError": (lambda: raising(SteadfastError("x.jsonl:3: is torn"))(), "error: x.jsonl:3: is torn"),
    "ValidationError": (lambda: TypeAdapter(dict[str, int]).validate_python({"a": "b"}), "a: Input should be a valid"),
    "UnicodeDecodeError": (lambda: b"\xff".decode(), "is not UTF-8 (invalid start byte at byte 0)"),
    "UnicodeEncodeError": (lambda: "\ud800".encode(), "cannot be written as UTF-8"),
    "sqlite": (lambda: sqlite3.connect("/no/such/folder/x"), "the cache of grades cannot be used (unable to open"),
    "polars": (lambda: pl.DataFrame({"a": [1]}).select("b"), "a table cannot be read or written"),
    "OSError": (lambda: Path("/no/such/file").read_text(), "error: /no/such/file: No such file or directory"),
    "MemoryError": (raising(MemoryError()), "the memory is full"),
}


@pytest.mark.parametrize("kind", USERS_FAULTS)
def test_a_users_fault_is_one_sentence_with_exit_code_2(kind):
    raises, sentence = USERS_FAULTS[kind]
    result = outcome(raises)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)


def test_a_bug_is_a_sentence_with_its_place_and_a_way_to_see_more():
    result = outcome(lambda: {}["no key"])
    assert result.exit_code == 70
    assert "this is a bug: KeyError: 'no key' (test_boundary.py:" in result.stderr
    assert "--debug" in result.stderr


@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_bug_keeps_its_traceback_where_that_is_asked_for(monkeypatch, how):
    def broken(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr("steadfast.tasks.Taxonomy.load", broken)
    if how == "environment":
        monkeypatch.setenv("STEADFAST_DEBUG", "1")
    options = ["--debug"] if how == "option" else []
    assert isinstance(CliRunner().invoke(app, [*options, "traits"]).exception, ZeroDivisionError)
    monkeypatch.delenv("STEADFAST_DEBUG", raising=False)
    assert CliRunner().invoke(app, ["traits"]).exit_code == 70


def test_a_full_disk_names_what_could_not_be_written_first(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)

    def raises():
        try:
            write_text(tmp_path / "rows.parquet", "x")
        finally:
            write_text(tmp_path / "timing.json", "x")

    result = outcome(raises)
    assert result.exit_code == 2
    assert f"cannot write {tmp_path / 'rows.parquet'}: No space left on device" in result.stderr
    assert "timing.json" not in result.stderr


def test_a_disk_that_is_full_while_something_else_is_cleared_up_is_told_with_its_path(tmp_path):
    error = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "file"))
    result = outcome(raising(error))
    assert f"error: {tmp_path / 'file'}: No space left on device; free some room" in result.stderr


def test_an_interruption_is_one_line_and_never_aborted():
    for decorator, line in (
        (user_errors, "stopped\n"),
        (resumable, "stopped; the same command goes on where it was\n"),
    ):
        result = outcome(raising(KeyboardInterrupt()), decorator)
        assert result.exit_code == 130
        assert result.output == line


def test_sigterm_ends_as_an_interruption_does_and_is_as_before_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    cleared = []

    def raises():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            cleared.append(True)

    result = outcome(raises, resumable)
    assert result.exit_code == 143
    assert result.output == "stopped; the same command goes on where it was\n"
    assert cleared == [True]
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_id_that_looks_like_markup_loses_no_grades(steadfast, tmp_path):
    names = [MARKUP, CONTROL]
    scenarios = write_lines(tmp_path / "s.jsonl", *(record(n) for n in names))
    answers = write_lines(tmp_path / "a.jsonl", *({"scenario": n, "answer": "Yes."} for n in names))
    call = ("grade", "--scenarios", scenarios, "--answers", answers, "--judge", JUDGE)
    table = steadfast(*call)
    assert table.exit_code == 0
    assert MARKUP in table.stdout
    assert table.stdout.count("0.500") == 2
    as_json = steadfast(*call, "--json")
    assert [json.loads(line)["scenario"] for line in as_json.stdout.splitlines()] == names
    for output in (table.output, as_json.output, steadfast("scenarios", "--file", scenarios).output):
        assert not {"\x1b", "\x9b", "\u202e"} & set(output)


def test_names_in_errors_and_checks_are_plain_text(steadfast, tmp_path):
    path = write_lines(tmp_path / "s.jsonl", record(CONTROL, trait=MARKUP))
    for result in (steadfast("check", path), steadfast("check", path, "--json"), steadfast("grade", MARKUP + CONTROL)):
        assert result.exit_code == 2
        assert not {"\x1b", "\x9b", "\u202e"} & set(result.output)
    assert MARKUP in steadfast("check", path).stderr


def test_output_is_utf8_on_a_terminal_that_is_not(tmp_path):
    scenarios = write_lines(tmp_path / "s.jsonl", record("醋", trait="ü"))
    for ending in ((), ("--json",)):
        result = process("check", scenarios, *ending, PYTHONIOENCODING="ascii", LC_ALL="C")
        assert result.returncode == 2
        assert "unknown trait 'ü'" in (result.stdout + result.stderr).decode("utf-8")
    good = write_lines(tmp_path / "g.jsonl", record("醋"))
    listed = process("scenarios", "--file", good, PYTHONIOENCODING="ascii", LC_ALL="C")
    assert listed.returncode == 0
    assert "醋" in listed.stdout.decode("utf-8")


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    call = f"{sys.executable} -m steadfast scenarios --json | head -c 10"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    result = subprocess.run(["bash", "-c", call], capture_output=True, env=environment, timeout=120)
    assert b"error" not in result.stderr
    assert b"Traceback" not in result.stderr


def test_a_dotenv_file_is_read_before_anything_needs_it(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / ".env").write_text("STEADFAST_DEBUG=1\nOPENAI_API_KEY=from-the-file\n")
    (tmp_path / "show.py").write_text(
        "import os\n\ndef suite():\n    raise ValueError(os.environ['OPENAI_API_KEY'][:4])\n"
    )
    result = process("check", "show:suite", cwd=tmp_path)
    assert b"ValueError: from" in result.stderr
    kept = process("check", "show:suite", cwd=tmp_path, OPENAI_API_KEY="mine-is-set", TERM_PROGRAM="xterm")
    assert b"ValueError: mine" in kept.stderr


def test_a_dotenv_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe\n")
    result = process("traits", cwd=tmp_path)
    assert result.returncode == 2
    assert b".env: cannot be read" in result.stderr
