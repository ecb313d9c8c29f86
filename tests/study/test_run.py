"""A whole study on the tiny model: every arm, resumed runs, and errors that come before any long work."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import torch
import yaml
from inspect_ai.log import read_eval_log
from safetensors.torch import load_file

from steadfast.errors import JudgeError, ModelNotFoundError, RecipeError, SteadfastError
from steadfast.graders import Answer, Limits
from steadfast.locking import sole_use
from steadfast.progress import Progress
from steadfast.study import ARMS, Recipe, load_recipe, run, run_recipe
from steadfast.study.data import StudyData
from steadfast.study.recipe import demo_recipe
from steadfast.tasks import environment
from tests.openai_server import OpenAIServer

ROOT = Path(__file__).parents[2]


def content(model: Path, **changes):
    recipe = {
        "name": "tiny",
        "arms": ["baseline", "health-only"],
        "share": 0.5,
        "judge": "tests.study.word_judges:WordJudge",
        "model": {"name": str(model)},
        "data": {"standard_prompts": 60},
        "training": {
            "steps": 4,
            "prompts_per_step": 2,
            "group_size": 3,
            "max_new_tokens": 6,
            "learning_rate": 0.01,
            "style": None,
            "save_every": 2,
            "adapter": {"rank": 2, "alpha": 4, "layers": 2},
        },
        "evaluation": {
            "evals": ["oversight-log", "health-triage"],
            "generation_items": 1,
            "chat_eval": None,
            "trait_items": 3,
            "capability_items": 1,
            "max_new_tokens": 6,
            "judge": "tests.study.word_judges:OtherWordJudge",
        },
    }
    return recipe | changes


def recipe(model: Path, **changes) -> Recipe:
    return Recipe.model_validate(content(model, **changes))


def rows(directory: Path) -> pl.DataFrame:
    return pl.read_parquet(directory / "results.parquet")


def weights(directory: Path, arm: str):
    return load_file(directory / "arms" / arm / "adapter" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def long_model(tmp_path_factory):
    """The tiny model with room for the corpus's prompts, which it reads byte by byte."""
    from tests.conftest import make_lm, make_tokenizer

    folder = tmp_path_factory.mktemp("tiny-llama-long")
    lm = make_lm()
    lm.config.max_position_embeddings = 8192
    lm.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def finished(long_model, tmp_path_factory):
    return run_recipe(recipe(long_model), str(tmp_path_factory.mktemp("run")))


def test_a_run_writes_what_the_design_says(finished):
    for name in ("recipe.yaml", "protocol.json", "environment.json", "disjoint.json", "results.parquet"):
        assert (finished / name).is_file(), name
    for arm in ("baseline", "health-only"):
        for name in ("adapter/adapter_model.safetensors", "metrics.jsonl", "rollouts.parquet"):
            assert (finished / "arms" / arm / name).is_file(), f"{arm}/{name}"
    assert Recipe.model_validate(yaml.safe_load((finished / "recipe.yaml").read_text()))


def test_every_checkpoint_is_measured_on_the_same_items(finished):
    results = rows(finished)
    assert results["checkpoint"].unique(maintain_order=True).to_list() == ["pre-RL", "baseline", "health-only"]
    items = {
        key: set(part.select("eval", "scoring", "item").iter_rows()) for (key,), part in results.group_by("checkpoint")
    }
    assert items["pre-RL"] == items["baseline"] == items["health-only"]
    assert set(results["kind"].unique()) == {"battery", "trait", "capability"}
    assert len(results.filter(pl.col("scoring") == "choice", pl.col("kind") == "battery")) == 3 * 32


def test_the_training_judge_never_grades_an_evaluation(finished):
    graded = rows(finished).filter(pl.col("scoring") == "generation")
    assert {json.loads(d)["judge"] for d in graded["detail"]} == {"other-words"}
    with pytest.raises(ValueError, match="never grades an evaluation"):
        Recipe(name="x", judge="embedded", evaluation={"judge": "embedded"})


def test_inspects_logs_can_be_read(finished):
    logs = sorted((finished / "evals" / "health-only").glob("*.eval"))
    names = {read_eval_log(str(log), header_only=True).eval.task for log in logs}
    assert {"oversight-log-choice", "oversight-log-generation", "held-out-traits-generation"} <= {
        n.split("/")[-1] for n in names
    }


def test_a_finished_run_is_not_run_again(finished, long_model):
    before = (finished / "arms" / "baseline" / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    run_recipe(recipe(long_model), finished)
    assert (finished / "arms" / "baseline" / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_study_killed_again_and_again_ends_as_one_never_killed(finished, long_model, tmp_path):
    directory = tmp_path / "run"
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(content(long_model)))
    code = (
        "from pathlib import Path; from steadfast.study import *;"
        f"run_recipe(load_recipe(Path({str(file)!r})), Path({str(directory)!r}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    landmarks = ("arms/baseline/metrics.jsonl", "arms/health-only/metrics.jsonl", "evals/pre-RL", "evals/baseline")
    for landmark in landmarks:
        process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 900  # only so that a hang ends
        while not (directory / landmark).exists():
            assert process.poll() is None, f"ended before {landmark}"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (directory / "results.parquet").exists()
    run_recipe(load_recipe(file), directory)
    for arm in ("baseline", "health-only"):
        ours, theirs = weights(directory, arm), weights(finished, arm)
        assert all(torch.equal(ours[k], theirs[k]) for k in theirs)
    assert rows(directory).equals(rows(finished))


@pytest.mark.parametrize("arm", list(ARMS))
def test_every_arm_of_the_papers_table_has_a_schedule(arm, long_model):
    from tests.study.word_judges import WordJudge

    data = StudyData.load(recipe(long_model))
    schedule = [p for step in data.schedule(ARMS[arm], WordJudge()) for p in step]
    baseline = [p for step in data.schedule(ARMS["baseline"], WordJudge()) for p in step]
    pools = {p.pool for p in schedule}
    expected = {"baseline": {"standard"}, "helpfulness": {"standard", "helpfulness"}}
    assert pools == expected.get(arm, {"standard", "trait"})
    pairs = zip(schedule, baseline, strict=True)
    assert arm == "baseline" or all(a.id == b.id for a, b in pairs if a.pool == "standard")
    trained = {s.id: s for s in data.training}
    domains = {trained[p.id].domain for p in schedule if p.pool in ("trait", "helpfulness")}
    if arm == "health-only":
        assert domains == {"health"}
    if arm == "no-health-no-science":
        assert not domains & {"health", "science"}
    assert all(p.id in trained for p in schedule if p.pool in ("trait", "helpfulness")), "held-out data was trained on"


def test_another_recipe_in_the_same_directory_is_refused(finished, long_model):
    with pytest.raises(RecipeError, match="another recipe"):
        run_recipe(recipe(long_model, seed=1), finished)


def test_another_budget_of_the_judges_is_the_same_run(finished, long_model):
    changed = recipe(long_model)
    with_limits = changed.model_copy(
        update={
            "judge_limits": Limits(max_calls=7),
            "evaluation": changed.evaluation.model_copy(update={"judge_limits": Limits(max_calls=9)}),
        }
    )
    assert protocol_of(with_limits) == protocol_of(changed)
    assert json.loads((finished / "protocol.json").read_text())["recipe"] == protocol_of(changed)["recipe"]


def test_rules_that_a_model_is_not_shown_are_part_of_the_runs_protocol(long_model, monkeypatch):
    plain = recipe(long_model)
    evaluation = plain.evaluation.model_copy(update={"evals": ("agent-guardrails",)})
    chosen = plain.model_copy(update={"evaluation": evaluation})
    before = protocol_of(chosen)
    monkeypatch.setattr(environment, "MAX_CALLS", environment.MAX_CALLS + 1)
    after = protocol_of(chosen)
    assert {key for key in before if before[key] != after[key]} == {"environments"}


def protocol_of(chosen: Recipe):
    from tests.study.word_judges import OtherWordJudge, WordJudge

    judges = WordJudge(), OtherWordJudge()
    study = run.Study(chosen, Path(), StudyData.load(chosen), *judges, Progress(), {})
    return run._protocol(study, SimpleNamespace(name="m", weights="w"))


def test_a_directory_that_another_process_uses_is_left_alone(long_model, tmp_path):
    with sole_use(tmp_path), pytest.raises(SteadfastError, match="in use by process"):
        run_recipe(recipe(long_model), tmp_path)
    assert not (tmp_path / "protocol.json").exists()


def test_a_budget_that_is_spent_stops_the_run_and_is_no_missing_grade(long_model, tmp_path, monkeypatch):
    def reply(messages, request):
        wanted = request["response_format"]["json_schema"]["schema"]["properties"]
        return json.dumps({c: {"reason": "Because.", "score": 3} for c in wanted})

    with OpenAIServer(reply) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "test")
        limited = recipe(long_model, judge="openai/gpt-4-test", judge_limits={"max_calls": 1})
        study = run._prepare(StudyData.load(limited), tmp_path, Progress())
        with pytest.raises(JudgeError, match="budget of 1 calls is used up; what is graded is kept"):
            study.training_judge.grade([Answer(study.data.held_out[1], "See a doctor about that today, please.")])
        assert server.count == 1


def test_a_missing_model_is_named_and_nothing_is_written_over(tmp_path):
    with pytest.raises(ModelNotFoundError, match="no such folder"):
        run_recipe(recipe(tmp_path / "nowhere"), tmp_path / "run")


def test_a_judge_that_answers_rubbish_stops_the_run_with_its_name(long_model, tmp_path):
    bad = recipe(long_model, judge="tests.study.word_judges:RubbishJudge", arms=["health-only", "baseline"])
    with pytest.raises(JudgeError, match="rubbish"):
        run_recipe(bad, tmp_path)


def test_a_full_disk_is_an_error_before_any_work(long_model, tmp_path, monkeypatch):
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(SteadfastError, match="GB free"):
        run_recipe(recipe(long_model), tmp_path / "run")


def test_overlapping_pools_stop_the_run_and_are_named(long_model, tmp_path):
    from steadfast.errors import DataError
    from steadfast.tasks import built_in_scenarios

    scenario = next(s for s in built_in_scenarios() if s.domain == "health" and s.split == "train")
    twin = scenario.model_copy(update={"id": "twin", "split": "held_out"})
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(s.model_dump_json() + "\n" for s in (scenario, twin)))
    with pytest.raises(DataError, match="twin"):
        run_recipe(recipe(long_model, data={"scenarios": str(file)}), tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shar": 0.1}, "shar: unknown field"),
        ({"training": {"step": 3}}, "training.step: unknown field"),
        ({"arms": ["baseline", "trayt"]}, "unknown arm trayt"),
        ({"arms": ["trait"]}, "'baseline' is missing"),
        ({"evaluation": {"evals": ["nope"]}}, "unknown eval nope"),
        ({"share": 1.5}, "share"),
    ],
)
def test_a_bad_recipe_names_file_and_key(tmp_path, change, message):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump({"name": "x"} | change))
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_the_recipes_that_ship_are_valid():
    demo = demo_recipe()
    assert demo.arms == ("baseline", "health-only")
    for file in sorted((ROOT / "recipes").glob("*.yaml")):
        assert set(load_recipe(file).arms) == set(ARMS), file.name
