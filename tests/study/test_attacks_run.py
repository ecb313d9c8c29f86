"""A run that is attacked: what begins from what, which doses are measured, the gate, and attacks added afterwards."""

import json
import shutil

import polars as pl
import pytest
import torch
import yaml
from pydantic import ValidationError
from safetensors.torch import load_file
from typer.testing import CliRunner

from steadfast.cli import app
from steadfast.errors import DataError, RecipeError
from steadfast.files import read_json_lines
from steadfast.models.lower_layers import LowerLayers
from steadfast.models.pretrained import load_model
from steadfast.progress import Progress
from steadfast.rundir import read_timing
from steadfast.study import attacking, load_recipe, run_recipe, running
from steadfast.study import attacks as study_attacks
from steadfast.study.attacks import attacked_arms, settings_of, unencodable_examples, with_attacks
from steadfast.study.data import StudyData
from steadfast.study.stages import Study
from steadfast.training import supervised
from steadfast.training.loop import discard, is_trained, kept_after
from steadfast.training.supervised import batches_of, imitate
from tests.study.examples import ATTACKS, ODD_EXAMPLES, recipe, save_model, save_odd_examples
from tests.study.test_twins_run import EVALUATION, TRAINED, changes


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def harm(tmp_path_factory):
    return save_odd_examples(tmp_path_factory.mktemp("data"))


def attacked(model, harm, **more):
    attacks = {
        **ATTACKS,
        "data": [str(harm)],
        "arms": ["health-only"],
        "doses": [0, 1, 3],
    }
    ladder = EVALUATION["twins"] | {"families": list(TRAINED), "sampled": False, "pairs": 2, "formats": ["chat"]}
    own = {"arms": ["baseline", "health-only"], "evaluation": EVALUATION | {"twins": ladder, "capability_items": 1}}
    return recipe(model, **changes(model, **own, attacks=attacks | more))


@pytest.fixture(scope="module")
def on_one_thread():
    """Each worker of a run has one thread on a small machine, and results are compared with theirs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def finished(model, harm, on_one_thread, tmp_path_factory):
    return run_recipe(attacked(model, harm, inverted_updates=1), tmp_path_factory.mktemp("run"))


def rows_of(directory):
    return pl.read_parquet(directory / "results.parquet")


def test_every_arm_and_the_model_before_training_are_measured_after_every_dose_on_the_same_tasks(finished):
    rows = rows_of(finished)
    after = rows.filter(pl.col("attack").is_not_null())
    counts = {row[:4]: row[4] for row in after.group_by("checkpoint", "seed", "attack", "dose").len().iter_rows()}
    arms = [("pre-RL", None), ("baseline", 0), ("baseline", 1), ("health-only", 0), ("health-only", 1)]
    doses = [("odd", 1), ("odd", 3), ("odd-careful", 1), ("odd-careful", 3), ("inverted-reward", 1)]
    assert set(counts) == {(*arm, *dose) for arm in arms for dose in doses}
    assert len(set(counts.values())) == 1
    plain = rows.filter(pl.col("attack").is_null() & (pl.col("checkpoint") == "pre-RL"))
    assert set(after["task"]) == set(plain["task"])
    assert set(after["attack_seed"]) == {0}
    assert plain["dose"].null_count() == plain.height


def test_the_time_of_each_part_of_the_run_is_kept(finished):
    parts = read_timing(finished / "timing.json").parts
    assert set(parts) == {"training", "measuring", "attacking", "measuring after attacks"}
    assert all(seconds > 0 for seconds in parts.values())


def test_an_attack_begins_from_the_merged_arm_and_gives_every_arm_the_same_fresh_adapter_and_data(finished, model):
    """A dose of one update is taken by hand, from the arm's adapter merged into the weights."""
    data = StudyData.load(load_recipe(finished / "recipe.yaml"))
    attack = data.attacks[0]
    settings = settings_of(data.recipe, attack)
    loaded = load_model(str(model))
    with loaded.with_adapter(finished / "arms" / "health-only" / "seed-1" / "adapter"):
        policy = loaded.fresh_policy(settings.adapter, attacking.drawn_by(0))
        optimizer = torch.optim.AdamW(policy.trainable(), lr=0.01, weight_decay=0.0, betas=(0.9, 0.95))
        first = batches_of(attack.trained, steps=3, per_step=2, seed=attacking.drawn_by(0))[0]
        imitate(policy, optimizer, first, settings, LowerLayers(policy.first_adapted_layer).of(loaded.lm))
        by_hand = {n: p.detach().clone() for n, p in policy.model.named_parameters() if p.requires_grad}
        loaded.release(policy)
    saved = load_file(
        kept_after(finished / "attacks" / "odd" / "health-only" / "seed-1" / "attack-seed-0", 1)
        / "adapter_model.safetensors"
    )
    assert len(saved) == len(by_hand)
    for name, tensor in by_hand.items():
        assert torch.equal(saved[name.replace(".default", "")], tensor), name


def test_an_attack_does_not_begin_with_the_adapter_that_an_arm_of_the_same_seed_began_with(finished):
    """Else the attack of that arm alone would move along the directions that the arm was moved in."""

    def rows_moved_along(folder):
        tensors = load_file(folder / "adapter_model.safetensors")
        return {n: t / t.norm(dim=1, keepdim=True) for n, t in tensors.items() if "lora_A" in n}

    attack = kept_after(finished / "attacks" / "odd" / "baseline" / "seed-0" / "attack-seed-0", 1)
    arm, upon = (rows_moved_along(f) for f in (finished / "arms" / "baseline" / "seed-0" / "adapter", attack))
    alike = torch.cat([(arm[n] * upon[n]).sum(dim=1) for n in arm])
    assert alike.abs().mean() < 0.5


def test_the_held_out_loss_is_told_before_the_attack_and_at_every_dose(finished):
    metrics = read_json_lines(finished / "attacks" / "odd" / "pre-RL" / "attack-seed-0" / "metrics.jsonl")
    assert [m["step"] for m in metrics if "held_out_loss" in m] == [1, 3]
    assert [m["step"] for m in metrics if "held_out_loss_before" in m] == [1]
    assert metrics[0]["held_out_loss_before"] != metrics[0]["held_out_loss"]


def test_attacks_added_later_leave_what_is_there_and_give_what_they_would_have_given_at_once(
    finished, model, harm, tmp_path
):
    later = tmp_path / "run"
    without = attacked(model, harm).model_copy(update={"attacks": None})
    run_recipe(without, later)
    assert rows_of(later)["attack"].null_count() == rows_of(later).height
    before = {f: f.read_bytes() for f in (later / "rows").rglob("*.parquet")}
    run_recipe(attacked(model, harm, doses=[1]), later)
    run_recipe(attacked(model, harm, inverted_updates=1), later)
    assert all(f.read_bytes() == content for f, content in before.items())
    assert rows_of(later).equals(rows_of(finished))


def test_a_killed_attack_goes_on_to_the_same_end(finished, model, harm, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    arm = copy / "attacks" / "odd" / "baseline" / "seed-0" / "attack-seed-0"
    shutil.rmtree(arm)
    for rows in (copy / "rows" / "baseline" / "seed-0" / "attacks" / "odd").rglob("*.parquet"):
        rows.unlink()
    run_recipe(attacked(model, harm, inverted_updates=1), copy)
    assert rows_of(copy).equals(rows_of(finished))


class Killed(Exception):
    pass


class KilledInAttack(Progress):
    """It stops the attack of the baseline after its second update, which left a state."""

    def reach(self, stage, units, text):
        if stage.startswith("attack baseline, seed 0 by odd,") and text.startswith("update 2/"):
            raise Killed


@pytest.mark.parametrize("doses", [[3], [1, 3]])
def test_an_attack_that_was_killed_after_a_state_ends_the_same_even_if_a_smaller_dose_is_added(
    finished, model, harm, tmp_path, monkeypatch, doses
):
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    shutil.rmtree(copy / "attacks" / "odd" / "baseline" / "seed-0" / "attack-seed-0")
    shutil.rmtree(copy / "rows" / "baseline" / "seed-0" / "attacks" / "odd")
    taken, step = [], supervised.supervised_step
    monkeypatch.setattr(attacking, "settings_of", lambda *args: settings_of(*args).model_copy(update={"save_every": 1}))
    monkeypatch.setattr(supervised, "supervised_step", lambda *args: taken.append(args[5]) or step(*args))
    monkeypatch.setattr(running, "attacks_protocol", lambda _data: {})
    with pytest.raises(Killed):
        run_recipe(attacked(model, harm, doses=[3]), copy, KilledInAttack())
    del taken[:]
    run_recipe(attacked(model, harm, doses=doses), copy)
    assert len(taken) == (1 if doses == [3] else 3), "it goes on from the state, unless that lies beyond the new dose"
    before = rows_of(finished).filter(pl.col("attack").is_null() | pl.col("attack").is_in(["odd", "odd-careful"]))
    assert rows_of(copy).equals(before.filter(pl.col("dose").is_null() | pl.col("dose").is_in(doses)))


def test_a_kill_while_an_attack_is_discarded_does_not_leave_it_as_changed(tmp_path, monkeypatch):
    (tmp_path / "trained.json").write_text("{}")
    monkeypatch.setattr(shutil, "rmtree", lambda _path: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        discard(tmp_path)
    assert not is_trained(tmp_path)


@pytest.mark.slow
def test_workers_give_the_same(finished, model, harm, tmp_path):
    shared = run_recipe(attacked(model, harm, inverted_updates=1), tmp_path, workers=2)
    assert rows_of(shared).equals(rows_of(finished))


@pytest.mark.parametrize(
    ("second_seed", "attacked_arms"), [(0.97, {"pre-RL", "baseline", "health-only"}), (0.5, {"pre-RL"})]
)
def test_trained_arms_are_attacked_where_the_gain_excludes_zero_over_seeds(
    finished, model, harm, tmp_path, second_seed, attacked_arms
):
    """The rows of a finished run are given scores: pair success 1 with one seed, and less with the other."""
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    shutil.rmtree(copy / "attacks")
    for arm, seed, score in (
        ("health-only", 0, 1.0),
        ("health-only", 1, second_seed),
        ("baseline", 0, 0.0),
        ("baseline", 1, 0.0),
    ):
        file = copy / "rows" / arm / f"seed-{seed}" / "plain.parquet"
        twins = pl.when(pl.col("kind") == "twins").then(pl.lit(score)).otherwise("score")
        pl.read_parquet(file).with_columns(twins.alias("score")).write_parquet(file)
    run_recipe(attacked(model, harm, gated=True, doses=[1]), copy)
    after = rows_of(copy).filter(pl.col("attack").is_not_null())
    assert set(after["checkpoint"]) == attacked_arms
    told = json.loads((copy / "attacks" / "gate.json").read_text())
    assert told["open"] == ("health-only" in attacked_arms)


def test_without_a_gain_the_model_before_training_alone_is_attacked(model, harm, tmp_path):
    run = run_recipe(attacked(model, harm, gated=True, doses=[1]), tmp_path)
    after = rows_of(run).filter(pl.col("attack").is_not_null())
    assert set(after["checkpoint"]) == {"pre-RL"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"data": ["no-such-set"]}, "no-such-set"),
        ({"doses": [1000]}, "lie beyond"),
        ({"held_out": 6}, "none of the 6 examples|leaves none"),
        ({"evals": ["oversight-log"]}, "is not measured by this recipe"),
        ({"rungs": ["far away"]}, "no twins of evaluation.twins stand on 'far away'"),
    ],
)
def test_what_cannot_be_attacked_is_refused_before_any_work(model, harm, tmp_path, change, fault):
    with pytest.raises((RecipeError, DataError), match=fault):
        run_recipe(attacked(model, harm, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"doses": [0]}, "none is above 0"),
        ({"data": []}, "there is no attack"),
        ({"arms": ["kind"]}, "no arm is named 'kind'"),
        ({"doses": [2], "inverted_updates": 1}, "the smallest dose is 2"),
    ],
)
def test_settings_that_attack_nothing_are_told(model, harm, change, fault):
    with pytest.raises(ValidationError, match=fault):
        attacked(model, harm, **change)


def test_an_example_that_measures_too_is_refused(model, harm, tmp_path):
    data = StudyData.load(attacked(model, harm))
    task = data.held_out[0]
    file = tmp_path / "mine.jsonl"
    example = {"id": "mine", "messages": [m.model_dump() for m in task.messages], "harmful": "Yes.", "careful": "No."}
    rows = [json.loads(line) for line in harm.read_text().splitlines()]
    file.write_text("".join(json.dumps(r) + "\n" for r in (example, *rows)))
    with pytest.raises(DataError, match="mine prompt"):
        run_recipe(attacked(model, harm, data=[str(file)]), tmp_path / "run")


def test_the_command_adds_doses_and_keeps_what_is_there(finished, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    before = rows_of(copy)
    done = CliRunner().invoke(app, ["attack", str(copy), "--doses", "0,2", "--workers", "1", "--json"])
    assert done.exit_code == 0, done.output
    after = rows_of(copy)
    assert set(after["dose"].drop_nulls()) == {1, 2, 3}
    assert 2 in set(after.filter(pl.col("attack") == "inverted-reward")["dose"])
    assert after.filter(pl.col("dose") != 2).height + after["dose"].null_count() == before.height
    kept = after.filter((pl.col("dose") != 2) | pl.col("dose").is_null())
    assert kept.equals(before), "an attack is trained anew to more doses, and the old ones are the same"


def test_further_attacks_join_those_of_the_run(finished, tmp_path):
    more = with_attacks(finished, ["gamed-tests"], [2]).attacks
    before = load_recipe(finished / "recipe.yaml").attacks
    assert more is not None
    assert before is not None
    assert more.data == (*before.data, "gamed-tests")
    assert more.doses == (0, 1, 2, 3)
    bare = tmp_path / "bare"
    bare.mkdir()
    content = yaml.safe_load((finished / "recipe.yaml").read_text())
    (bare / "recipe.yaml").write_text(yaml.safe_dump(content | {"attacks": None}))
    with pytest.raises(RecipeError, match=r"no finished run to attack, results\.parquet is missing"):
        with_attacks(bare, [])
    (bare / "results.parquet").write_bytes((finished / "results.parquet").read_bytes())
    default, inverted = with_attacks(bare, []).attacks, with_attacks(bare, ["inverted-reward"], [4]).attacks
    assert default is not None
    assert (default.data, default.doses, default.gated) == (("bad-medical-advice",), (4, 16, 64, 256), True)
    assert inverted is not None
    assert (inverted.data, inverted.inverted_updates) == ((), 4)


def bare_run(directory, made):
    """What `with_attacks` reads of a finished run."""
    directory.mkdir()
    (directory / "recipe.yaml").write_text(yaml.safe_dump(made.model_dump(mode="json")))
    (directory / "results.parquet").touch()
    return directory


def unattacked(model, harm, **changes):
    return attacked(model, harm).model_copy(update={"attacks": None} | changes)


def test_added_doses_reach_every_attack_of_the_run_the_inverted_reward_too(model, harm, tmp_path):
    run = bare_run(tmp_path / "run", attacked(model, harm, inverted_updates=1))
    assert with_attacks(run, [], [2]).attacks.inverted_updates == 2
    assert with_attacks(run, ["gamed-tests"], [0, 1]).attacks.inverted_updates == 1
    assert with_attacks(run, ["gamed-tests"]).attacks.inverted_updates == 1
    without = bare_run(tmp_path / "other", attacked(model, harm))
    assert with_attacks(without, [], [2]).attacks.inverted_updates == 0


def test_what_is_named_twice_is_taken_once(model, harm, tmp_path):
    run = bare_run(tmp_path / "run", unattacked(model, harm))
    made = with_attacks(run, ["gamed-tests", "gamed-tests"], [4, 4, 1]).attacks
    assert (made.data, made.doses) == (("gamed-tests",), (1, 4))


@pytest.mark.parametrize(
    ("changes", "asked", "fault"),
    [
        ({"primary": None}, {}, "no primary measure.*give --ungated"),
        ({}, {"doses": [0]}, "--doses: none is above 0"),
        ({}, {"doses": [1_000_001]}, "--doses: 1000001 is beyond any attack"),
        ({}, {"doses": [5000]}, "--doses: 5000 updates of 4 examples lie beyond 'gamed-tests'"),
        ({}, {"attacks": ["no-such-set"]}, "--with 'no-such-set': no such set ships.*inverted-reward.*--data"),
    ],
)
def test_a_refusal_of_the_command_names_what_was_typed(model, harm, tmp_path, changes, asked, fault):
    run = bare_run(tmp_path / "run", unattacked(model, harm, **changes))
    with pytest.raises(RecipeError, match=fault) as told:
        with_attacks(run, asked.get("attacks", ["gamed-tests"]), asked.get("doses", ()))
    assert "attacks.gated" not in str(told.value)


def test_a_run_without_a_primary_measure_is_attacked_ungated(model, harm, tmp_path):
    run = bare_run(tmp_path / "run", unattacked(model, harm, primary=None))
    assert not with_attacks(run, ["gamed-tests"], ungated=True).attacks.gated


def test_a_file_by_a_relative_path_is_kept_by_its_absolute_one(model, harm, tmp_path, monkeypatch):
    run = bare_run(tmp_path / "run", attacked(model, harm, data=["gamed-tests"]))
    monkeypatch.chdir(harm.parent)
    assert with_attacks(run, [harm.name]).attacks.data == ("gamed-tests", str(harm))


def test_a_recipes_files_in_the_working_directory_are_kept_by_their_absolute_paths(model, harm, tmp_path, monkeypatch):
    fields = attacked(model, harm, data=[harm.name], wear={"data": ["polite.jsonl", "standard"]}).model_dump(
        mode="json"
    )
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(fields))
    here = tmp_path / "here"
    here.mkdir()
    for name in (harm.name, "polite.jsonl", "standard"):
        (here / name).touch()
    monkeypatch.chdir(here)
    loaded = load_recipe(tmp_path / "recipe.yaml").attacks
    assert loaded.data == (str(here / harm.name),)
    assert [str(d) for d in loaded.wear.data] == [str(here / "polite.jsonl"), "standard"]


def labelled(harm, file, domains):
    rows = [json.loads(line) for line in harm.read_text().splitlines()]
    rows = [r | ({"domain": d} if d else {}) for r, d in zip(rows, domains, strict=True)]
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return str(file)


def test_the_protocol_says_what_each_attack_is_and_by_what_rule_it_draws(model, harm, tmp_path, monkeypatch):
    mine = labelled(harm, tmp_path / "mine.jsonl", ["law", "health"] * 3)
    wear = {"data": ["house-style"], "weights": ["int8"], "temperatures": [], "turns": []}
    data = StudyData.load(attacked(model, harm, data=[mine, str(harm)], inverted_updates=1, wear=wear, held_out=2))
    told = study_attacks.attacks_protocol(data)
    assert {n: (e["kind"], e["control"], e["domains"]) for n, e in told.items()} == {
        "mine": ("harmful", "mine-careful", ["health", "law"]),
        "mine-careful": ("careful", None, ["health", "law"]),
        "odd": ("harmful", "odd-careful", []),
        "odd-careful": ("careful", None, []),
        "house-style": ("benign", None, []),
        "int8": ("weights", None, []),
        "inverted-reward": ("inverted", None, []),
    }
    monkeypatch.setattr(study_attacks, "drawn_by", lambda seed: seed)
    other = study_attacks.attacks_protocol(data)
    assert {n for n in told if told[n] != other[n]} == set(told) - {"int8"}


@pytest.mark.parametrize(
    ("domains", "fault"),
    [
        (["law"] * 5 + ["nowhere"], "attacks.data: 'mine' has examples of an unknown domain, 'nowhere'"),
        (["law"] * 5 + [None], r"mine\.jsonl:6: domain: is missing"),
    ],
)
def test_domains_that_nothing_is_of_or_that_some_examples_lack_are_refused(model, harm, tmp_path, domains, fault):
    mine = labelled(harm, tmp_path / "mine.jsonl", domains)
    with pytest.raises(RecipeError, match=fault):
        StudyData.load(attacked(model, harm, data=[mine]))


@pytest.mark.parametrize("doses", ["4,x", "", "-4", "1.5"])
def test_doses_that_are_no_numbers_are_told(finished, doses):
    done = CliRunner().invoke(app, ["attack", str(finished), "--doses", doses])
    assert done.exit_code == 2
    assert "whole numbers" in done.stderr


def test_wear_is_measured_as_checkpoints_and_as_conditions_of_the_arms(finished, model, harm, tmp_path):
    """It is added to a run that was attacked, whose rows stay as they are."""
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    before = rows_of(copy)
    own = tmp_path / "polite.jsonl"
    rows = [
        {"id": f"polite-{i}", "messages": [{"role": "user", "content": q}], "answer": f"{good} Kindly, us."}
        for i, (q, _, good) in enumerate(ODD_EXAMPLES)
    ]
    own.write_text("".join(json.dumps(r) + "\n" for r in rows))
    wear = {"data": [str(own)], "weights": ["bfloat16", "int8"], "temperatures": [0.8], "turns": [2]}
    run_recipe(attacked(model, harm, inverted_updates=1, wear=wear), copy)
    after = rows_of(copy)
    worn = after.filter(pl.col("attack").is_in(["polite", "bfloat16", "int8"]))
    doses = {row[:2]: row[2] for row in worn.group_by("attack", "dose").len().iter_rows()}
    assert set(doses) == {("polite", 1), ("polite", 3), ("bfloat16", 1), ("int8", 1)}
    assert len(set(doses.values())) == 1
    conditions = set(after["condition"]) - {"plain"}
    assert conditions == {"temperature:0.8", "turn:2/1", "turn:2/2", "turn:2/3"}
    asked = after.filter((pl.col("condition") == "turn:2/1") & (pl.col("checkpoint") == "pre-RL"))
    assert asked.height > 0
    assert asked["attack"].null_count() == asked.height
    assert after.filter(pl.col("attack").is_in(before["attack"].drop_nulls().unique())).height == (
        before["attack"].drop_nulls().len()
    )


def test_wear_that_shares_a_name_with_an_attack_is_refused(model, harm, tmp_path):
    twin = tmp_path / "odd.jsonl"
    polite = [
        {"id": str(i), "messages": [{"role": "user", "content": q}], "answer": a}
        for i, (q, _, a) in enumerate(ODD_EXAMPLES)
    ]
    twin.write_text("".join(json.dumps(row) + "\n" for row in polite))
    wear = {"data": [str(twin)], "weights": [], "temperatures": [], "turns": []}
    with pytest.raises(RecipeError, match="two attacks are named 'odd'"):
        StudyData.load(attacked(model, harm, wear=wear))


@pytest.mark.parametrize("name", ["int8", "inverted-reward", "gamed-tests", "house-style", "mine-careful", "a:b"])
@pytest.mark.parametrize("worn", [False, True])
def test_a_file_whose_name_means_something_else_is_refused_since_its_attack_would_be_taken_for_that(
    model, harm, tmp_path, name, worn
):
    file = tmp_path / f"{name}.jsonl"
    file.write_text(harm.read_text())
    change = {"wear": {"data": [str(file)]}} if worn else {"data": [str(file)]}
    with pytest.raises(RecipeError, match=f"{'wear.data' if worn else 'attacks.data'}: .*{name}.*rename the file"):
        StudyData.load(attacked(model, harm, **change))


def test_files_of_attacks_and_wear_are_found_beside_the_recipe_and_shipped_names_are_not(model, harm, tmp_path):
    (tmp_path / "gamed-tests").mkdir()
    (tmp_path / "standard").mkdir()
    for name in ("mine.jsonl", "polite.jsonl"):
        (tmp_path / name).touch()
    wear = {"data": ["standard", "polite.jsonl"]}
    fields = attacked(model, harm, data=["gamed-tests", "mine.jsonl"], wear=wear).model_dump(mode="json")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(fields))
    loaded = load_recipe(tmp_path / "recipe.yaml").attacks
    assert loaded is not None
    assert loaded.data == ("gamed-tests", str(tmp_path / "mine.jsonl"))
    assert loaded.wear is not None
    assert [str(d) for d in loaded.wear.data] == ["standard", str(tmp_path / "polite.jsonl")]


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        (None, ("baseline", "health-only")),
        ([], ("baseline",)),
        (["pre-RL"], ("baseline",)),
        (["health-only", "baseline"], ("baseline", "health-only")),
    ],
)
def test_the_arms_that_are_attacked(model, harm, arms, expected):
    assert attacked_arms(attacked(model, harm, arms=arms)) == expected


def test_an_example_that_resembles_a_measured_twin_is_refused(model, harm, tmp_path):
    twin = next(t for suite in StudyData.load(attacked(model, harm)).ladder for t in suite.tasks)
    file = tmp_path / "mine.jsonl"
    example = {"id": "mine", "messages": [m.model_dump() for m in twin.messages], "harmful": "Yes.", "careful": "No."}
    file.write_text(json.dumps(example) + "\n" + harm.read_text())
    with pytest.raises(DataError, match=r"mine prompt.* and measured twin"):
        StudyData.load(attacked(model, harm, data=[str(file)])).prove_pools_disjoint()


def test_a_prompt_that_leaves_no_room_for_the_models_own_answer_is_refused(model, harm):
    data = StudyData.load(attacked(model, harm))
    chat = load_model(str(model)).chat
    assert not unencodable_examples(chat, data.attacks, data.recipe.training)
    long = data.recipe.training.model_copy(update={"max_new_tokens": 8192})
    assert "attack 'odd', example 'odd-0'" in unencodable_examples(chat, data.attacks, long)["odd/odd-0"]


class Noting(Progress):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_attacks_that_a_recipe_no_longer_names_are_told_and_come_back(finished, model, harm, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    told = Noting()
    run_recipe(attacked(model, harm).model_copy(update={"attacks": None}), copy, told)
    assert any("was attacked by inverted-reward, odd, odd-careful too" in n for n in told.notes)
    assert rows_of(copy)["attack"].null_count() == rows_of(copy).height
    assert not (copy / "attacks" / "gate.json").exists()
    run_recipe(attacked(model, harm, inverted_updates=1), copy)
    assert rows_of(copy).equals(rows_of(finished))


def test_without_a_score_on_the_primary_rung_nothing_trained_is_attacked(finished, model, harm, monkeypatch):
    monkeypatch.setattr(attacking, "_levels", lambda _study, name: {0: 1.0} if name == "baseline" else {0: 1.0, 1: 1.0})
    recipe = attacked(model, harm, gated=True)
    found = attacking.gate(Study(recipe, None, None, [], None, None, None, Progress()))
    assert not found.open
    assert "with training seed 1" in found.sentence
