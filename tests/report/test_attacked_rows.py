"""Rows of attacked checkpoints, of wear and of earlier checkpoints change no number of the plain tables."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from steadfast.errors import SteadfastError
from steadfast.evals.completion import read_rows, without_any_score
from steadfast.evals.rows import ROW_SCHEMA, UNATTACKED, Place
from steadfast.report import summarize, write_report
from steadfast.report.ladder import ladders
from steadfast.report.limits import limits
from steadfast.report.loading import load_run
from steadfast.report.power import _spreads
from steadfast.report.structure import read_checkpoints
from steadfast.report.summary import all_comparisons

from .attacked_run import SEEDS, State, make_attacked_run


def right(state: State) -> float:
    base = {"pre-RL": 8, "baseline": 14, "health-only": 28}[state.checkpoint] + (state.seed or 0)
    return (base - 4 * (state.attack is not None)) / 40


@pytest.fixture(scope="module")
def unattacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without attacks; to be read only."""
    return make_attacked_run(tmp_path_factory.mktemp("unattacked") / "run", [], pairs=right)


@pytest.fixture(scope="module")
def plain(unattacked: Path) -> str:
    return everything(unattacked)


@pytest.fixture
def directory(unattacked: Path, tmp_path: Path) -> Path:
    """The same run, to be changed."""
    return shutil.copytree(unattacked, tmp_path / "run")


def add(directory: Path, *, score: float | None = 0.0, **columns) -> None:
    """Add all rows of trained checkpoints and of pre-RL once more, worse, under other columns."""
    file = directory / "results.parquet"
    rows = pl.read_parquet(file)
    worse = rows.filter((pl.col("condition") == "plain") & UNATTACKED).with_columns(score=pl.lit(score, pl.Float64))
    literal = {name: pl.lit(value, ROW_SCHEMA[name]) for name, value in columns.items()}
    pl.concat([rows, worse.with_columns(**literal)]).write_parquet(file)


def everything(directory: Path) -> str:
    """What the page shows of checkpoints as training left them."""
    run = load_run(directory)
    comparisons = all_comparisons(run)
    said = [s for s in limits(run, comparisons[0]) if "comparison with pre-RL" not in s]
    structure = read_checkpoints([directory]).sort("checkpoint", "suite", "grader", "task").rows()
    return repr((comparisons, ladders(run), said, structure, run.ungraded_results, _spreads(directory)))


@pytest.mark.parametrize(
    "columns",
    [
        {"attack": "bad-medical-advice", "dose": 16, "attack_seed": 0},
        {"attack": "int8", "dose": 1, "attack_seed": 0},
        {"condition": "persona:flatterer/1"},
        {"condition": "turn:5/1"},
        {"condition": "temperature:0.8"},
    ],
)
def test_attacked_and_worn_rows_leave_the_plain_tables_as_they_are(directory: Path, plain: str, columns) -> None:
    add(directory, **columns)
    assert everything(directory) == plain


def test_attacked_rows_without_a_grade_are_not_counted_among_the_arms(directory: Path) -> None:
    before = load_run(directory).ungraded_results
    add(directory, score=None, attack="int8", dose=1, attack_seed=0)
    assert load_run(directory).ungraded_results == before


@pytest.mark.parametrize("attack", [None, "house-style"])
def test_an_earlier_checkpoint_of_an_arm_is_no_arm(directory: Path, plain: str, attack: str | None) -> None:
    file = directory / "results.parquet"
    rows = pl.read_parquet(file)
    early = rows.filter((pl.col("checkpoint") == "health-only") & UNATTACKED).with_columns(
        score=pl.lit(0.0),
        checkpoint=pl.lit("health-only@4"),
        attack=pl.lit(attack, pl.String),
        dose=pl.lit(attack and 4, pl.Int64),
        attack_seed=pl.lit(attack and 0, pl.Int64),
    )
    pl.concat([rows, early]).write_parquet(file)
    assert everything(directory) == plain
    assert load_run(directory).earlier.height == early.height


def test_a_model_behind_an_api_whose_name_ends_like_an_earlier_checkpoint_is_still_a_checkpoint(
    directory: Path,
) -> None:
    file = directory / "results.parquet"
    rows = pl.read_parquet(file).filter(pl.col("checkpoint") == "pre-RL")
    rows.with_columns(checkpoint=pl.lit("vertex/model@20240620")).write_parquet(file)
    assert set(read_checkpoints([file])["checkpoint"]) == {"vertex/model@20240620"}


def test_a_checkpoint_that_only_an_attack_measured_is_not_measured(directory: Path) -> None:
    file = directory / "results.parquet"
    rows = pl.read_parquet(file)
    mine = pl.col("checkpoint") == "baseline"
    attack = pl.when(mine).then(pl.lit("int8")).alias("attack")
    rows.with_columns(attack, pl.when(mine).then(1).alias("dose").cast(pl.Int64)).write_parquet(file)
    with pytest.raises(SteadfastError, match="nothing measured of baseline"):
        load_run(directory)


def test_scores_after_two_doses_are_two_and_scores_of_one_dose_are_doubled(directory: Path) -> None:
    add(directory, attack="int8", dose=1, attack_seed=0)
    add(directory, attack="house-style", dose=4, attack_seed=0)
    load_run(directory)
    rows = pl.read_parquet(directory / "results.parquet")
    again = rows.filter(pl.col("attack") == "int8").head(1)
    pl.concat([rows, again]).write_parquet(directory / "results.parquet")
    with pytest.raises(SteadfastError, match="several scores of task"):
        load_run(directory)


def test_a_suite_that_failed_after_an_attack_alone_is_told_with_its_dose(directory: Path) -> None:
    add(directory, score=None, attack="house-style", dose=4, attack_seed=0)
    told = without_any_score(read_rows(directory / "results.parquet"))
    assert told
    assert all(" after 4 updates of house-style: none of " in t for t in told)


def test_a_place_names_its_attack_and_a_plain_place_has_none() -> None:
    assert Place("baseline", 1, "plain").fields == {
        "checkpoint": "baseline", "seed": 1, "condition": "plain", "attack": None, "dose": None, "attack_seed": None
    }  # fmt: skip
    attacked = Place("baseline", 1, "plain", "int8", 1, 0).fields
    assert (attacked["attack"], attacked["dose"], attacked["attack_seed"]) == ("int8", 1, 0)


def test_the_page_and_the_json_have_the_section(unattacked: Path, planted_page: Path, tmp_path: Path) -> None:
    attacked = [
        State(name, seed, "plain", "bad-medical-advice", dose, 0)
        for name in ("pre-RL", "baseline", "health-only")
        for seed in ((None,) if name == "pre-RL" else SEEDS)
        for dose in (4, 16)
    ]
    made = make_attacked_run(tmp_path / "attacked", attacked, pairs=right)
    html = write_report(made).read_text(encoding="utf-8")
    assert 'id="persistence"' in html
    assert 'id="retention-bad-medical-advice"' in html
    assert "Nothing was attacked" not in html
    (attack,) = summarize(made)["persistence"]["attacks"]
    effect = next(
        e for e in attack["effects"] if (e["measure"], e["checkpoint"], e["dose"]) == ("primary", "baseline", 16)
    )
    assert effect["drop"]["over_seeds"]["estimate"] == pytest.approx(0.1)
    without = planted_page.read_text(encoding="utf-8")
    assert 'id="persistence"' not in without
    assert "Nothing was attacked" in without
    assert summarize(unattacked)["persistence"] is None
