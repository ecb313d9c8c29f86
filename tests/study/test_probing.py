"""A finished run is looked into: every part, once, with errors before work begins."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from steadfast.cli import app
from steadfast.errors import SteadfastError
from steadfast.models.all_weights import WEIGHTS_FILE
from steadfast.models.pretrained import load_model
from steadfast.report.page import write_report
from steadfast.report.probing import load_probing, separation_rows, steering_rows
from steadfast.study import run_recipe
from steadfast.study.probe_checkpoints import checkpoints_of
from steadfast.study.probing import probe_run
from steadfast.study.recipe import load_recipe
from tests.study.examples import content, recipe, save_model
from tests.study.test_twins_run import EVALUATION

SETTINGS = {
    "gold_pairs": 8,
    "twin_pairs": 8,
    "fixed_pairs": 1,
    "own_answers": 4,
    "steering_pairs": 2,
    "doses": [0.5],
    "steering_random": 1,
    "random_directions": 20,
    "layers": [0, 1],
}
TRAINED = {"families": ["pushback"], "formats": ["chat"], "wordings": [0], "pairs": 4}
LADDER = {"families": ["pushback", "updated-record"], "domains": ["health"], "formats": ["chat"], "pairs": 6}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    model = save_model(tmp_path_factory.mktemp("model"))
    training = content(model)["training"] | {"advantage": "centered", "prompts_per_step": 2, "steps": 1}
    asked = recipe(
        model,
        seeds=[0, 1],
        arms=["baseline", "health-only"],
        data={"standard_prompts": 60, "train_on": ["twins"], "twins": TRAINED},
        training=training,
        evaluation=EVALUATION | {"twins": LADDER},
    )
    directory = run_recipe(asked, tmp_path_factory.mktemp("run"))
    # A random model earns nothing, so a step teaches it nothing: the adapters are given changes of their own.
    for number, file in enumerate(sorted(directory.glob("arms/*/*/adapter/adapter_model.safetensors"))):
        rng, tensors = np.random.default_rng(number), load_file(file)
        changed = {
            n: rng.normal(0, 0.3, t.shape).astype(np.float32) if "lora_B" in n else t for n, t in tensors.items()
        }
        save_file(changed, file, metadata={"format": "pt"})
    return directory


@pytest.fixture(scope="module")
def probed(finished, tmp_path_factory):
    """The run, looked into; what is written stays, so tests that change it copy it first."""
    directory = tmp_path_factory.mktemp("probed") / "run"
    shutil.copytree(finished, directory)
    probe_run(directory, SETTINGS)
    return directory


def copied(directory, tmp_path):
    return shutil.copytree(directory, tmp_path / "run")


def results(directory, name):
    return json.loads((directory / "probing" / f"{name}.json").read_text())


def times(directory):
    return {p.relative_to(directory): p.stat().st_mtime_ns for p in (directory / "probing").rglob("*.*")}


def test_every_checkpoint_is_read_and_every_part_is_written(probed):
    labels = ["pre-RL", *(f"{arm}/seed-{s}" for s in (0, 1) for arm in ("baseline", "health-only"))]
    for label in labels:
        assert (probed / "probing" / "activations" / f"{label}.safetensors").is_file()
    assert sorted(results(probed, "projections")["moved"]) == sorted(labels[1:])
    assert sorted(results(probed, "weights")["changes"]) == sorted(labels[1:])
    directions = results(probed, "directions")
    assert directions["names"][:2] == ["all traits", "twins"]
    assert directions["chosen_layer"] == 0, "the last layer is never the one that is steered"
    found = load_file(probed / "probing" / "directions.safetensors")
    assert found["all traits"].shape == (2, 32)


def test_adapters_in_the_top_layer_move_nothing_below_it_and_something_in_it(probed):
    for of in results(probed, "projections")["moved"].values():
        below, top = of["sets"]["all traits"]["fixed"]
        assert below["length"] == 0
        assert below["cosine"] is None
        assert top["length"] > 0


def test_the_lengths_of_shifts_are_those_of_activations_read_by_hand(probed):
    from steadfast.models.activations import read_activations
    from steadfast.models.adapters import applied
    from steadfast.study.data import StudyData
    from steadfast.study.probe_texts import gold_pairs

    recipe_ = load_recipe(probed / "recipe.yaml")
    model, data = load_model(recipe_.model.name), StudyData.load(recipe_)
    pairs = gold_pairs(data, model.chat, 8, print)[:2]
    texts = [t for p in pairs for t in (p.good, p.bad)]
    before = read_activations(model.lm, texts, [1]).mean_NLD
    kept = load_file(probed / "probing" / "activations" / "pre-RL.safetensors")["pairs_mean"]
    assert np.abs(kept[:2, :, 1].reshape(4, -1) - before[:, 0]).max() < 1e-4
    with applied(model.lm, probed / "arms" / "baseline" / "seed-0" / "adapter"):
        after = read_activations(model.lm, texts, [1]).mean_NLD
    assert np.abs(after - before).max() > 0


def test_a_second_call_makes_nothing_again_and_takes_the_settings_of_the_first(probed, tmp_path):
    directory = copied(probed, tmp_path)
    before = times(directory)
    probe_run(directory)
    assert times(directory) == before


def test_what_a_kill_left_out_is_made_and_nothing_else(probed, tmp_path):
    directory = copied(probed, tmp_path)
    folder = directory / "probing"
    lost = [folder / "activations/baseline/seed-1.safetensors", folder / "projections.json", folder / "steering.json"]
    whole = {p: p.read_bytes() for p in lost}
    for path in lost:
        path.unlink()
    before = times(directory)
    probe_run(directory)
    assert {k: v for k, v in times(directory).items() if k in before} == before
    assert json.loads(lost[1].read_bytes()) == json.loads(whole[lost[1]])
    assert json.loads(lost[2].read_bytes()) == json.loads(whole[lost[2]])


def test_an_arm_that_was_trained_anew_is_read_anew(probed, tmp_path):
    directory = copied(probed, tmp_path)
    own, other = (
        directory / "arms" / "baseline" / f"seed-{s}" / "adapter" / "adapter_model.safetensors" for s in (0, 1)
    )
    shutil.copy(other, own)
    before = results(directory, "projections")["moved"]["baseline/seed-0"]
    probe_run(directory)
    assert results(directory, "projections")["moved"]["baseline/seed-0"] != before


def test_other_settings_in_the_same_folder_are_refused_by_name(probed):
    with pytest.raises(SteadfastError, match=r"settings\.fixed_pairs \(1 before, 2 now\)"):
        probe_run(probed, SETTINGS | {"fixed_pairs": 2})


def test_a_run_that_is_not_finished_or_lacks_an_adapter_is_refused_before_work(finished, tmp_path):
    with pytest.raises(SteadfastError, match=r"is no finished run, recipe\.yaml is missing"):
        probe_run(tmp_path)
    directory = copied(finished, tmp_path)
    shutil.rmtree(directory / "arms" / "health-only" / "seed-1" / "adapter")
    with pytest.raises(SteadfastError, match="the adapter of 'health-only' with seed 1 is missing"):
        probe_run(directory, SETTINGS)
    assert not (directory / "probing").exists()


def test_a_layer_that_the_model_lacks_is_refused(finished, tmp_path):
    with pytest.raises(SteadfastError, match="the model has no layer 2; it has 2"):
        probe_run(copied(finished, tmp_path), SETTINGS | {"layers": [2]})


def test_attacked_checkpoints_lie_on_their_arm_and_are_held_against_it(probed, tmp_path):
    directory = copied(probed, tmp_path)
    source = directory / "arms" / "health-only" / "seed-1" / "adapter"
    for place in ("baseline/seed-0/attack-seed-3/kept/step-4", "pre-RL/attack-seed-0/kept/step-16"):
        shutil.copytree(source, directory / "attacks" / "bad-medical-advice" / place)
    probe_run(directory)
    of = results(directory, "projections")
    assert of["reference"]["baseline/seed-0/bad-medical-advice/attack-seed-3/step-4"] == "baseline/seed-0"
    assert of["reference"]["pre-RL/bad-medical-advice/attack-seed-0/step-16"] == "pre-RL"
    attacked, trained = (
        of["moved"][k]["sets"]["twins"]["fixed"][1]
        for k in ("pre-RL/bad-medical-advice/attack-seed-0/step-16", "health-only/seed-1")
    )
    assert attacked == trained, "the same adapter on the same model"
    one = next(c for c in checkpoints_of(load_recipe(directory / "recipe.yaml"), directory) if c.attack and c.seed == 0)
    assert (one.dose, one.attack_seed, len(one.trained)) == (4, 3, 2)


def test_weights_that_an_attack_kept_and_that_were_deleted_for_their_room_are_no_checkpoint(tmp_path):
    asked = recipe(tmp_path, seeds=[0])
    for arm in asked.arm_names:
        (tmp_path / "arms" / arm / "seed-0" / "adapter").mkdir(parents=True)
        (tmp_path / "arms" / arm / "seed-0" / "adapter" / "adapter_config.json").touch()
    for dose in (1, 4):
        (tmp_path / "attacks" / "odd" / "pre-RL" / "attack-seed-0" / "kept" / f"step-{dose}").mkdir(parents=True)
    (tmp_path / "attacks/odd/pre-RL/attack-seed-0/kept/step-4" / WEIGHTS_FILE).touch()
    assert [one.dose for one in checkpoints_of(asked, tmp_path) if one.attack] == [4]


def test_steering_is_compared_with_the_same_checkpoint_as_it_is(probed):
    found = load_probing(probed)
    rows = steering_rows(found)
    for row in rows:
        if not row["direction"]:
            assert row["nats"]["estimate"] == 0
    done = {(r["checkpoint"], r["direction"], r["dose"]) for r in rows}
    assert ("pre-RL", "twins", 0.5) in done
    assert ("health-only/seed-0", "twins", None) in done
    assert ("baseline/seed-0", "random", None) in done
    moved = next(r for r in rows if r["direction"] == "random" and r["dose"] == 0.5)
    assert moved["nats"]["estimate"] != 0, "half a norm is felt"
    assert {c["measure"] for c in found.steering["carried"]} == {"pairs", "score", "preferred", "nats"}


def test_the_report_has_the_section_only_where_there_are_results(finished, probed, tmp_path):
    assert 'id="mechanism"' not in write_report(copied(finished, tmp_path)).read_text()
    page = write_report(probed).read_text()
    assert 'id="mechanism"' in page
    assert "Good against bad replies, AUC" in page
    assert "#0a0b" not in page
    assert [r["direction"] for r in separation_rows(load_probing(probed))][:2] == ["all traits", "twins"]


def test_the_command_prints_json_and_tells_faults_in_a_sentence(probed, finished):
    runner = CliRunner()
    done = runner.invoke(app, ["probe", str(probed), "--json"])
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert told["layer"] == 0
    assert set(told["separation"]) >= {"all traits", "twins"}
    for arguments, words in (
        (["--layers", "x"], "give numbers such as 6,12,18"),
        (["nonsense=1"], "nonsense"),
        (["fixed_pairs=0"], "fixed_pairs"),
    ):
        failed = runner.invoke(app, ["probe", str(finished), *arguments])
        assert failed.exit_code == 2
        assert words in failed.stderr
