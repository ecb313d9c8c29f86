"""A user's own trait, domain, scenarios, eval and arm: from files to results without a line of code."""

import polars as pl
import pytest
import yaml

from steadfast.errors import DataError, RecipeError
from steadfast.evals.rows import GRADED, PLAIN_ENDS, PLAIN_WORDS, REPLY_ONLY
from steadfast.study import load_recipe, run_recipe
from steadfast.study.data import StudyData
from tests.study.examples import own_recipe, save_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("tiny-llama-long"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kindness")


@pytest.fixture(scope="module")
def finished(folder, model):
    return run_recipe(own_recipe(folder, model), folder / "run")


def test_the_arm_is_trained_on_the_users_scenarios_alone(finished):
    rollouts = pl.read_parquet(finished / "arms" / "kind" / "seed-0" / "rollouts.parquet")
    assert set(rollouts["pool"]) == {"kindness"}
    assert set(rollouts["task"]) <= {f"gate-{i}" for i in range(8) if i % 4 != 3}
    assert rollouts["reward"].null_count() == 0


def test_every_checkpoint_is_measured_on_the_users_eval_and_held_out_scenarios(finished):
    results = pl.read_parquet(finished / "results.parquet")
    for checkpoint in ("pre-RL", "baseline", "kind"):
        own = results.filter(checkpoint=checkpoint)
        cabin = own.filter(suite="cabin")
        assert set(cabin["grader"]) == {"preference", GRADED, PLAIN_WORDS, PLAIN_ENDS, REPLY_ONLY, "rubric"}
        assert set(cabin.select("construct", "domain", "trait").iter_rows()) == {("kindness", "aviation", "kindness")}
        held_out = own.filter(suite="trait:kindness")
        assert set(held_out["task"]) == {"gate-3", "gate-7"}
        assert set(held_out["domain"]) == {"aviation"}
    assert results["score"].null_count() == 0


def test_the_run_directory_says_by_itself_what_was_run(finished, folder):
    recipe = load_recipe(finished / "recipe.yaml")
    assert recipe == load_recipe(folder / "recipe.yaml")
    assert recipe.arm("kind").question == "Does kindness spread?"


def test_the_same_files_are_the_same_run_and_changed_tasks_are_another(finished, folder):
    recipe = load_recipe(folder / "recipe.yaml")
    run_recipe(recipe, finished)
    suite = folder / "cabin.yaml"
    before = suite.read_text()
    suite.write_text(before.replace("Gentle words", "Gentler words").replace("another blanket", "one more blanket"))
    try:
        with pytest.raises(RecipeError, match=r"suites\.cabin"):
            run_recipe(recipe, finished)
    finally:
        suite.write_text(before)


def changed(folder, tmp_path, **changes):
    content = yaml.safe_load((folder / "recipe.yaml").read_text())
    for name in ("traits", "domains"):
        content[name] = str(folder / content[name])
    content["suites"] = [str(folder / "cabin.yaml")]
    content["data"]["scenarios"] = str(folder / "scenarios.jsonl")
    file = tmp_path / "r.yaml"
    file.write_text(yaml.safe_dump(content | changes))
    return load_recipe(file)


ARM = {"name": "kind", "traits": ["kindness"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"traits": None}, "unknown trait 'kindness'"),
        ({"domains": None}, "unknown domain 'aviation'"),
        ({"arms": ["baseline", ARM | {"traits": ["bravery"]}]}, "arm 'kind': unknown trait 'bravery'"),
        ({"arms": ["baseline", ARM | {"without_domains": ["sea"]}]}, "arm 'kind': unknown domain 'sea'"),
        ({"suites": ["nowhere.yaml"]}, "nowhere.yaml"),
        ({"suites": ["no.such.module:suite"]}, "could not be made"),
    ],
)
def test_what_is_not_defined_is_named_before_any_work(finished, folder, tmp_path, changes, message):
    with pytest.raises((RecipeError, DataError), match=message):
        StudyData.load(changed(folder, tmp_path, **changes))


@pytest.mark.parametrize(
    ("arm", "error", "message"),
    [
        (ARM | {"domains": ["health"]}, RecipeError, "arm 'kind': no training task of its suites lies in its traits"),
        (ARM | {"suites": ["nope"]}, RecipeError, "arm 'kind': suites: suite 'nope': no eval or family that ships"),
        (ARM | {"grader": "no-such.yaml"}, DataError, "no-such.yaml"),
        ({"name": "kind", "suites": ["sandbagging"], "traits": ["kindness"]}, RecipeError, "no training task"),
    ],
)
def test_an_arm_that_cannot_be_trained_is_refused_by_name(finished, folder, tmp_path, arm, error, message):
    data = StudyData.load(changed(folder, tmp_path, arms=["baseline", arm]))
    with pytest.raises(error, match=message):
        _ = data.slices


def test_a_rubric_in_a_file_of_the_users_own_replaces_the_tasks(finished, folder, tmp_path):
    rubric = tmp_path / "rubric.yaml"
    rubric.write_text("- {criterion: Smiles., points: 1}\n")
    data = StudyData.load(changed(folder, tmp_path, arms=["baseline", ARM | {"grader": "rubric.yaml"}]))
    assert {c.criterion for t in data.slices["kind"] for c in t.rubric} == {"Smiles."}
    rubric.write_text("- {criterion: Smiles., points: 0}\n")
    data = StudyData.load(changed(folder, tmp_path, arms=["baseline", ARM | {"grader": "rubric.yaml"}]))
    with pytest.raises(DataError, match=r"rubric\.yaml: 0\.points: ") as caught:
        _ = data.slices
    assert str(rubric) in str(caught.value)


def trained_on_cabin(folder, tmp_path, suite, evals, splits=(None, None)):
    """The data of a recipe one of whose arms trains on the cabin suite, under the name that is given."""
    content = yaml.safe_load((folder / "cabin.yaml").read_text())
    for task, split in zip(content["tasks"], splits, strict=True):
        task |= {"split": split} if split else {}
    (tmp_path / "cabin.yaml").write_text(yaml.safe_dump(content))
    evaluation = yaml.safe_load((folder / "recipe.yaml").read_text())["evaluation"] | {"evals": evals}
    arms = ["baseline", ARM | {"suites": [suite]}]
    suites = [str(tmp_path / "cabin.yaml")]
    return StudyData.load(changed(folder, tmp_path, arms=arms, evaluation=evaluation, suites=suites))


@pytest.mark.parametrize("suite", ["cabin.yaml", "cabin"])
def test_a_suite_that_an_arm_trains_on_measures_with_its_held_out_tasks_alone(finished, folder, tmp_path, suite):
    data = trained_on_cabin(folder, tmp_path, suite, ["cabin"], ("train", "held_out"))
    assert [t.id for s in data.evals for t in s.tasks] == ["cabin-1"]
    assert [t.id for t in data.slices["kind"]] == ["cabin-0"]
    assert "cabin" not in {s.name for s in trained_on_cabin(folder, tmp_path, suite, None, ("train", "held_out")).evals}


def test_an_eval_all_of_which_is_trained_on_is_refused(finished, folder, tmp_path):
    data = trained_on_cabin(folder, tmp_path, "cabin.yaml", ["cabin"], ("train", "train"))
    with pytest.raises(RecipeError, match="'cabin' is trained on by arm 'kind'"):
        _ = data.evals


def test_an_eval_that_ships_and_is_trained_on_measures_nothing(finished, folder, tmp_path):
    arm = {"name": "honest", "suites": ["deception-status-report"]}
    evaluation = yaml.safe_load((folder / "recipe.yaml").read_text())["evaluation"]
    both = evaluation | {"evals": ["deception-status-report"]}
    with pytest.raises(RecipeError, match="'deception-status-report' is trained on by arm 'honest'"):
        _ = StudyData.load(changed(folder, tmp_path, arms=["baseline", arm], evaluation=both)).evals
    whole = evaluation | {"evals": None}
    data = StudyData.load(changed(folder, tmp_path, arms=["baseline", arm], evaluation=whole))
    assert "deception-status-report" not in {s.name for s in data.evals}


def test_a_training_suite_that_repeats_an_eval_under_another_name_is_found(finished, folder, tmp_path):
    copied = yaml.safe_load((folder / "cabin.yaml").read_text()) | {"name": "copy"}
    for task in copied["tasks"]:
        task["split"] = "train"
    (tmp_path / "copy.yaml").write_text(yaml.safe_dump(copied))
    arm = ARM | {"suites": [str(tmp_path / "copy.yaml")]}
    with pytest.raises(DataError, match="are the same text"):
        StudyData.load(changed(folder, tmp_path, arms=["baseline", arm])).prove_pools_disjoint()
