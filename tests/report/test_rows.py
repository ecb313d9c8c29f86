"""Which rows go into which number: judges, conditions, what is not graded, and directories that cannot be read."""

import json
from pathlib import Path
from random import Random

import polars as pl
import pytest

from steadfast.errors import SteadfastError
from steadfast.report import summarize
from steadfast.report.answers import examples
from steadfast.report.loading import load_run
from steadfast.report.page import render
from steadfast.report.summary import compare_checkpoints

from .synthetic import EVALUATION_JUDGE, TRAINING_JUDGE, Row, answer, make_run, row


def lead(directory: Path):
    return compare_checkpoints(load_run(directory), "health-only", "baseline")


def test_each_judges_scores_of_the_same_answers_stay_apart(tmp_path: Path) -> None:
    def edit(row: Row) -> Row:
        lifted = row["kind"] == "trait" and row["grader"] == "rubric" and row["checkpoint"] == "health-only"
        return row | {"score": 0.9 if row["judge"] == TRAINING_JUDGE else 0.3} if lifted else row

    directory = make_run(tmp_path / "run", edit=edit)
    found = lead(directory)
    assert found.traits
    assert found.traits_by_training_judge
    assert (found.traits.raw.treatment, found.traits.items) == (pytest.approx(0.3), 24)
    by_training = found.traits_by_training_judge
    assert (by_training.raw.treatment, by_training.items) == (pytest.approx(0.9), 24)
    shown = examples(load_run(directory), "health-only")[0].answers[-1]
    assert (shown.score, shown.training_score) == (0.3, 0.9)


def test_the_judges_are_those_that_the_protocol_names(tmp_path: Path) -> None:
    directory = make_run(tmp_path / "run")
    before = lead(directory).traits
    other = pl.col("kind") == "trait"
    renamed = pl.when(other).then(pl.col("judge").replace({EVALUATION_JUDGE: "stranger"})).otherwise("judge")
    rows = pl.read_parquet(directory / "results.parquet").with_columns(renamed.alias("judge"))
    rows.write_parquet(directory / "results.parquet")
    assert lead(directory).traits is None
    protocol = json.loads((directory / "protocol.json").read_text())
    protocol["judges"]["evaluation"]["name"] = "stranger"
    (directory / "protocol.json").write_text(json.dumps(protocol))
    assert lead(directory).traits == before


def test_other_conditions_change_no_number(tmp_path: Path) -> None:
    directory = make_run(tmp_path / "run")
    before = lead(directory)
    rows = pl.read_parquet(directory / "results.parquet")
    persona = rows.with_columns(condition=pl.lit("villain"), score=pl.lit(0.0))
    pl.concat([rows, persona]).write_parquet(directory / "results.parquet")
    assert repr(lead(directory)) == repr(before)


def test_a_held_out_scenario_checked_by_program_counts_among_the_traits(tmp_path: Path) -> None:
    def more(checkpoint: str) -> list[Row]:
        place = (checkpoint, "trait", "trait:exactness", "exactness", "code", "program", "exact-1")
        return [row(*place, score=1.0, **answer("4", "program"))]

    found = lead(make_run(tmp_path / "run", more=more))
    assert found.traits
    assert found.traits_by_training_judge
    assert (found.traits.items, found.traits_by_training_judge.items) == (25, 24)


def test_public_benchmarks_have_their_own_comparison(tmp_path: Path) -> None:
    def more(checkpoint: str) -> list[Row]:
        place = (checkpoint, "public", "gsm8k", "capability", "general", "public")
        return [row(*place, f"g{i}", score=float(i % 2)) for i in range(6)]

    directory = make_run(tmp_path / "run", more=more)
    found = lead(directory)
    assert found.public
    assert found.battery
    assert [e.suite for e in found.public.evals] == ["gsm8k"]
    assert "gsm8k" not in [e.suite for e in found.battery.evals]
    assert "Gsm8k" in render(load_run(directory))


def test_what_could_not_be_graded_is_counted_in_training_and_in_results(tmp_path: Path) -> None:
    def edit(row: Row) -> Row:
        lost = row["checkpoint"] == "health-only" and row["task"] in ("chat-0", "chat-1")
        return row | {"score": None, "reason": "the judge timed out"} if lost else row

    directory = make_run(tmp_path / "run", edit=edit)
    file = directory / "arms" / "health-only" / "seed-0" / "metrics.jsonl"
    steps = [json.loads(line) | {"ungraded": 2} for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(s) + "\n" for s in steps))
    summary = summarize(directory)
    assert summary["ungraded_rollouts"] == {"baseline": 0, "health-only": 24}
    assert summary["ungraded_results"] == {"pre-RL": 0, "baseline": 0, "health-only": 2}
    html = render(load_run(directory))
    assert "which taught nothing: <bdi>baseline</bdi> 0, <bdi>health-only</bdi> 24." in html
    assert "24 rollouts of training could not be graded (baseline 0, health-only 24)" in html
    assert "results could not be graded (pre-RL 0, baseline 0, health-only 2)" in html


def test_a_directory_of_another_version_is_refused(run: Path) -> None:
    (run / "protocol.json").write_text(json.dumps({"evals": "aa11"}))
    with pytest.raises(SteadfastError, match=r"written by another version of Steadfast \(run directory format 1"):
        summarize(run)


def test_a_table_of_another_version_is_refused(run: Path) -> None:
    old = pl.read_parquet(run / "results.parquet").rename({"suite": "eval", "task": "item", "grader": "scoring"})
    old.write_parquet(run / "results.parquet")
    with pytest.raises(SteadfastError, match=r"results\.parquet: columns missing: grader, suite, task"):
        summarize(run)


def test_a_task_scored_twice_is_refused_by_name(run: Path) -> None:
    rows = pl.read_parquet(run / "results.parquet")
    pl.concat([rows, rows.head(1)]).write_parquet(run / "results.parquet")
    with pytest.raises(SteadfastError, match=r"results\.parquet: several scores of task 'deception-status-report-0'"):
        summarize(run)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "3", '"x"', "\x00", "[" * 900])
@pytest.mark.parametrize("name", ["protocol.json", "environment.json", "disjoint.json", "timing.json", "recipe.yaml"])
def test_a_damaged_file_is_named(run: Path, name: str, content: str) -> None:
    (run / name).write_text(content)
    with pytest.raises(SteadfastError) as raised:
        load_run(run)
    assert name in str(raised.value) or str(run) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("protocol.json", '{"format": 3, "judges": {"training": {"name": "a"}}}', "does not name the evaluation judge"),
        ("disjoint.json", '{"a x b": "many"}', "a count is no number"),
        ("timing.json", '{"sessions": [NaN]}', "a session or a part has no length"),
        ("arms/baseline/seed-0/metrics.jsonl", '{"step": "one"}', "line 1: step: is no number of a step"),
        ("arms/baseline/seed-0/metrics.jsonl", '{"step": 1, "length": "long"}', "line 1: length: is no finite number"),
        ("arms/baseline/seed-0/metrics.jsonl", '{"step": 1, "length": NaN}', "line 1: length: is no finite number"),
        ("arms/baseline/seed-0/second_opinion.jsonl", '{"step": 1, "trained": 0.1}', "line 1: other: is missing"),
    ],
)
def test_a_wrong_value_is_named_with_its_file(run: Path, name: str, content: str, fault: str) -> None:
    (run / name).write_text(content + "\n")
    with pytest.raises(SteadfastError, match=fault) as raised:
        load_run(run)
    assert str(run / name) in str(raised.value)


@pytest.mark.parametrize("damage", ["cut", "columns", "types"])
def test_a_damaged_table_of_rollouts_is_named(run: Path, damage: str) -> None:
    file = run / "arms" / "baseline" / "seed-0" / "rollouts.parquet"
    table = pl.read_parquet(file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-20])
    else:
        changed = table.drop("task") if damage == "columns" else table.with_columns(step=pl.lit("first"))
        changed.write_parquet(file)
    with pytest.raises(SteadfastError, match=r"rollouts\.parquet"):
        load_run(run).rollouts("baseline")


def test_a_score_outside_zero_to_one_is_refused_by_name(run: Path) -> None:
    rows = pl.read_parquet(run / "results.parquet")
    rows.with_columns(pl.when(pl.int_range(pl.len()) == 0).then(7.0).otherwise("score").alias("score")).write_parquet(
        run / "results.parquet"
    )
    with pytest.raises(SteadfastError, match=r"results\.parquet: task 'deception-status-report-0' .* has the score 7"):
        summarize(run)


def fault(directory: Path) -> str | None:
    """What a run directory is refused for."""
    try:
        load_run(directory)
    except SteadfastError as error:
        return str(error)
    return None


def test_a_table_whose_pages_are_damaged_is_named_whatever_the_reader_raises(run: Path) -> None:
    file = run / "results.parquet"
    whole = file.read_bytes()
    draw = Random(0)
    for place in (draw.randrange(4, len(whole)) for _ in range(40)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        if message := fault(run):  # a flipped bit inside a text goes unseen
            assert "results.parquet" in message
