"""The smallest effect that a recipe can show, told before it is run."""

import shutil

import polars as pl
import pytest

from steadfast.analysis.power import ASSUMED
from steadfast.study import run_recipe
from tests.study.examples import recipe, save_model
from tests.study.test_twins_run import TRAINED, changes


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    model = save_model(tmp_path_factory.mktemp("model"))
    made = recipe(model, **changes(model, arms=["baseline", "health-only"]))
    return run_recipe(made, tmp_path_factory.mktemp("run"))


def test_power_is_told_from_assumptions_or_from_what_a_run_scattered(finished, steadfast, steadfast_json, tmp_path):
    file = finished / "recipe.yaml"
    assumed = steadfast_json("power", file)
    assert assumed["seeds"] == [0, 1]
    assert {r["source"] for r in assumed["rungs"]} == {"assumed"}
    (primary,) = [r for r in assumed["rungs"] if r["primary"]]
    assert primary["rung"] == "new domain"
    rows = pl.read_parquet(finished / "results.parquet").filter(
        (pl.col("kind") == "twins")
        & (pl.col("condition") == "plain")
        & (pl.col("checkpoint") == "baseline")
        & (pl.col("seed") == 0)
        & (pl.col("condition") == "plain")
        & (pl.col("checkpoint") == "baseline")
        & (pl.col("seed") == 0)
    )
    # The families trained on, outside health; one format of two is new, which is farther.
    there = rows.filter(
        pl.col("suite").is_in(list(TRAINED)) & (pl.col("domain") == "law") & (pl.col("format") == "chat")
    )
    assert primary["pairs"] == len(there) // 2
    # No pair of this run succeeds, so nothing scatters, and the run tells nothing; a copy of it is made to scatter.
    assert {r["source"] for r in steadfast_json("power", file, "--from", finished)["rungs"]} == {"assumed"}
    scattered = tmp_path / "scattered"
    shutil.copytree(finished, scattered)
    results = pl.read_parquet(finished / "results.parquet")
    lucky = (pl.col("checkpoint") == "health-only") & (pl.struct("seed", "pair").hash(seed=0) % 3 == 0)
    score = pl.when((pl.col("kind") == "twins") & lucky).then(1.0).otherwise("score").alias("score")
    results.with_columns(score).write_parquet(scattered / "results.parquet")
    told = steadfast_json("power", file, "--from", scattered)
    (primary,) = [r for r in told["rungs"] if r["primary"]]
    assert primary["source"] == "the run"
    assert primary["spread"] != {"seed": ASSUMED.seed, "pair": ASSUMED.pair}
    assert {r["detectable"] for r in steadfast_json("power", file, "seeds=[0]")["rungs"]} == {None}
    shown = steadfast("power", file)
    assert shown.exit_code == 0
    assert "(primary)" in shown.output


def test_an_effect_that_pair_success_has_no_room_for_is_called_none(finished, steadfast, steadfast_json):
    file = finished / "recipe.yaml"
    effects = [r["detectable"] for r in steadfast_json("power", file)["rungs"]]
    assert min(effects) > 1, "two seeds of a few pairs"
    shown = steadfast("power", file).output
    assert not any(f"{100 * e:.1f}" in shown for e in effects)
    assert "none: it would have to exceed 100 points" in shown


def test_a_recipe_without_twins_has_no_pair_success(tmp_path, steadfast):
    file = tmp_path / "plain.yaml"
    file.write_text("name: plain\n")
    result = steadfast("power", file)
    assert result.exit_code == 2
    assert "measures no twins" in result.output
