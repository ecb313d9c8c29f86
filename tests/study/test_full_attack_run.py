"""Attacks that train all weights: what they keep, that they begin from the merged arm, and that they fit the disk."""

import shutil
from collections import namedtuple

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from steadfast.errors import RecipeError, SteadfastError
from steadfast.models.all_weights import WEIGHTS_FILE
from steadfast.models.pretrained import load_model
from steadfast.report import summarize, write_report
from steadfast.study import attacking, run_recipe, workers
from steadfast.study.attacks import settings_of, with_attacks
from steadfast.study.data import StudyData
from steadfast.study.recipe import load_recipe
from steadfast.training.loop import kept_after
from steadfast.training.supervised import batches_of, imitate
from tests.study.examples import save_model, save_odd_examples
from tests.study.test_attacks_run import attacked


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    harm = save_odd_examples(tmp_path_factory.mktemp("data"))
    return attacked(save_model(tmp_path_factory.mktemp("model")), harm, method="full", doses=[0, 1, 2])


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield run_recipe(recipe, tmp_path_factory.mktemp("run"))
    torch.set_num_threads(before)


def attack_of(directory, arm="health-only", seed=1, name="odd"):
    return directory / "attacks" / name / arm / f"seed-{seed}" / "attack-seed-0"


def test_every_dose_keeps_all_weights_once_and_is_measured(finished):
    rows = pl.read_parquet(finished / "results.parquet").filter(pl.col("attack").is_not_null())
    assert set(rows["attack"]) == {"odd", "odd-careful"}
    assert set(rows["dose"]) == {1, 2}
    folder = attack_of(finished)
    assert sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*.safetensors")) == [
        f"kept/step-1/{WEIGHTS_FILE}",
        f"kept/step-2/{WEIGHTS_FILE}",
    ]


def test_the_first_update_is_one_on_all_weights_of_the_merged_arm_at_the_methods_rate(finished):
    data = StudyData.load(load_recipe(finished / "recipe.yaml"))
    attack = data.attacks[0]
    settings = settings_of(data.recipe, attack)
    assert settings.learning_rate == data.recipe.attacks.learning_rate == 0.01
    loaded, drawn = load_model(data.recipe.model.name), attacking.drawn_by(0)
    with loaded.with_adapter(finished / "arms" / "health-only" / "seed-1" / "adapter"):
        policy = loaded.full_policy()
        optimizer = torch.optim.AdamW(policy.trainable(), lr=0.01, weight_decay=0.0, betas=(0.9, 0.95))
        imitate(policy, optimizer, batches_of(attack.trained, steps=2, per_step=2, seed=drawn)[0], settings)
        by_hand = {n: w.clone() for n, w in policy.weights().items()}
        policy.release()
    saved = load_file(kept_after(attack_of(finished), 1) / WEIGHTS_FILE)
    assert saved.keys() == by_hand.keys()
    assert all(torch.equal(saved[n], by_hand[n]) for n in saved)


def test_without_a_rate_of_its_own_the_method_decides_it(recipe):
    def rate(method):
        chosen = recipe.attacks.model_copy(update={"method": method, "learning_rate": None})
        data = StudyData.load(recipe.model_copy(update={"attacks": chosen}))
        return settings_of(data.recipe, data.attacks[0]).learning_rate

    assert (rate("adapter"), rate("full")) == (5e-4, 2e-5)


def test_the_report_says_that_all_weights_were_trained(finished):
    assert "The attack trained all weights." in write_report(finished).read_text()
    assert summarize(finished)


def test_a_disk_too_small_for_the_weights_is_refused_before_work(recipe, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(attacking.shutil, "disk_usage", lambda _: usage(10, 9, 1_500_000))
    monkeypatch.setattr("steadfast.study.running._FREE_BYTES", 0)
    with pytest.raises(SteadfastError, match=r"keeps the weights of 20 checkpoints and needs .* are free"):
        run_recipe(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "arms").exists()


def test_a_worker_that_trains_all_weights_is_given_twice_the_memory(finished, recipe, monkeypatch):
    found = []

    def team_for(*args, weights, **settings):
        found.append(weights)
        return workers.team_for(*args, weights=weights, **settings)

    monkeypatch.setattr("steadfast.study.running.team_for", team_for)
    run_recipe(recipe, finished)
    assert set(found) == {2 * load_model(recipe.model.name).size}


def test_the_attacks_of_a_run_have_one_method(finished):
    assert with_attacks(finished, [], [4], method="full").attacks.method == "full"
    assert with_attacks(finished, [], [4]).attacks.method == "full"
    with pytest.raises(RecipeError, match=r"--method adapter: .* was attacked with attacks.method full"):
        with_attacks(finished, [], method="adapter")


def test_a_finished_run_needs_no_more_room(finished, recipe, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(attacking.shutil, "disk_usage", lambda _: usage(10, 9, 1))
    monkeypatch.setattr("steadfast.study.running._FREE_BYTES", 0)
    run_recipe(recipe, finished)


def test_where_the_gate_is_closed_there_need_be_room_for_the_model_before_training_alone(
    finished, recipe, tmp_path, monkeypatch
):
    copy = shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("attacks"))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(attacking, "gate", lambda _: attacking.Gate(False, "No gain."))
    monkeypatch.setattr(attacking.shutil, "disk_usage", lambda _: usage(10, 9, 1))
    monkeypatch.setattr("steadfast.study.running._FREE_BYTES", 0)
    with pytest.raises(SteadfastError, match="keeps the weights of 4 checkpoints"):
        run_recipe(recipe, copy)
