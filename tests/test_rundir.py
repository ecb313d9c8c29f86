"""Run directories: what was begun under one protocol goes on under no other, and what changed is named."""

import json
import time

import polars as pl
import pytest

from steadfast.errors import RecipeError, SteadfastError
from steadfast.rundir import FORMAT, RunDirectory, Timing, check_format, read_timing

PROTOCOL = {
    "recipe": {"seed": 0, "training": {"steps": 24, "style": None}, "arms": ["baseline", "trait"]},
    "items": {"a": "1"},
}


@pytest.fixture
def directory(tmp_path):
    made = RunDirectory(tmp_path / "run")
    assert made.claim(PROTOCOL)
    return made


def changed(**training):
    recipe = PROTOCOL["recipe"]
    return PROTOCOL | {"recipe": recipe | {"training": recipe["training"] | training}}


def test_the_same_protocol_is_the_same_run(directory):
    assert not directory.claim(PROTOCOL)
    assert json.loads(directory.protocol_file.read_text())["format"] == FORMAT


@pytest.mark.parametrize(
    ("now", "named"),
    [
        (changed(steps=30), "recipe.training.steps (24 before, 30 now)"),
        (changed(style="Be brief."), "recipe.training.style (none before, Be brief. now)"),
        (changed(extra=1), "recipe.training.extra (none before, 1 now)"),
        (PROTOCOL | {"items": {"a": "2"}}, "items.a (1 before, 2 now)"),
        (PROTOCOL | {"items": {"a": "1", "b": "2"}}, "items.b (none before, 2 now)"),
    ],
)
def test_every_key_that_changed_is_named_with_both_values(directory, now, named):
    before = directory.protocol_file.read_bytes()
    with pytest.raises(RecipeError) as caught:
        directory.claim(now)
    assert named in str(caught.value)
    assert str(directory.path) in str(caught.value)
    assert "--out" in str(caught.value)
    assert directory.protocol_file.read_bytes() == before


def test_all_changed_keys_are_named_at_once(directory):
    now = changed(steps=30) | {"items": {"a": "2"}}
    with pytest.raises(RecipeError, match=r"items\.a .*; another recipe\.training\.steps"):
        directory.claim(now)


def test_a_long_value_is_cut_short(directory):
    with pytest.raises(RecipeError) as caught:
        directory.claim(changed(style="word " * 100))
    assert len(str(caught.value)) < 300


def test_keys_that_may_grow_may_gain_entries_and_change_none(directory):
    assert not directory.claim(PROTOCOL | {"items": {"b": "2"}}, may_grow=["items"])
    assert json.loads(directory.protocol_file.read_text())["items"] == {"a": "1", "b": "2"}
    with pytest.raises(RecipeError, match=r"items\.a \(1 before, 3 now\)"):
        directory.claim(PROTOCOL | {"items": {"a": "3"}}, may_grow=["items"])


@pytest.mark.parametrize(
    "content", ["{}", '{"recipe": {}}', '{"format": 1}', '{"format": 99}', "[]", "3", '"x"', "null"]
)
def test_a_directory_of_another_version_is_refused_in_a_sentence(directory, content):
    directory.protocol_file.write_text(content)
    with pytest.raises(RecipeError, match="was written by another version of Steadfast") as caught:
        directory.claim(PROTOCOL)
    assert str(directory.path) in str(caught.value)
    with pytest.raises(RecipeError, match="another version"):
        check_format(json.loads(content), directory.path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{'a': 1}", b"[" * 100_000])
def test_a_damaged_protocol_is_a_sentence_that_names_the_file_and_the_way_out(directory, content):
    directory.protocol_file.write_bytes(content)
    with pytest.raises(SteadfastError, match="is damaged") as caught:
        directory.claim(PROTOCOL)
    assert str(directory.protocol_file) in str(caught.value)
    assert "begin anew" in str(caught.value)


@pytest.mark.parametrize("items", [None, 3, ["a"], "a"])
def test_a_protocol_with_a_value_of_another_kind_is_no_traceback(directory, items):
    protocol = json.loads(directory.protocol_file.read_text())
    directory.protocol_file.write_text(json.dumps(protocol | {"items": items}))
    with pytest.raises(RecipeError, match="items"):
        directory.claim(PROTOCOL, may_grow=["items"])


def test_the_seconds_of_every_session_are_kept_also_of_one_that_failed(directory):
    with directory.timed(time.time() - 10):
        pass
    with pytest.raises(KeyError), directory.timed(time.time() - 20):
        raise KeyError
    assert read_timing(directory.timing_file).sessions == pytest.approx((10, 20), abs=1)


def test_the_seconds_of_stages_add_up_by_part_within_a_session_and_over_sessions(directory):
    with directory.timed(time.time() - 10):
        directory.add_seconds("training", 2.0)
        directory.add_seconds("measuring", 1.0)
    with directory.timed(time.time() - 20):
        directory.add_seconds("training", 3.0)
    found = read_timing(directory.timing_file)
    assert dict(found.parts) == {"training": 5.0, "measuring": 1.0}
    assert len(found.sessions) == 2


def test_a_directory_that_was_never_timed_has_no_sessions(directory):
    assert read_timing(directory.timing_file) == Timing()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[1]",
        "{}",
        '{"sessions": 3}',
        '{"sessions": ["1"]}',
        '{"sessions": [null]}',
        '{"sessions": [], "parts": [1]}',
        '{"sessions": [], "parts": {"training": "long"}}',
    ],
)
def test_a_damaged_timing_is_a_sentence_before_any_work(directory, content):
    directory.timing_file.write_text(content)
    with pytest.raises(SteadfastError, match="is damaged") as caught, directory.timed(time.time()):
        pytest.fail("work began")
    assert str(directory.timing_file) in str(caught.value)


def test_tables_of_rows_have_names_that_every_system_takes(directory):
    file = directory.rows_file("trait:kindness")
    assert file.relative_to(directory.path).as_posix() == "rows/trait-kindness.parquet"
    assert directory.rows_file("pre-RL", "plain").relative_to(directory.path).as_posix() == "rows/pre-RL/plain.parquet"


def test_results_are_the_tables_that_are_there_one_after_the_other(directory):
    schema = {"score": pl.Float64}
    files = [directory.rows_file(name) for name in "abc"]
    assert len(directory.write_results(files, schema)) == 0
    files[0].parent.mkdir()
    for file, score in zip(files[::2], (0.25, 0.75), strict=True):
        pl.DataFrame({"score": [score]}, schema).write_parquet(file)
    assert directory.write_results(files, schema)["score"].to_list() == [0.25, 0.75]
    assert pl.read_parquet(directory.results_file)["score"].to_list() == [0.25, 0.75]
    files[1].write_bytes(b"rubbish")
    with pytest.raises(SteadfastError, match="not a readable Parquet table") as caught:
        directory.write_results(files, schema)
    assert str(files[1]) in str(caught.value)


def test_versions_and_machine_are_recorded(directory):
    directory.write_environment(model_source="path")
    environment = json.loads((directory.path / "environment.json").read_text())
    assert environment["model_source"] == "path"
    assert "torch" in environment["packages"]


@pytest.mark.parametrize("results", ["rows", "arms"])
def test_results_without_a_protocol_are_not_taken_for_those_of_any(directory, results):
    directory.protocol_file.unlink()
    (directory.path / results).mkdir(parents=True, exist_ok=True)
    with pytest.raises(RecipeError, match=r"protocol\.json is missing, so nothing says"):
        directory.claim({"recipe": {}})
