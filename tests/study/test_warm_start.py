"""A run in which every arm goes on from the same short supervised phase, which is a checkpoint of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import torch
import yaml
from pydantic import ValidationError
from safetensors.torch import load_file

from steadfast.errors import RecipeError
from steadfast.files import read_json_lines
from steadfast.report.json_summary import summarize
from steadfast.report.page import write_report
from steadfast.study import load_recipe, run_recipe
from steadfast.study.data import StudyData
from tests.study.examples import content, recipe, save_model
from tests.study.test_twins_run import changes

ROOT = Path(__file__).parents[2]
ARMS = ["baseline", "health-only", "imitation"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def warm(model, **more):
    """A warm start that learns much, and arms whose own training moves them by next to nothing."""
    training = changes(model)["training"] | {"steps": 3, "save_every": 1, "learning_rate": 1e-9}
    training |= {"warm_start": {"steps": 4, "learning_rate": 0.01}}
    return changes(model, arms=ARMS, training=training) | more


@pytest.fixture(scope="module")
def finished(model, tmp_path_factory):
    return run_recipe(recipe(model, **warm(model)), tmp_path_factory.mktemp("run"))


def adapter(directory, name, seed=0):
    return load_file(directory / "arms" / name / f"seed-{seed}" / "adapter" / "adapter_model.safetensors")


def distance(one, other):
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize("seed", [0, 1])
def test_every_arm_of_a_seed_goes_on_from_the_same_warm_start(finished, seed):
    start = adapter(finished, "warm-start", seed)
    assert max(float(w.abs().max()) for name, w in start.items() if "lora_B" in name) > 1e-3, "it learned"
    for arm in ARMS:
        assert distance(start, adapter(finished, arm, seed)) < 1e-6
    assert distance(start, adapter(finished, "warm-start", 1 - seed)) > 1e-3


def test_the_kl_of_an_arm_is_measured_from_the_model_before_the_warm_start(finished):
    for arm in ARMS:
        metrics = read_json_lines(finished / "arms" / arm / "seed-0" / "metrics.jsonl")
        assert metrics[0]["kl"] > 1e-4


def test_the_warm_start_imitates_both_twins_of_the_leading_arms_pairs_in_each_step(finished):
    scheduled = StudyData.load(load_recipe(finished / "recipe.yaml")).warm_start(0)
    for planned in scheduled:
        ids = {s.task.id for s in planned}
        assert {s.task.pair for s in planned} == ids
    metrics = read_json_lines(finished / "arms" / "warm-start" / "seed-0" / "metrics.jsonl")
    assert [m["demonstrations"] for m in metrics] == [len(planned) for planned in scheduled]
    rollouts = pl.read_parquet(finished / "arms" / "warm-start" / "seed-0" / "rollouts.parquet")
    assert set(rollouts["step"]) == {1, 4}, "it answers in the first and the last step alone"
    for _, step in rollouts.group_by("step"):
        tasks = set(step["task"])
        assert {t[:-1] + ("b" if t.endswith("a") else "a") for t in tasks} == tasks
    assert all("/health/" in t for t in rollouts["task"])


def test_the_warm_start_is_measured_on_the_same_items_and_stands_in_the_report(finished):
    results = pl.read_parquet(finished / "results.parquet")
    tasks = {key: set(part["task"]) for key, part in results.group_by("checkpoint", "seed")}
    assert tasks["warm-start", 0] == tasks["warm-start", 1] == tasks["pre-RL", None] == tasks["baseline", 0]
    summary = summarize(finished)
    assert {(c["treatment"], c["control"]) for c in summary["comparisons"]} >= {
        ("health-only", "warm-start"),
        ("health-only", "pre-RL"),
        ("baseline", "warm-start"),
    }
    ladder = next(one for one in summary["ladders"] if one["arm"] == "health-only")
    assert "warm-start" in {c["control"] for c in ladder["contrasts"]}
    assert [len(r["by_seed"]) for r in ladder["results"] if r["arm"] == "warm-start"] == [2] * len(ladder["rungs"])
    assert [a["arm"] for a in summary["trained"]] == ["warm-start", *ARMS]
    assert summary["trained"][0]["prompts"] == 4 * 4
    html = write_report(finished).read_text()
    assert "Every arm began with 4 supervised steps" in html
    assert "Against the warm start" in html


def test_the_schedule_of_the_arms_is_what_it_would_be_without_a_warm_start(model):
    training = {k: v for k, v in warm(model)["training"].items() if k != "warm_start"}
    plain, warmed = (StudyData.load(recipe(model, **w)) for w in (warm(model, training=training), warm(model)))
    for arm in ARMS:
        assert plain.schedule(plain.recipe.arm(arm), 0) == warmed.schedule(warmed.recipe.arm(arm), 0)
    lead = [s.task.id for step in warmed.schedule(warmed.recipe.arm("health-only"), 0) for s in step]
    assert [s.task.id for step in warmed.warm_start(0) for s in step][:4] != lead[:4], "an order of its own"
    assert warmed.warm_start(0) == warmed.warm_start(0) != warmed.warm_start(1)


@pytest.mark.parametrize("landmark", ["warm-start/seed-0/state", "health-only/seed-0/state"])
def test_a_run_killed_in_the_warm_start_or_after_it_ends_as_one_that_never_stopped(model, tmp_path, landmark):
    training = warm(model)["training"] | {"learning_rate": 0.01}
    file = tmp_path / "recipe.yaml"
    changed = warm(model, seeds=[0], arms=ARMS[:2], training=training)
    file.write_text(yaml.safe_dump(content(model, **changed), sort_keys=False))
    whole = run_recipe(load_recipe(file), tmp_path / "whole")
    directory = tmp_path / "killed"
    code = (
        "from pathlib import Path; from steadfast.study import load_recipe, run_recipe; "
        f"run_recipe(load_recipe(Path({str(file)!r})), {str(directory)!r})"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    deadline = time.monotonic() + 900
    while not (directory / "arms" / landmark).exists():
        assert process.poll() is None, f"ended before {landmark}"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run_recipe(load_recipe(file), directory)
    for name in ("warm-start", *ARMS[:2]):
        ours, theirs = adapter(directory, name), adapter(whole, name)
        assert all(torch.equal(ours[k], theirs[k]) for k in theirs)
    assert pl.read_parquet(directory / "results.parquet").equals(pl.read_parquet(whole / "results.parquet"))


def test_without_correct_answers_a_warm_start_is_refused(model):
    training = content(model)["training"] | {"warm_start": {"steps": 2}}
    data = StudyData.load(recipe(model, arms=["baseline", "trait"], training=training))
    with pytest.raises(RecipeError, match=r"training\.warm_start, on the tasks of arm 'trait': 332 of 420 tasks"):
        _ = data.slices


def test_no_arm_may_take_the_name_of_the_warm_start(model):
    with pytest.raises(ValidationError, match="'warm-start' cannot be the name of an arm"):
        recipe(model, arms=["baseline", {"name": "warm-start"}])
