"""Whatever a user's file holds, reading a recipe ends in a recipe or in an error that names the file."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steadfast.errors import RecipeError
from steadfast.graders.config import LLMConfig
from steadfast.study import Recipe, demo_recipe, load_recipe, shipped_arms
from steadfast.study.recipe import EvaluationConfig
from steadfast.tasks.twins import trained_families

ROOT = Path(__file__).parents[2]

ODD = {
    "not UTF-8": b"name: caf\xe9",
    "nested too deeply": b"[" * 100_000,
    "a month 13": b"name: 2024-13-45",
    "a number too long to convert": b"seed: " + b"9" * 5000,
    "a tag that its value does not fit": b"name: x\nshare: !!float abc",
    "a truth value that is none": b"name: x\nseed: !!bool abc",
    "a time that is none": b"name: !!timestamp abc",
    "a list that holds itself": b"name: &a [*a]",
    "a Python object": b"name: !!python/object:os.system x",
    "a key that is a list": b"? [a]\n: b",
    "a key that is a number": b"name: x\n1: 2",
    "half a surrogate pair": b'name: "\\ud800"',
    "a name no folder can have": b'name: "a\\0b"',
    "two documents": b"name: x\n---\nname: y",
    "a list": b"[1]",
    "not a number": b"name: x\nshare: .nan",
    "a seed too large for any generator": b"name: x\nseeds: [99999999999999999999]",
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_file_is_an_error_that_names_it(tmp_path, case):
    path = tmp_path / "r.yaml"
    path.write_bytes(ODD[case])
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)


def test_a_path_may_be_given_as_text(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: x")
    assert load_recipe(str(path)) == load_recipe(path)


TWICE = """\
name: x
share: 0.1
training:
  steps: 3
  style: null
  steps: 30
evaluation: {choice: true, choice: false}
share: 0.2
"""


def test_every_key_that_stands_twice_is_named_with_file_and_line(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(TWICE)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert sorted(str(caught.value).splitlines()) == [
        f"{path}:6: steps: is already on line 4; keep one of them",
        f"{path}:7: choice: is already on line 7; keep one of them",
        f"{path}:8: share: is already on line 2; keep one of them",
    ]


def test_a_merged_key_may_be_overridden(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: x\nmodel: &m {name: y, dtype: float16}\ntraining: {adapter: &a {rank: 2}}\n")
    assert load_recipe(path).training.adapter.rank == 2
    path.write_text("name: x\nmodel: {<<: {name: y, dtype: float16}, name: z}\n")
    assert load_recipe(path).model.name == "z"


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", "inf"])
@pytest.mark.parametrize(
    "key", ["training.learning_rate", "training.temperature", "training.max_grad_norm", "training.clip_high",
            "training.kl_coef", "training.adapter.alpha", "share"],
)  # fmt: skip
def test_a_number_that_is_not_finite_is_refused_by_its_key(tmp_path, key, number):
    *outer, last = key.split(".")
    path = tmp_path / "r.yaml"
    path.write_text("name: x\n" + "".join(f"{part}: {{" for part in outer) + f"{last}: {number}" + "}" * len(outer))
    with pytest.raises(RecipeError, match=f"{key}: "):
        load_recipe(path)


@pytest.mark.parametrize("name", ["../x", "a/b", "/tmp/x", "..", ".", ".x", " ", "x ", "a\\b", "C:x", "a\nb", "x."])
def test_a_name_that_leads_out_of_the_folder_of_runs_is_refused_with_what_is_allowed(name):
    with pytest.raises(ValueError, match="use letters, digits"):
        Recipe(name=name)


@pytest.mark.parametrize("name", ["x", "laptop", "my run 2", "v1.2_seed-3+kl", "Größe", "7"])
def test_a_name_that_a_folder_can_have_is_taken(name):
    assert Recipe(name=name).name == name


@pytest.mark.parametrize("where", ["", "evaluation."])
def test_limits_are_for_a_judge_that_makes_calls(where):
    limits = {"max_calls": 3}
    model = {"judge": "openai/x", "evaluation": {"judge": "openai/y"}}
    both = model | {"judge_limits": limits, "evaluation": {"judge": "openai/y", "judge_limits": limits}}
    assert Recipe(name="x", **both).evaluation.judge_limits.max_calls == 3
    bad = {"evaluation": {"judge_limits": limits}} if where else {"judge_limits": limits}
    with pytest.raises(ValueError, match=f"{where}judge_limits: judge 'embedded"):
        Recipe(name="x", **bad)


@pytest.mark.parametrize("limits", [{"max_calls": 0}, {"max_tokens": -1}, {"max_cals": 1}])
def test_limits_are_checked(limits):
    with pytest.raises(ValueError, match=f"judge_limits.{next(iter(limits))}"):
        Recipe(name="x", judge="openai/x", judge_limits=limits)


def test_a_judge_asked_without_a_schema_is_still_the_same_model():
    with pytest.raises(ValueError, match="never grades an evaluation"):
        Recipe(name="x", judge="openai/x,structured=false", evaluation={"judge": "openai/x"})
    with pytest.raises(ValueError, match="never grades itself"):
        Recipe(name="x", judge="hf/m,structured=false", model={"name": "m"})


def test_a_folder_is_an_error_that_names_it(tmp_path):
    with pytest.raises(RecipeError, match="Is a directory"):
        load_recipe(tmp_path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda t: b"name: " + t.encode("utf-8", "surrogatepass")))
def test_no_content_raises_anything_but_a_recipe_error(tmp_path, content):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    try:
        recipe = load_recipe(path)
    except RecipeError:
        return
    assert isinstance(recipe, Recipe)


# What is the user's own.


def write(path, content):
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


KIND = {"name": "kind", "traits": ["kindness"], "share": 0.5, "role": "the user's own", "scope": {"words": "all"}}


def test_an_arm_is_a_name_of_one_that_ships_or_a_mapping_of_the_users(tmp_path):
    recipe = load_recipe(write(tmp_path / "r.yaml", {"name": "x", "arms": ["baseline", KIND]}))
    assert recipe.arm_names == ("baseline", "kind")
    assert recipe.arm("baseline") == shipped_arms()["baseline"]
    assert (recipe.arm("kind").traits, recipe.arm("kind").share) == (("kindness",), 0.5)


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ("trayt", "arms: unknown arm trayt; known: baseline, trait, "),
        ({"traits": ["kindness"]}, r"arms.1.name: Field required"),
        (KIND | {"colour": "red"}, "arms.1.colour: unknown field"),
        (KIND | {"share": 2}, "arms.1.share: "),
        (KIND | {"share": 0}, "arms.1.share: "),
        (KIND | {"suites": []}, "arms.1.suites: "),
        (KIND | {"name": "trait"}, "arms: 'trait' is an arm that ships; give your own another name"),
        (KIND | {"name": "pre-RL"}, "arms: 'pre-RL' cannot be the name of an arm"),
        (KIND | {"name": "../x"}, "arms: '../x' cannot be the name of an arm"),
        ("baseline", "arms: 'baseline' stands there twice"),
        (3, "arms.1: "),
    ],
)
def test_a_faulty_arm_is_named_by_file_and_key(tmp_path, arm, message):
    path = write(tmp_path / "r.yaml", {"name": "x", "arms": ["baseline", arm]})
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert f"{path}: {message}" in str(caught.value)


def test_a_judge_may_be_a_mapping_with_a_kind_and_keeps_its_settings(tmp_path):
    judge = {"kind": "llm", "model": "openai/gpt-4", "repairs": 0, "limits": {"max_calls": 5}}
    recipe = load_recipe(write(tmp_path / "r.yaml", {"name": "x", "evaluation": {"judge": judge}}))
    assert isinstance(recipe.evaluation.judge, LLMConfig)
    assert (recipe.evaluation.judge.repairs, recipe.evaluation.judge.limits.max_calls) == (0, 5)
    again = Recipe.model_validate(yaml.safe_load(yaml.safe_dump(recipe.model_dump(mode="json"))))
    assert again == recipe


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ({"kind": "llm"}, "model"),
        ({"kind": "lllm", "model": "a/b"}, "a judge is"),
        ({"model": "a/b"}, "a judge is"),
        ("nobody", "unknown judge 'nobody'"),
        (3, "a judge is"),
        ({"kind": "llm", "model": "a/b", "args": {"api_key": "x"}}, "environment variable"),
    ],
)
def test_a_faulty_judge_is_named_by_file_and_key(tmp_path, judge, message):
    path = write(tmp_path / "r.yaml", {"name": "x", "judge": judge})
    with pytest.raises(RecipeError, match="judge: ") as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_relative_paths_are_those_beside_the_recipe_wherever_it_is_read_from(tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    (folder / "suites").mkdir(parents=True)
    for name in ("traits.yaml", "domains.yaml", "s.jsonl", "g.jsonl", "suites/own.yaml", "rubric.yaml"):
        (folder / name).touch()
    write(folder / "judge.yaml", "{kind: llm, model: openai/gpt-4}")
    (folder / "weights").mkdir()
    content = {
        "name": "x",
        "model": {"name": "weights"},
        "traits": "traits.yaml",
        "domains": "domains.yaml",
        "suites": ["suites/own.yaml", "package.module:function"],
        "data": {"scenarios": "s.jsonl", "gold": "g.jsonl"},
        "arms": ["baseline", KIND | {"suites": ["scenarios", "suites/own.yaml"], "grader": "rubric.yaml"}],
        "evaluation": {"judge": "judge.yaml"},
    }
    path = write(folder / "r.yaml", content)
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(path)
    assert recipe.model.name == str(folder / "weights")
    assert recipe.traits == folder / "traits.yaml"
    assert recipe.domains == folder / "domains.yaml"
    assert recipe.suites == (str(folder / "suites/own.yaml"), "package.module:function")
    assert (recipe.data.scenarios, recipe.data.gold) == (folder / "s.jsonl", folder / "g.jsonl")
    assert recipe.arm("kind").suites == ("scenarios", str(folder / "suites/own.yaml"))
    assert recipe.arm("kind").grader == str(folder / "rubric.yaml")
    assert recipe.evaluation.judge.name == "openai/gpt-4"


def test_names_that_ship_are_no_paths_even_where_a_folder_bears_them(tmp_path):
    for name in ("scenarios", "standard", "sandbagging", "own", "helpfulness"):
        (tmp_path / name).mkdir()
    arm = KIND | {"suites": ["scenarios", "standard", "sandbagging"]}
    recipe = load_recipe(
        write(
            tmp_path / "r.yaml", {"name": "x", "arms": ["baseline", arm, KIND | {"name": "h", "grader": "helpfulness"}]}
        )
    )
    assert recipe.arm("kind").suites == ("scenarios", "standard", "sandbagging")
    assert (recipe.arm("kind").grader, recipe.arm("h").grader) == ("own", "helpfulness")


def test_a_value_may_be_overridden_by_its_dotted_key(tmp_path):
    path = write(tmp_path / "r.yaml", {"name": "x", "training": {"steps": 3, "group_size": 4}})
    changes = {"training.steps": 30, "model.dtype": "bfloat16", "training.adapter.rank": 2, "seeds": [7]}
    recipe = load_recipe(path, changes)
    assert (recipe.training.steps, recipe.training.group_size, recipe.training.adapter.rank) == (30, 4, 2)
    assert (recipe.model.dtype, recipe.seeds) == ("bfloat16", (7,))


@pytest.mark.parametrize(
    ("key", "message"),
    [("training.step", "training.step: unknown field"), ("name.x", "name is no mapping"), ("shar", "shar: unknown")],
)
def test_an_override_of_a_key_that_is_not_there_is_an_error(tmp_path, key, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path / "r.yaml", {"name": "x"}), {key: 3})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.steps", 10**9),
        ("training.prompts_per_step", 10**9),
        ("training.group_size", 10**9),
        ("training.max_new_tokens", 10**9),
        ("training.learning_rate", 1e9),
        ("data.standard_prompts", 10**9),
        ("evaluation.trait_items", 10**9),
        ("evaluation.max_new_tokens", 10**9),
        ("training.steps", 0),
        ("training.group_size", 1),
        ("share", -0.1),
        ("eval_seed", -1),
    ],
)
def test_numbers_have_bounds_so_that_a_slip_of_the_keyboard_is_no_years_work(tmp_path, key, value):
    with pytest.raises(RecipeError, match=f"{key}: "):
        load_recipe(write(tmp_path / "r.yaml", {"name": "x"}), {key: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shar": 0.1}, "shar: unknown field"),
        ({"training": {"step": 3}}, "training.step: unknown field"),
        ({"arms": ["trait"]}, "'baseline' is missing"),
        ({"evaluation": {"evals": ["nope"]}}, "unknown eval nope"),
        ({"evaluation": {"public": ["nope"]}}, "evaluation.public: unknown benchmark nope"),
        ({"share": 1.5}, "share"),
    ],
)
def test_a_bad_recipe_names_file_and_key(tmp_path, change, message):
    file = write(tmp_path / "recipe.yaml", {"name": "x"} | change)
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_no_default_alters_how_a_model_is_asked():
    assert Recipe(name="x").training.style is None
    assert EvaluationConfig().public == ()


def test_the_recipes_that_ship_are_valid():
    assert demo_recipe().arm_names == ("baseline", "health-only", "shuffled")
    for file in sorted((ROOT / "recipes").glob("*.yaml")):
        recipe = load_recipe(file)
        assert {"baseline", "health-only", "shuffled"} <= set(recipe.arm_names) <= set(shipped_arms()), file.name
        assert len(recipe.seeds) >= 3, file.name
        assert recipe.primary is not None, file.name


def test_a_rotation_stands_for_the_families_that_it_does_not_hold_out(tmp_path):
    data = {"train_on": ["twins"], "twins": {"families": "rotation-2"}}
    content = {"name": "x", "data": data, "training": {"advantage": "centered"}}
    families = load_recipe(write(tmp_path / "r.yaml", content)).data.twins.families
    assert families == trained_families("rotation-2")
    assert "updated-record" not in families
    content["data"]["twins"]["families"] = "rotation-9"
    with pytest.raises(
        RecipeError, match=r"data\.twins\.families: 'rotation-9' is no rotation; there are: rotation-1, "
    ):
        load_recipe(write(tmp_path / "r.yaml", content))
