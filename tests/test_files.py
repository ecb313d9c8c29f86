"""Writing that survives a kill or a full disk."""

import errno
import os
import resource
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from steadfast.errors import SteadfastError
from steadfast.files import (
    clear_leftovers,
    read_json_lines,
    recover_directory,
    replace_directory,
    write_atomically,
    write_json_lines,
    write_text,
)


def half_then_full(path):
    path.write_text("half")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "deep" / "f.txt"
    write_text(path, "old")
    with pytest.raises(SteadfastError, match=r"f\.txt: No space left"):
        write_atomically(path, half_then_full)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_replaces_the_file_in_one_step(tmp_path):
    path = tmp_path / "f.txt"
    write_text(path, "old")
    seen = []
    write_atomically(path, lambda p: (p.write_text("new"), seen.append(path.read_text())))
    assert seen == ["old"]
    assert path.read_text() == "new"


def test_a_place_that_cannot_hold_a_folder_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SteadfastError, match="file"):
        write_text(tmp_path / "file" / "f.txt", "x")


def test_a_full_disk_leaves_the_old_directory_and_nothing_beside_it(tmp_path):
    path = tmp_path / "state"
    replace_directory(path, lambda d: (d / "f").write_text("old"))
    with pytest.raises(SteadfastError, match="No space left"):
        replace_directory(path, lambda d: half_then_full(d / "f"))
    assert (path / "f").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_replaced_directory_keeps_no_file_of_the_old_one(tmp_path):
    path = tmp_path / "state"
    replace_directory(path, lambda d: (d / "old").write_text(""))
    replace_directory(path, lambda d: (d / "new").write_text(""))
    assert [p.name for p in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_fill_that_starts_after_a_kill_finds_an_empty_directory(tmp_path):
    (tmp_path / ".state.tmp").mkdir()
    (tmp_path / ".state.tmp" / "leftover").write_text("")
    replace_directory(tmp_path / "state", lambda d: (d / "new").write_text(""))
    assert [p.name for p in (tmp_path / "state").iterdir()] == ["new"]


def test_a_directory_that_a_kill_left_aside_comes_back(tmp_path):
    (tmp_path / ".state.old").mkdir()
    (tmp_path / ".state.old" / "f").write_text("kept")
    recover_directory(tmp_path / "state")
    assert (tmp_path / "state" / "f").read_text() == "kept"


def test_recovery_never_puts_an_old_directory_over_a_new_one(tmp_path):
    for name in (".state.old", "state"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    recover_directory(tmp_path / "state")
    assert (tmp_path / "state" / "f").read_text() == "state"


def test_a_last_line_cut_off_by_a_kill_is_left_out(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"ste')
    assert read_json_lines(path) == [{"step": 1}, {"step": 2}]


def test_records_of_a_file_that_is_not_there_are_none(tmp_path):
    assert read_json_lines(tmp_path / "none.jsonl") == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Zl", "Zp"], exclude_characters="\x85"), max_size=8)))
def test_records_are_read_back_whatever_characters_they_hold(tmp_path, values):
    records = [{"text": v} for v in values]
    write_json_lines(tmp_path / "m.jsonl", records)
    assert read_json_lines(tmp_path / "m.jsonl") == records


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_a_line_separator_inside_a_record_does_not_lose_it_and_those_after_it(tmp_path, separator):
    records = [{"text": f"before{separator}after"}, {"text": "next"}]
    write_json_lines(tmp_path / "m.jsonl", records)
    assert read_json_lines(tmp_path / "m.jsonl") == records


@contextmanager
def nearly_full_disk():
    """No file of this process may grow past 4 kB, which is what a full disk looks like to a writer.

    Entered around the write alone and not by a fixture: pytest's own output, sent to a file, would hit the limit too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def save_with_torch(path):
    torch.save(torch.zeros(10_000), path)


def save_as_safetensors(path):
    save_file({"x": torch.zeros(10_000)}, path)


def save_as_text(path):
    path.write_text("x" * 40_000)


@pytest.mark.parametrize(
    "save",
    [
        save_as_text,
        save_with_torch,
        save_as_safetensors,
    ],
)
def test_a_full_disk_is_a_clear_error_whatever_library_was_writing(tmp_path, save):
    path = tmp_path / "state"
    with nearly_full_disk(), pytest.raises(SteadfastError, match="cannot write"):
        replace_directory(path, lambda d: save(d / "file"))
    assert list(tmp_path.iterdir()) == []


def dead_process():
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def test_leftovers_of_dead_processes_are_cleared_wherever_they_lie(tmp_path):
    deep = tmp_path / "arms" / "trait"
    (deep / ".state.tmp" / "inner").mkdir(parents=True)
    (deep / ".state.tmp" / "inner" / "half").write_text("half")
    (deep / f".rollouts.parquet.{dead_process()}.tmp").write_text("half")
    (deep / f".mine.json.{os.getpid()}.tmp").write_text("half")
    kept = [deep / "metrics.jsonl", deep / "notes.tmp", tmp_path / ".lock", deep / ".hidden"]
    for file in kept:
        file.write_text("whole")
    clear_leftovers(tmp_path)
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(kept)
    assert not (deep / ".state.tmp").exists()


def test_what_another_living_process_is_writing_stays(tmp_path):
    file = tmp_path / f".rows.parquet.{os.getppid()}.tmp"
    file.write_text("half")
    clear_leftovers(tmp_path)
    assert file.exists()


def test_a_directory_set_aside_comes_back_or_goes(tmp_path):
    for name in (".state.old", ".adapter.old", "adapter"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    clear_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter", "state"]
    assert (tmp_path / "state" / "f").read_text() == ".state.old"
    assert (tmp_path / "adapter" / "f").read_text() == "adapter"


def test_a_directory_without_leftovers_or_none_at_all_is_left_alone(tmp_path):
    clear_leftovers(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
