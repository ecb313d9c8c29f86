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
