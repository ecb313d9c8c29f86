"""Help and lists."""

import json
import subprocess
import sys

import click
import pytest
import typer

from steadfast import __version__
from steadfast.cli import app
from steadfast.tasks import battery, built_in_scenarios, domains, traits
from tests.tasks.examples import record, write_lines


def commands(group, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group) or hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


COMMANDS = [*commands(typer.main.get_command(app))]


def test_the_commands_of_the_issue_are_there():
    expected = {
        "demo",
        "run",
        "report",
        "traits",
        "domains",
        "scenarios",
        "evals",
        "evaluate",
        "check",
        "grade",
        "sample",
    }
    assert expected <= {c[0] for c in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_explains_itself(steadfast, command, option):
    result = steadfast(*command, option)
    assert result.exit_code == 0
    assert "Usage:" in result.output
    text = [line for line in result.output.splitlines() if line.strip() and "Usage:" not in line]
    assert len(text[0].split()) >= 3, "no description"


def test_the_bare_command_shows_what_there_is(steadfast):
    result = steadfast()
    for name, *_ in COMMANDS:
        assert name in result.output


def test_traits_lists_all_fifteen_as_json(steadfast_json):
    rows = steadfast_json("traits")
    assert [r["id"] for r in rows] == [t.id for t in traits()]
    assert sum(r["starred"] for r in rows) == 7
    assert all(set(r) == {"id", "starred", "definition", "good", "failure"} for r in rows)


def test_domains_lists_all_twelve_as_json(steadfast_json):
    rows = steadfast_json("domains")
    assert [r["id"] for r in rows] == [d.id for d in domains()]
    assert all(r["covers"] for r in rows)


@pytest.mark.parametrize(("command", "described"), [("traits", "definition"), ("domains", "covers")])
def test_what_a_user_defines_is_listed_after_what_ships(steadfast, steadfast_json, tmp_path, command, described):
    file = tmp_path / "own.yaml"
    file.write_text("kindness: Is kind to people when nobody asks for it.\n")
    *shipped, own = steadfast_json(command, f"--{command}", file)
    assert shipped == steadfast_json(command)
    assert (own["id"], own[described]) == ("kindness", "Is kind to people when nobody asks for it.")
    assert "kindness" in steadfast(command, f"--{command}", file).stdout


def test_scenarios_of_a_users_own_are_listed_and_can_be_read_again(steadfast_json, tmp_path):
    file = write_lines(tmp_path / "s.jsonl", record("a"), record("b"))
    rows = steadfast_json("scenarios", "--file", file)
    assert [r["id"] for r in rows] == ["a", "b"]
    assert steadfast_json("scenarios", "--file", write_lines(tmp_path / "again.jsonl", *rows)) == rows


def test_the_version_is_printed(steadfast):
    assert steadfast("--version").stdout == f"steadfast {__version__}\n"


def test_evals_lists_the_battery_as_json(steadfast_json):
    rows = steadfast_json("evals", "--source", "steadfast")
    assert [r["name"] for r in rows] == [e.name for e in battery()]
    for row, evaluation in zip(rows, battery(), strict=True):
        assert row["items"] == len(evaluation.tasks) >= 16
        assert set(row["scorings"]) <= {"choice", "generation"}
        assert row["scorings"]
        assert (row["construct"], row["domain"]) == (evaluation.construct, evaluation.domain)


def test_scenarios_are_filtered_by_domain_and_split(steadfast_json):
    rows = steadfast_json("scenarios", "--domain", "health", "--split", "train")
    expected = [s.id for s in built_in_scenarios() if s.domain == "health" and s.split == "train"]
    assert [r["id"] for r in rows] == expected
    assert rows[0]["grader"]["criteria"][0]["points"]


def test_scenarios_are_filtered_by_trait(steadfast_json):
    rows = steadfast_json("scenarios", "--trait", "corrigibility")
    assert [r["id"] for r in rows] == [s.id for s in built_in_scenarios() if s.trait == "corrigibility"]


def test_scenarios_without_a_filter_are_all_of_them(steadfast_json):
    assert len(steadfast_json("scenarios")) == len(built_in_scenarios())


@pytest.mark.parametrize("command", ["traits", "domains", "evals", "scenarios"])
def test_a_list_without_json_is_a_table_with_a_count(steadfast, command):
    result = steadfast(command)
    assert result.exit_code == 0
    assert f"{command} (" in result.output


@pytest.mark.parametrize(
    ("option", "known"), [("--trait", "corrigibility"), ("--domain", "mathematics"), ("--split", "held_out")]
)
def test_an_unknown_filter_is_an_error_that_names_the_known_ones(steadfast, option, known):
    result = steadfast("scenarios", option, "bravery")
    assert result.exit_code == 2
    assert f"{option} 'bravery' is unknown" in result.stderr
    assert known in result.stderr
    assert result.stdout == ""


def test_an_unknown_command_is_an_error(steadfast):
    assert steadfast("no-such").exit_code == 2


def test_the_module_runs_as_the_command_does():
    call = [sys.executable, "-m", "steadfast", "traits", "--json"]
    assert len(json.loads(subprocess.run(call, capture_output=True, check=True, text=True).stdout)) == 15
