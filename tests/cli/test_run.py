"""Faults that `run` and its kin find before anything is loaded."""

import pytest


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
    "name: x\ntraining:\n  stepz: 3\nseeds: 1\n": ["training.stepz: unknown field", "seeds: unknown field"],
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
