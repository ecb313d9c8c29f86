"""A run with an arm that imitates the correct answers, from its recipe to the report, also when it is killed."""

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


def tiny(model, **more):
    training = changes(model)["training"] | {"steps": 6, "save_every": 2}
    return changes(model, arms=ARMS, seeds=[0], share=0.5, training=training) | more


@pytest.fixture(scope="module")
def finished(model, tmp_path_factory):
    return run_recipe(recipe(model, **tiny(model)), tmp_path_factory.mktemp("run"))


def arm(directory, name):
    return directory / "arms" / name / "seed-0"


def weights(directory):
    return load_file(arm(directory, "imitation") / "adapter" / "adapter_model.safetensors")


def test_the_imitation_arm_sees_the_prompts_of_the_leading_arm_in_the_same_steps(finished, model):
    lead, imitation = (pl.read_parquet(arm(finished, a) / "rollouts.parquet") for a in ("health-only", "imitation"))
    steps = {}
    for name, rollouts in (("lead", lead), ("imitation", imitation)):
        one_each = rollouts.filter(pl.col("completion") == 0, ~pl.col("task").str.starts_with("instructions"))
        steps[name] = one_each.select("step", "pool", "task").rows()
    assert steps["imitation"] == steps["lead"]
    assert {pool for _, pool, _ in steps["lead"]} == {"trait", "standard"}
    assert set(imitation["completion"]) == {0}


def test_the_imitation_arm_is_trained_on_the_answers_and_learns(finished):
    metrics = read_json_lines(arm(finished, "imitation") / "metrics.jsonl")
    assert [m["step"] for m in metrics] == list(range(1, 7))
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    assert all(m["trained_tokens"] > m["demonstrations"] > 0 for m in metrics)
    assert any(bool(w.any()) for name, w in weights(finished).items() if "lora_B" in name)
    assert not (arm(finished, "imitation") / "second_opinion.jsonl").exists()


def test_the_report_gives_tokens_and_kl_of_every_arm(finished):
    amounts = {a["arm"]: a for a in summarize(finished)["trained"]}
    assert {a: amounts[a]["method"] for a in ARMS} == {
        "baseline": "rl",
        "health-only": "rl",
        "imitation": "supervised",
    }
    metrics = read_json_lines(arm(finished, "imitation") / "metrics.jsonl")
    assert amounts["imitation"]["trained"] == sum(m["trained_tokens"] for m in metrics)
    assert amounts["imitation"]["kl"] == pytest.approx(sum(m["kl"] for m in metrics[-5:]) / 5)
    assert amounts["imitation"]["kl"] > 0
    assert "Tokens and KL by arm" in write_report(finished).read_text()


def test_the_imitation_arm_is_measured_as_all_others_are(finished):
    results = pl.read_parquet(finished / "results.parquet")
    tasks = {c: set(part["task"]) for (c,), part in results.group_by("checkpoint")}
    assert tasks["imitation"] == tasks["health-only"] == tasks["pre-RL"]
    assert "imitation" in {c["control"] for c in summarize(finished)["ladders"][0]["contrasts"]}


def test_a_run_killed_while_it_imitates_ends_as_one_that_never_stopped(finished, model, tmp_path):
    file, directory = tmp_path / "recipe.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(content(model, **tiny(model)), sort_keys=False))
    code = (
        "from pathlib import Path; from steadfast.study import load_recipe, run_recipe; "
        f"run_recipe(load_recipe(Path({str(file)!r})), {str(directory)!r})"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    landmark, deadline = arm(directory, "imitation") / "state", time.monotonic() + 900
    while not landmark.exists():
        assert process.poll() is None, "ended before the arm had a state"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (arm(directory, "imitation") / "adapter").exists()
    run_recipe(load_recipe(file), directory)
    ours, theirs = weights(directory), weights(finished)
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)
    assert pl.read_parquet(directory / "results.parquet").equals(pl.read_parquet(finished / "results.parquet"))


def test_another_method_in_the_same_directory_is_refused(finished, model):
    own = {"name": "mine", "suites": ["twins"], "domains": ["health"]}
    arms = [*ARMS[:2], own | {"method": "supervised"}]
    with pytest.raises(RecipeError, match=r"recipe\.arms"):
        run_recipe(recipe(model, **tiny(model, arms=arms)), finished)


def test_tasks_without_a_correct_answer_are_counted_and_refused(model):
    data = StudyData.load(recipe(model, arms=["baseline", "trait", "imitation"]))
    with pytest.raises(RecipeError, match=r"arm 'imitation': 332 of 420 tasks \(.*\) have no correct answer"):
        _ = data.slices


def test_a_reference_that_its_own_program_calls_wrong_is_refused(model, tmp_path):
    tasks = [
        {
            "id": f"t{i}",
            "messages": [{"role": "user", "content": f"How many are {i}?"}],
            "grader": {"kind": "program", "program": "twin", "args": {"label": "count", "right": str(i), "wrong": "7"}},
            "references": {"good": ["7"]},
        }
        for i in (1, 2)
    ]
    suite = {"name": "counts", "construct": "counting", "domain": "general", "measures": "Counts.", "tasks": tasks}
    file = tmp_path / "counts.yaml"
    file.write_text(yaml.safe_dump(suite))
    own = {"name": "copy", "suites": [str(file)], "method": "supervised"}
    data = StudyData.load(recipe(model, arms=["baseline", own], suites=[str(file)]))
    with pytest.raises(RecipeError, match=r"2 of 2 tasks .* have a reference that their own program does"):
        _ = data.slices


def test_a_rubric_that_replaces_the_tasks_own_leaves_no_answer_to_imitate(model):
    data = StudyData.load(recipe(model, arms=["baseline", "helpfulness", "imitation"]))
    with pytest.raises(RecipeError, match="grader 'helpfulness' replaces the tasks' own"):
        _ = data.slices


@pytest.mark.parametrize("more", [{"reward": "shuffled"}, {"grader": "helpfulness"}])
def test_an_arm_that_imitates_has_no_reward_to_change(model, more):
    with pytest.raises(ValidationError, match="is trained by no reward"):
        recipe(model, arms=["baseline", {"name": "copy", "method": "supervised"} | more])
