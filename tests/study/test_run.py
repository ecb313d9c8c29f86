"""A whole study on the tiny model: every arm, resumed runs, and errors that come before any long work."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import torch
import yaml
from inspect_ai.log import read_eval_log
from safetensors.torch import load_file

from steadfast.errors import DataError, JudgeError, ModelNotFoundError, RecipeError, SteadfastError
from steadfast.evals.rows import CONSTANT
from steadfast.evals.surface import CONSTANTS
from steadfast.graders import Limits
from steadfast.locking import sole_use
from steadfast.report import summarize
from steadfast.rollouts import Rollout
from steadfast.study import Recipe, load_recipe, run_recipe, running, shipped_arms, stages
from steadfast.study.data import StudyData
from steadfast.tasks import built_in_scenarios
from tests.openai_server import OpenAIServer
from tests.study.examples import content, recipe, save_model
from tests.study.word_judges import OtherWordJudge, WordJudge

ROOT = Path(__file__).parents[2]
ARMS = ("health-only", "baseline")


def rows(directory: Path) -> pl.DataFrame:
    """What was measured of checkpoints."""
    return pl.read_parquet(directory / "results.parquet").filter(pl.col("condition") != CONSTANT)


def constants(directory: Path) -> pl.DataFrame:
    """What constant answers earned."""
    return pl.read_parquet(directory / "results.parquet").filter(pl.col("condition") == CONSTANT)


def weights(directory: Path, arm: str):
    return load_file(directory / "arms" / arm / "seed-0" / "adapter" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("tiny-llama-long"))


class Loads:
    """Counts how often the weights are loaded."""

    def __init__(self):
        self.count, self._load = 0, running.load_model

    def __call__(self, *args, **kwargs):
        self.count += 1
        return self._load(*args, **kwargs)


@pytest.fixture(scope="module")
def loads():
    with pytest.MonkeyPatch.context() as patch:
        counter = Loads()
        patch.setattr(running, "load_model", counter)
        yield counter


@pytest.fixture(scope="module")
def finished(model, loads, tmp_path_factory):
    return run_recipe(recipe(model), str(tmp_path_factory.mktemp("run")))


def test_a_run_loads_the_weights_once_for_all_its_arms_and_checkpoints(finished, loads):
    assert loads.count == 1


def test_a_run_writes_what_the_design_says(finished):
    for name in ("recipe.yaml", "protocol.json", "environment.json", "disjoint.json", "timing.json", "results.parquet"):
        assert (finished / name).is_file(), name
    for arm in ARMS:
        for name in ("adapter/adapter_model.safetensors", "metrics.jsonl", "rollouts.parquet"):
            assert (finished / "arms" / arm / "seed-0" / name).is_file(), f"{arm}/{name}"
    assert (finished / "arms" / "health-only" / "seed-0" / "second_opinion.jsonl").is_file()
    assert load_recipe(finished / "recipe.yaml") == Recipe.model_validate(
        yaml.safe_load((finished / "recipe.yaml").read_text())
    )


def test_every_checkpoint_is_measured_on_the_same_tasks(finished):
    results = rows(finished)
    assert results["checkpoint"].unique(maintain_order=True).to_list() == ["pre-RL", *ARMS]
    tasks = {
        key: set(part.select("suite", "grader", "judge", "task").iter_rows())
        for (key,), part in results.group_by("checkpoint")
    }
    assert tasks["pre-RL"] == tasks["baseline"] == tasks["health-only"]
    assert set(results["kind"].unique()) == {"eval", "trait", "capability"}
    assert len(results.filter(pl.col("grader") == "preference", pl.col("kind") == "eval")) == 3 * 16
    assert results["score"].null_count() == 0


def test_constant_answers_are_graded_by_both_judges_on_the_tasks_that_checkpoints_answer(finished):
    found = constants(finished)
    assert found["checkpoint"].unique(maintain_order=True).to_list() == [f"constant: {label}" for label in CONSTANTS]
    key = ["kind", "suite", "grader", "judge", "task"]
    answered = rows(finished).filter(pl.col("checkpoint") == "pre-RL", pl.col("kind").is_in(["eval", "trait"]))
    answered = answered.filter(pl.col("answer").is_not_null())
    for name in found["checkpoint"].unique():
        assert set(found.filter(checkpoint=name).select(key).iter_rows()) == set(answered.select(key).iter_rows())
    assert dict(found.select("checkpoint", "answer").unique().iter_rows()) == {
        f"constant: {label}": text for label, text in CONSTANTS.items()
    }
    assert {s["measure"] for s in summarize(finished)["judged"]} >= {"held-out traits"}


def test_a_constant_that_lost_its_rows_is_graded_again_out_of_the_cache(finished, model, tmp_path, monkeypatch):
    directory = tmp_path / "run"
    shutil.copytree(finished, directory)
    lost = directory / "rows" / "constants" / "yes.parquet"
    lost.unlink()
    asked = []
    for judge in (WordJudge, OtherWordJudge):
        grade = judge.grade
        monkeypatch.setattr(judge, "grade", lambda self, a, grade=grade: asked.extend(a) or grade(self, a))
    run_recipe(recipe(model), directory)
    assert lost.is_file()
    assert constants(directory).equals(constants(finished))
    assert asked == []


def test_an_arm_that_learned_is_measured_as_itself_and_the_checkpoint_after_it_as_itself_again(finished):
    scores = {
        name: rows(finished).filter(checkpoint=name, grader="preference_graded")["score"].to_list()
        for name in ("pre-RL", *ARMS)
    }
    learned = {
        arm: any(bool(w.any()) for name, w in weights(finished, arm).items() if "lora_B" in name) for arm in ARMS
    }
    assert learned["health-only"]
    for arm in ARMS:  # the tiny model solves no standard task, so its baseline may have learned nothing
        assert (scores[arm] != scores["pre-RL"]) == learned[arm]


def test_the_training_judge_never_grades_an_eval_and_stands_beside_the_other_on_traits(finished):
    judged = rows(finished).filter(pl.col("grader") == "rubric")
    assert set(judged.filter(pl.col("kind") == "eval")["judge"]) == {"other-words"}
    assert set(judged.filter(pl.col("kind") == "trait")["judge"]) == {"other-words", "words"}
    with pytest.raises(ValueError, match="never grades an evaluation"):
        Recipe(name="x", judge="embedded", evaluation={"judge": "embedded"})


def test_inspects_logs_can_be_read(finished):
    logs = sorted((finished / "logs" / "health-only" / "seed-0" / "plain").glob("*.eval"))
    names = {read_eval_log(str(log), header_only=True).eval.task for log in logs}
    assert {"oversight-log-preference", "oversight-log-answers"} <= names
    assert any(n.startswith("trait:") and n.endswith("-answers") for n in names)


def test_a_finished_run_is_not_run_again(finished, model):
    before = {f: f.stat().st_mtime_ns for f in finished.glob("arms/*/*/adapter/*")}
    again = {f: f.stat().st_mtime_ns for f in finished.glob("rows/**/*.parquet")}
    run_recipe(recipe(model), finished)
    assert {f: f.stat().st_mtime_ns for f in finished.glob("arms/*/*/adapter/*")} == before
    assert {f: f.stat().st_mtime_ns for f in finished.glob("rows/**/*.parquet")} == again


class Killed(BaseException):
    """Ends the process's work where it stands, as a kill does."""


def test_a_run_that_stops_while_it_measures_goes_on_and_ends_as_one_that_never_stopped(
    finished, model, tmp_path, monkeypatch
):
    measure = stages.measure
    measured = []

    def stop_within(subject, parts, judge, **settings):
        measured.append(settings["place"].fields["checkpoint"])
        if measured[-1] == ARMS[0]:
            judge.grade([Rollout.of_text(t, "A stray answer.") for p in parts for t in p.answered if t.rubric])
            raise Killed
        return measure(subject, parts, judge, **settings)

    monkeypatch.setattr(stages, "measure", stop_within)
    directory = tmp_path / "run"
    with pytest.raises(Killed):
        run_recipe(recipe(model), directory)
    monkeypatch.undo()
    assert measured == ["pre-RL", ARMS[0]]
    assert not (directory / "results.parquet").exists()
    monkeypatch.setattr(stages, "measure", lambda s, *a, **k: measured.append(s.name) or measure(s, *a, **k))
    run_recipe(recipe(model), directory)
    assert measured[2:] == list(ARMS)
    assert rows(directory).equals(rows(finished))
    for arm in ARMS:
        ours, theirs = weights(directory, arm), weights(finished, arm)
        assert all(torch.equal(ours[k], theirs[k]) for k in theirs)
    assert len(json.loads((directory / "timing.json").read_text())["sessions"]) == 2


def test_a_second_opinion_that_a_kill_left_out_is_given_by_the_next_session(finished, model, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(finished, directory)
    file = directory / "arms" / "health-only" / "seed-0" / "second_opinion.jsonl"
    file.unlink()
    run_recipe(recipe(model), directory)
    assert file.read_bytes() == (finished / "arms" / "health-only" / "seed-0" / "second_opinion.jsonl").read_bytes()


def test_a_task_that_lost_its_score_is_asked_again_alone(finished, model, tmp_path, monkeypatch):
    directory = tmp_path / "run"
    shutil.copytree(finished, directory)
    file = directory / "rows" / "baseline" / "seed-0" / "plain.parquet"
    before = pl.read_parquet(file)
    chosen = (pl.col("grader") == "rubric") & (pl.col("kind") == "eval")
    lost = pl.when(chosen).then(None).otherwise(pl.col("score"))
    before.with_columns(score=lost).write_parquet(file)
    asked = []
    measure = stages.measure
    monkeypatch.setattr(
        stages, "measure", lambda s, parts, *a, **k: asked.append((s.name, parts)) or measure(s, parts, *a, **k)
    )
    run_recipe(recipe(model), directory)
    ((name, (part,)),) = asked
    assert (name, len(part.compared), len(part.answered)) == ("baseline", 0, 1)
    key = ["suite", "grader", "judge", "task"]
    assert pl.read_parquet(file).sort(key).equals(before.sort(key))


@pytest.mark.slow
def test_a_study_killed_again_and_again_ends_as_one_never_killed(finished, model, tmp_path):
    directory = tmp_path / "run"
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(content(model)))
    code = (
        "from pathlib import Path; from steadfast.study import *;"
        f"run_recipe(load_recipe(Path({str(file)!r})), Path({str(directory)!r}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    landmarks = (*(f"arms/{arm}/seed-0/metrics.jsonl" for arm in ARMS), "rows/pre-RL", f"rows/{ARMS[0]}")
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
    for arm in ARMS:
        ours, theirs = weights(directory, arm), weights(finished, arm)
        assert all(torch.equal(ours[k], theirs[k]) for k in theirs)
    assert rows(directory).equals(rows(finished))


@pytest.mark.parametrize("arm", [name for name in shipped_arms() if name not in ("one-sided", "imitation")])
def test_every_arm_of_the_papers_table_has_a_schedule(arm, model):
    data = StudyData.load(recipe(model, arms=list({"baseline": 0, arm: 0})))
    schedule = [s for step in data.schedule(data.recipe.arm(arm), 0) for s in step]
    baseline = [s for step in data.schedule(data.recipe.arm("baseline"), 0) for s in step]
    pools = {s.pool for s in schedule}
    expected = {"baseline": {"standard"}, "helpfulness": {"standard", "helpfulness"}}
    assert pools == expected.get(arm, {"standard", "trait"})
    pairs = zip(schedule, baseline, strict=True)
    assert arm == "baseline" or all(a.task == b.task for a, b in pairs if a.pool == "standard")
    trained = {s.id: s for s in data.training}
    own = [s.task for s in schedule if s.pool != "standard"]
    domains = {t.domain for t in own}
    if arm == "health-only":
        assert domains == {"health"}
    if arm == "no-health-no-science":
        assert not domains & {"health", "science"}
    assert all(t.id in trained for t in own), "held-out data was trained on"
    if arm == "helpfulness":
        assert all(t.rubric != trained[t.id].rubric for t in own)


def test_another_recipe_in_the_same_directory_is_refused_and_the_keys_are_named(finished, model):
    training = content(model)["training"] | {"steps": 30}
    with pytest.raises(RecipeError) as caught:
        run_recipe(recipe(model, seeds=[1], training=training), finished)
    assert "recipe.training.steps (4 before, 30 now)" in str(caught.value)
    assert "recipe.seeds ([0] before, [1] now)" in str(caught.value)


def test_a_chat_template_that_was_edited_between_two_sessions_is_refused_and_named(finished, model, tmp_path):
    directory, folder = tmp_path / "run", tmp_path / "model"
    shutil.copytree(finished, directory)
    shutil.copytree(model, folder)
    protocol = json.loads((directory / "protocol.json").read_text())
    protocol["recipe"]["model"]["name"] = str(folder)
    (directory / "protocol.json").write_text(json.dumps(protocol))
    run_recipe(recipe(folder), directory)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|end|>", "<|end|>\n"))
    with pytest.raises(RecipeError, match=r"model\.files\.chat_template\.jinja") as caught:
        run_recipe(recipe(folder), directory)
    assert str(directory) in str(caught.value)


def test_a_directory_of_another_version_or_a_damaged_one_is_refused_in_a_sentence(finished, model, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(finished, directory)
    (directory / "protocol.json").write_text('{"recipe": "3f", "judge": "x"}')
    with pytest.raises(RecipeError, match="written by another version of Steadfast"):
        run_recipe(recipe(model), directory)
    (directory / "protocol.json").write_text("{")
    with pytest.raises(SteadfastError, match=r"protocol\.json: is damaged"):
        run_recipe(recipe(model), directory)


def test_another_budget_of_the_judges_or_another_device_is_the_same_run(finished, model, tmp_path):
    plain = recipe(model)
    changed = plain.model_copy(
        update={
            "judge_limits": Limits(max_calls=7),
            "evaluation": plain.evaluation.model_copy(update={"judge_limits": Limits(max_calls=9)}),
            "model": plain.model.model_copy(update={"device": "cpu"}),
        }
    )
    kept = json.loads((finished / "protocol.json").read_text())["recipe"]
    assert changed.model_dump(mode="json", exclude=running._APART) == kept


def test_a_directory_that_another_process_uses_is_left_alone(model, tmp_path):
    with sole_use(tmp_path), pytest.raises(SteadfastError, match="in use by process"):
        run_recipe(recipe(model), tmp_path)
    assert not (tmp_path / "protocol.json").exists()


def test_a_budget_that_is_spent_stops_the_run_and_is_no_missing_grade(model, tmp_path, monkeypatch):
    def reply(messages, request):
        wanted = request["response_format"]["json_schema"]["schema"]["properties"]
        return json.dumps({c: {"reason": "Because.", "score": 3} for c in wanted})

    with OpenAIServer(reply) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "test")
        limited = recipe(model, judge="openai/gpt-4-test", judge_limits={"max_calls": 1})
        with pytest.raises(JudgeError, match="budget of 1 calls is used up; what is graded is kept"):
            run_recipe(limited, tmp_path)
        assert server.count == 1


def test_a_missing_model_is_named_and_nothing_is_written_over(tmp_path):
    with pytest.raises(ModelNotFoundError, match="no such folder"):
        run_recipe(recipe(tmp_path / "nowhere"), tmp_path / "run")
    assert not (tmp_path / "run" / "protocol.json").exists()


def test_a_judge_that_answers_rubbish_stops_the_run_with_its_name(model, tmp_path):
    bad = recipe(model, judge="tests.study.word_judges:RubbishJudge", arms=["health-only", "baseline"])
    with pytest.raises(JudgeError, match="rubbish"):
        run_recipe(bad, tmp_path)


def test_a_full_disk_is_an_error_before_any_work(model, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(SteadfastError, match="GB free"):
        run_recipe(recipe(model), tmp_path / "run")


def test_overlapping_pools_stop_the_run_and_are_named(model, tmp_path):
    scenario = next(s for s in built_in_scenarios() if s.domain == "health" and s.split == "train")
    twin = scenario.model_copy(update={"id": "twin", "split": "held_out"})
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(s.row()) + "\n" for s in (scenario, twin)))
    with pytest.raises(DataError, match="twin"):
        run_recipe(recipe(model, data={"scenarios": str(file), "standard_prompts": 60}), tmp_path / "run")


def test_what_a_judge_cannot_grade_is_said_before_the_model_is_loaded(model, tmp_path, monkeypatch):
    class Choosy(WordJudge):
        def cannot_grade(self, task):
            return "it reads no English" if task.domain == "health" else None

    monkeypatch.setattr(running, "load_model", None)
    monkeypatch.setattr(running, "make_judge", lambda config, limits: Choosy() if limits is None else OtherWordJudge())
    with pytest.raises(DataError, match="it reads no English"):
        run_recipe(recipe(model), tmp_path)


def test_a_run_killed_before_it_wrote_its_recipe_goes_on_and_one_without_its_protocol_is_refused(
    finished, model, tmp_path
):
    directory = tmp_path / "run"
    shutil.copytree(finished, directory)
    (directory / "recipe.yaml").unlink()
    run_recipe(recipe(model), directory)
    assert (directory / "recipe.yaml").read_text() == (finished / "recipe.yaml").read_text()
    (directory / "protocol.json").unlink()
    with pytest.raises(RecipeError, match=r"protocol\.json is missing"):
        run_recipe(recipe(model, seeds=[9]), directory)
