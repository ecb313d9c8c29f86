"""Whatever a user's file holds, reading a recipe ends in a recipe or in an error that names the file."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steadfast.errors import RecipeError
from steadfast.study import Recipe, load_recipe

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
    "a seed too large for any generator": b"name: x\nseed: 99999999999999999999",
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
