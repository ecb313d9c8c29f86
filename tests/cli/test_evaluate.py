"""`steadfast evaluate` on a tiny model: suites of every kind, exit codes, and being stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from steadfast.evals.rows import CONSTANT
from tests.tasks.examples import record, write_lines

ROOT = Path(__file__).parents[2]
FOUR = ("oversight-log", "health-triage", "format-constraints", "scope-discipline")


@pytest.fixture
def evaluate(steadfast, tiny_model_dir, tmp_path):
    def call(*options, model=tiny_model_dir):
        return steadfast("evaluate", "--model", model, "--out", tmp_path / "out", *options)

    return call


def own_suite():
    return [
        {"id": i, "messages": [{"role": "user", "content": f"May I {i} her?"}], "good": ["No."], "bad": ["Yes."]}
        for i in ("shout at", "push")
    ]


def test_suites_by_name_file_and_function_are_measured_together(evaluate, tmp_path):
    file = write_lines(tmp_path / "mine.jsonl", *own_suite())
    names = ("health-triage", file, "tests.cli.test_evaluate:own_suite")
    result = evaluate(*(x for name in names for x in ("--eval", name)), "--limit", "2", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert {e["suite"] for e in found["evals"]} == {"health-triage", "mine", "own_suite"}
    assert all(e["score"] is not None for e in found["evals"])
    assert (found["errors"], found["unscored"]) == ([], [])
    assert Path(found["results"]).is_file()


def test_a_suite_of_a_users_trait_is_measured_by_her_judge(evaluate, tmp_path):
    traits = tmp_path / "traits.yaml"
    traits.write_text("kindness: Is kind to people when nobody asks for it.\n")
    file = write_lines(tmp_path / "kind.jsonl", record("a", trait="kindness"), record("b", trait="kindness"))
    result = evaluate(
        "--eval", file, "--traits", traits, "--judge", "tests.cli.judges:HalfJudge", "--max-new-tokens", "4"
    )
    assert result.exit_code == 0, result.stderr
    rows = pl.read_parquet(tmp_path / "out" / "results.parquet").filter(pl.col("condition") != CONSTANT)
    assert rows["trait"].to_list() == ["kindness"] * 2
    assert rows["score"].to_list() == [0.5] * 2


def test_a_suite_without_any_score_is_exit_code_1_with_a_sentence_and_is_asked_again(evaluate, tmp_path):
    file = write_lines(tmp_path / "dark.jsonl", record("a"), record("b"))
    options = ("--eval", file, "--judge", "tests.cli.judges:BlindJudge", "--max-new-tokens", "4")
    for _ in range(2):
        result = evaluate(*options)
        assert result.exit_code == 1
        assert "dark on" in result.stderr
        assert "none of 2 tasks was scored: it is dark" in result.stderr
    as_json = evaluate(*options, "--json")
    assert as_json.exit_code == 1
    assert "it is dark" in json.loads(as_json.stdout)["unscored"][0]


def test_a_suite_that_the_model_cannot_be_shown_is_not_said_to_be_asked_again(evaluate):
    result = evaluate("--eval", "oversight-log", "--limit", "1")
    assert result.exit_code == 1
    assert "exceed the 512 tokens" in result.stderr
    assert "the model cannot be shown them" in result.stderr
    assert "ask once more" not in result.stderr


def test_the_dtype_and_the_template_reach_the_model(evaluate, tmp_path):
    call = ("--eval", write_lines(tmp_path / "mine.jsonl", *own_suite()), "--max-new-tokens", "4")
    result = evaluate(*call, "--dtype", "bfloat16", "--chat-template-kwargs", '{"enable_thinking": false}')
    assert result.exit_code == 0, result.stderr
    model = json.loads((tmp_path / "out" / "protocol.json").read_text())["model"]
    assert model["dtype"] == "bfloat16"
    assert "enable_thinking" in json.dumps(model)
    changed = evaluate(*call)
    assert changed.exit_code == 2
    assert "holds results of another model.dtype (bfloat16 before, float32 now)" in changed.stderr


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--chat-template-kwargs", "{"], "--chat-template-kwargs: '{' is not JSON"),
        (["--chat-template-kwargs", "[1]"], "is not a JSON object"),
        (["--dtype", "float8"], "float8"),
        (["--device", "nowhere"], "nowhere"),
        (["--eval", "no-such-eval"], "suite 'no-such-eval': no eval or family that ships"),
        (["--construct", "nope"], "unknown construct 'nope'"),
        (["--source", "nope"], "--source 'nope' is unknown"),
        (["--judge-budget", "3"], "makes no calls that could be limited"),
        (["--adapter", "./no-such-adapter"], "no-such-adapter"),
    ],
)
def test_a_faulty_option_is_an_error_that_names_it(evaluate, options, fault):
    result = evaluate(*options)
    assert result.exit_code == 2
    assert fault in result.stderr
    assert result.stdout == ""


def test_a_model_that_is_told_to_stop_ends_in_one_line_and_goes_on_where_it_was(tiny_model_dir, tmp_path):
    out = tmp_path / "out"
    call = [sys.executable, "-m", "steadfast", "evaluate", "--model", str(tiny_model_dir), "--out", str(out), "--json"]
    call += [x for name in FOUR for x in ("--eval", name)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    process = subprocess.Popen(call, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
    until = time.monotonic() + 120
    while not list(out.glob("rows/*.parquet")) and time.monotonic() < until:
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 143
    assert stdout == ""
    assert stderr.splitlines()[-1] == "stopped; the same command goes on where it was"
    assert "Aborted" not in stderr
    assert "Traceback" not in stderr
    assert not (out / ".lock.holder").exists()
    done = {file: file.stat().st_mtime_ns for file in out.glob("rows/*.parquet")}
    again = subprocess.run(call, capture_output=True, env=environment, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert f"{next(iter(done)).stem}: complete already" in again.stderr
    assert {file: file.stat().st_mtime_ns for file in done} == done
    assert {e["suite"] for e in json.loads(again.stdout)["evals"]} == set(FOUR)
