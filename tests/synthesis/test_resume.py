import json
import os
import signal
import subprocess
import sys
import time

import pytest

from steadfast.synthesis import provenance_path
from steadfast.tasks import built_in_scenarios
from tests.synthesis.author import strong
from tests.synthesis.conftest import CELL, lines

N = 12


def slow(messages, request):
    time.sleep(0.15)
    return strong(messages, request)


def synthesize_in_another_process(out, url) -> subprocess.Popen[str]:
    program = "from steadfast.cli import app; app()"
    common = ["--model", "openai/gpt-4o-test", "--n", str(N), "--max-connections", "3", "--no-embeddings", "--json"]
    return subprocess.Popen(
        [sys.executable, "-c", program, "synthesize", *common, *CELL, "--out", str(out)],
        env=os.environ | {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none needed here"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_lines(out, count, process):
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if out.exists() and out.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    pytest.fail(f"the process ended before it wrote {count} lines: {process.communicate()}")


def test_killed_in_the_middle_it_ends_with_the_same_ids_and_seeds_as_without(report, server, out, tmp_path):
    server.reply = slow
    process = synthesize_in_another_process(out, server.url)
    wait_for_lines(out, 4, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = lines(out)
    assert 4 <= len(before) < N
    resumed = report("--max-connections", 3, n=N)
    assert (resumed["there"], resumed["accepted"]) == (len(before), N - len(before))
    assert lines(out)[: len(before)] == before
    whole = tmp_path / "whole.jsonl"
    report("--max-connections", 3, "--out", whole, n=N)
    ids = [s["id"] for s in lines(out)]
    assert len(ids) == len(set(ids)) == N
    assert set(ids) == {s["id"] for s in lines(whole)}
    assert seeds(out) == seeds(whole)


def seeds(out):
    return {(r["id"], s["name"]): s["seed"] for r in lines(provenance_path(out)) for s in r["stages"]}


@pytest.fixture
def written(report, server, out):
    """A file of three, with its provenance."""
    report(n=3)
    return out


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0], ids=["nothing", "half", "all but its end"])
def test_a_last_line_that_a_kill_cut_is_written_again_without_a_call(written, report, server, kept):
    whole, calls = written.read_bytes(), server.count
    start = whole[:-1].rfind(b"\n") + 1
    written.write_bytes(whole[: start + int(kept * (len(whole) - 1 - start))])
    assert report(n=3)["there"] == 3
    assert written.read_bytes() == whole
    assert server.count == calls


def test_a_record_that_a_kill_cut_is_dropped_and_its_scenario_made_again(written, report):
    beside = provenance_path(written)
    whole, records = written.read_bytes(), beside.read_bytes()
    written.write_bytes(whole[: whole[:-1].rfind(b"\n") + 1])
    beside.write_bytes(records[:-400])
    result = report(n=3)
    assert (result["there"], result["accepted"]) == (2, 1)
    assert written.read_bytes() == whole
    assert len(lines(beside)) == 3


def test_a_scenario_that_the_user_took_out_is_written_anew_with_other_seeds(written, report):
    first, *others = lines(written)
    written.write_text("".join(written.read_text().splitlines(keepends=True)[1:]))
    assert report(n=3)["accepted"] == 1
    assert [s["id"] for s in lines(written)] == [*(s["id"] for s in others), first["id"]]
    assert lines(written)[-1]["messages"] != first["messages"]


def test_a_greater_n_adds_and_changes_nothing(written, report):
    before = written.read_bytes()
    assert report(n=5)["accepted"] == 2
    assert written.read_bytes().startswith(before)


@pytest.mark.parametrize("ending", ["\n", ""], ids=["whole", "without its end"])
@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("a note to myself", "more.jsonl:4: not a JSON object"),
        ('{"id": "x", "trait": "bravery"}', "more.jsonl:4: messages: Field required"),
        (json.dumps(built_in_scenarios()[0].row()), "more.jsonl:4: id: "),
    ],
)
def test_a_foreign_line_is_named_and_left_alone(written, call, server, line, fault, ending):
    content = written.read_text() + line + ending
    written.write_text(content)
    calls = server.count
    result = call(n=5)
    assert result.exit_code == 2
    assert fault in result.stderr
    assert server.count == calls
    assert written.read_text() == content


@pytest.mark.parametrize("ending", ["\n", ""])
def test_a_file_that_this_command_did_not_write_is_left_alone(call, server, out, ending):
    content = json.dumps(built_in_scenarios()[0].row()) + ending
    out.write_text(content)
    result = call()
    assert result.exit_code == 2
    assert "more.jsonl:1: id: " in result.stderr
    assert "take another --out" in result.stderr
    assert (out.read_text(), server.count) == (content, 0)


def test_a_foreign_line_in_the_provenance_is_named(written, call):
    beside = provenance_path(written)
    beside.write_text(beside.read_text() + '{"hello": 1}\n')
    result = call(n=3)
    assert result.exit_code == 2
    assert "more.provenance.jsonl:4: " in result.stderr


def test_another_model_may_not_go_on_unless_told(written, call, report, server):
    calls = server.count
    result = call("--model", "openai/gpt-4o-other", n=4)
    assert result.exit_code == 2
    assert "written by openai/gpt-4o-test" in result.stderr
    assert "this is openai/gpt-4o-other" in result.stderr
    assert "--allow-mixed" in result.stderr
    assert server.count == calls
    assert report("--model", "openai/gpt-4o-other", "--allow-mixed", n=4)["accepted"] == 1
    assert [r["model"] for r in lines(provenance_path(written))][-2:] == ["openai/gpt-4o-test", "openai/gpt-4o-other"]


def test_other_prompts_may_not_go_on_unless_told(written, call, monkeypatch):
    monkeypatch.setattr("steadfast.synthesis.prompts.DRAFT", "Write me something nice. {trait}")
    result = call(n=4)
    assert result.exit_code == 2
    assert "with prompts" in result.stderr


def test_a_second_process_on_the_same_file_is_told_which_one_has_it(call, server, out):
    server.reply = slow
    process = synthesize_in_another_process(out, server.url)
    try:
        wait_for_lines(out, 1, process)
        result = call(n=N)
        assert result.exit_code == 2
        assert f"{out} is in use by process {process.pid}" in result.stderr
    finally:
        process.kill()
        process.communicate()
