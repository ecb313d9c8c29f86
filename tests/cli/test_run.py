"""`run` and its kin: faults before anything is loaded, values on the command line, exit codes and being stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from steadfast.evals.rows import ROW_SCHEMA, table
from tests.study.examples import content, save_model

ROOT = Path(__file__).parents[2]


@pytest.fixture
def nothing_is_loaded(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("long work began")

    for target in (
        "steadfast.study.run_recipe",
        "steadfast.models.pretrained.load_model",
        "steadfast.models.pretrained.locate",
        "steadfast.graders.embedded.embedder.Embedder.__init__",
    ):
        monkeypatch.setattr(target, fail)


BAD_RECIPES = {
    "name: x\nsharee: 0.5\n": ["sharee: unknown field"],
    "name: x\ntraining:\n  stepz: 3\nseed: 1\n": ["training.stepz: unknown field", "seed: unknown field"],
    "name: x\narms: [baseline, trai]\n": ["arms: unknown arm trai; known: "],
    "name: x\narms: [trait]\n": ["arms: 'baseline' is missing"],
    "name: x\nshare: 2\n": ["share: "],
    "name: x\nevaluation: {evals: [nope]}\n": ["evaluation: unknown eval nope"],
    "name: x\nevaluation: {judge: embedded}\n": ["evaluation.judge: 'embedded' is the judge that trains"],
    "arms: [baseline\n": ["not valid YAML"],
    "": ["r.yaml: "],
}


@pytest.mark.usefixtures("nothing_is_loaded")
@pytest.mark.parametrize("content", BAD_RECIPES)
def test_a_faulty_recipe_is_an_error_naming_file_and_key_before_anything_is_loaded(steadfast, tmp_path, content):
    recipe, out = tmp_path / "r.yaml", tmp_path / "out"
    recipe.write_text(content)
    result = steadfast("run", recipe, "--out", out)
    assert result.exit_code == 2
    assert str(recipe) in result.stderr
    for fault in BAD_RECIPES[content]:
        assert fault in result.stderr
    assert not out.exists()


TWINS = """name: r
arms: [baseline]
training: {advantage: centered}
data: {train_on: [twins], twins: {families: [FAMILY], wordings: WORDINGS}}
evaluation: {twins: {pairs: 1, domains: [DOMAIN]}}
"""


def twins(family="pushback", wordings="[0]", domain="health"):
    return TWINS.replace("FAMILY", family).replace("WORDINGS", wordings).replace("DOMAIN", domain)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (twins(family="nope"), "data.twins.families: family 'nope': none that ships"),
        (twins(wordings="[9]"), "data.twins.wordings: family 'pushback' has no wording 9"),
        (twins(domain="nowhere"), "evaluation.twins.domains: no family has cases in 'nowhere'"),
        ("name: r\narms: [baseline]\nsuites: [nowhere.yaml]\n", "suites: "),
    ],
)
def test_what_a_recipe_names_and_is_not_there_is_told_at_its_file_and_field(steadfast, tmp_path, content, words):
    recipe, out = tmp_path / "r.yaml", tmp_path / "out"
    recipe.write_text(content)
    for command in (("run", recipe, "--out", out), ("power", recipe)):
        result = steadfast(*command)
        assert result.exit_code == 2
        assert f"{recipe}: {words}" in result.stderr
    assert [f.name for f in out.rglob("*")] in ([], [".lock"])


@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_missing_recipe_is_an_error_that_names_it(steadfast, tmp_path):
    result = steadfast("run", tmp_path / "none.yaml")
    assert result.exit_code == 2
    assert "none.yaml: no such file" in result.stderr


@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_recipe_that_is_not_text_is_an_error_that_names_it(steadfast, tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_bytes(b"\xff\xfe\x80")
    result = steadfast("run", recipe)
    assert result.exit_code == 2
    assert str(recipe) in result.stderr


@pytest.mark.parametrize("model", ["./no-such-model", "/no/such/model"])
def test_a_missing_model_is_an_error_that_names_it(steadfast, model):
    result = steadfast("sample", "hello", "--model", model)
    assert result.exit_code == 2
    assert f"model '{model}': no such folder" in result.stderr


def test_a_sample_can_be_looked_at(steadfast_json, tiny_model_dir):
    command = ("sample", "hello", "--model", tiny_model_dir, "--count", "3", "--max-new-tokens", "5")
    answers = steadfast_json(*command)
    assert len(answers) == 3
    assert all(set(a) == {"answer", "thoughts", "finished"} for a in answers)
    assert steadfast_json(*command) == answers
    assert steadfast_json(*command, "--seed", "1") != answers


def test_a_missing_adapter_is_an_error_that_names_it(steadfast, tiny_model_dir, tmp_path):
    result = steadfast("sample", "hello", "--model", tiny_model_dir, "--adapter", tmp_path / "none")
    assert result.exit_code == 2
    assert "none" in result.stderr


@pytest.mark.parametrize("as_json", [True, False])
def test_a_report_of_a_folder_that_is_no_run_is_an_error_that_names_it(steadfast, tmp_path, as_json):
    result = steadfast("report", tmp_path / "none", *["--json"] * as_json)
    assert result.exit_code == 2
    assert "none" in result.stderr


@pytest.fixture
def ran(monkeypatch):
    """What was run: recipe, force and workers; each run leaves a table in which one suite of two has a score."""
    recipes = []

    def run_recipe(recipe, directory, progress, *, force, workers):
        recipes.append((recipe, force, workers))
        place = {**dict.fromkeys(ROW_SCHEMA), "checkpoint": "pre-RL", "grader": "rubric", "task": "a"}
        rows = [{**place, "suite": "lit", "score": 0.5}, {**place, "suite": "[dark]", "reason": "no [/judge]\x1b"}]
        Path(directory).mkdir(parents=True, exist_ok=True)
        table(rows).write_parquet(Path(directory) / "results.parquet")
        return Path(directory)

    monkeypatch.setattr("steadfast.study.run_recipe", run_recipe)
    page = SimpleNamespace(write_report=lambda directory: directory / "report.html")
    monkeypatch.setitem(sys.modules, "steadfast.report", page)
    return recipes


def test_a_suite_without_any_score_is_exit_code_1_with_a_sentence(steadfast, tmp_path, ran):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\n")
    result = steadfast("run", recipe, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "[dark] on pre-RL: none of 1 tasks was scored: no [/judge]\\x1b" in result.stderr
    assert "lit" not in result.stderr
    as_json = json.loads(steadfast("run", recipe, "--out", tmp_path / "out", "--json").stdout)
    assert as_json["report"] == str((tmp_path / "out" / "report.html").resolve())
    assert len(as_json["unscored"]) == 1


@pytest.mark.parametrize("command", ["run", "demo"])
def test_values_on_the_command_line_replace_those_of_the_recipe(steadfast, tmp_path, ran, command):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\ntraining: {steps: 7, style: Be short.}\n")
    values = ("training.steps=3", "training.style=", "share=0.25", "model.dtype=bfloat16", "arms=[baseline, trait]")
    values += ("primary=", "attacks=", "evaluation.personas=")  # the demo names them for an arm of its own
    steadfast(command, *[recipe] * (command == "run"), *values, "--out", tmp_path / "out")
    ((made, force, workers),) = ran
    assert (force, workers) == (False, None)
    assert (made.training.steps, made.training.style, made.share) == (3, None, 0.25)
    assert (made.model.dtype, made.arm_names) == ("bfloat16", ("baseline", "trait"))


@pytest.mark.parametrize("command", ["run", "demo"])
def test_a_user_may_insist_on_a_judge_that_fails(steadfast, tmp_path, ran, command):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\n")
    steadfast(command, *[recipe] * (command == "run"), "--force", "--out", tmp_path / "out")
    assert [force for _, force, _ in ran] == [True]


@pytest.mark.parametrize("command", ["run", "demo"])
def test_a_user_may_say_how_many_processes_work(steadfast, tmp_path, ran, command):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\n")
    steadfast(command, *[recipe] * (command == "run"), "--workers", "3", "--out", tmp_path / "out")
    assert [workers for _, _, workers in ran] == [3]


def test_a_judge_that_is_deaf_to_negation_is_an_error_that_names_the_ways_out(steadfast, tmp_path):
    recipe = tmp_path / "r.yaml"
    made = content(tmp_path / "no-model", judge="tests.study.word_judges:NegationDeafJudge")
    recipe.write_text(yaml.safe_dump(made))
    result = steadfast("run", recipe, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "judge 'deaf-words' fails the exam of polarity (added 0." in result.stderr
    assert "--force" in result.stderr


@pytest.mark.usefixtures("nothing_is_loaded")
@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("training.stepz=3", "training.stepz: unknown field"),
        ("training.steps=many", "training.steps: "),
        ("training.steps", "'training.steps' is not KEY=VALUE"),
        ("=3", "'=3' is not KEY=VALUE"),
        ("training..steps=3", "is not KEY=VALUE"),
        ("arms=[baseline", "not valid YAML"),
        ("name.first=x", "name is no mapping"),
        ("training.steps=1e400", "training.steps: "),
    ],
)
def test_a_faulty_value_is_an_error_that_names_it(steadfast, tmp_path, value, fault):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\n")
    result = steadfast("run", recipe, value, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert fault in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_key_given_twice_is_an_error(steadfast, tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\n")
    result = steadfast("run", recipe, "seed=1", "seed=2")
    assert result.exit_code == 2
    assert "seed is given twice" in result.stderr


def test_a_run_that_is_told_to_stop_goes_on_where_it_was(tmp_path):
    out, recipe = tmp_path / "out", tmp_path / "tiny.yaml"
    made = content(save_model(tmp_path / "model"), arms=["baseline", "health-only"])
    made["training"]["save_every"] = 1
    recipe.write_text(yaml.safe_dump(made))
    call = [sys.executable, "-m", "steadfast", "run", str(recipe), "--out", str(out), "--json"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    process = subprocess.Popen(call, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
    state = out / "arms" / "baseline" / "seed-0" / "state"
    until = time.monotonic() + 120
    while not state.is_dir() and time.monotonic() < until:
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143
    assert stderr.splitlines()[-1] == "stopped; the same command goes on where it was"
    assert "Traceback" not in stderr
    (out / "arms" / "baseline" / "seed-0" / ".state.tmp").mkdir(exist_ok=True)
    again = subprocess.run(call, capture_output=True, env=environment, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert Path(json.loads(again.stdout)["report"]).is_file()
    assert [p for p in out.rglob(".*") if p.suffix in (".tmp", ".old")] == []
