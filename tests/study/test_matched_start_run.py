"""Earlier checkpoints of the leading arm: how they are kept, which one is chosen, and that it alone is attacked."""

import json
import shutil
from types import SimpleNamespace

import polars as pl
import pytest
import torch
from pydantic import ValidationError
from typer.testing import CliRunner

from steadfast.cli import app
from steadfast.errors import RecipeError, SteadfastError
from steadfast.evals.rows import EARLIER, UNATTACKED
from steadfast.graders import make_judge
from steadfast.models.identity import hash_file
from steadfast.progress import Progress
from steadfast.report import summarize
from steadfast.rundir import RunDirectory
from steadfast.study import run_recipe, running
from steadfast.study.attacking import attack_stages, attacked_checkpoints, attacked_tables, earlier_stages
from steadfast.study.checkpoints import Checkpoint
from steadfast.study.data import StudyData
from steadfast.study.earlier import keeping_stages, matched_checkpoints, refuse_repetition, start_of
from steadfast.study.stages import stages_of
from steadfast.training import loop, supervised
from steadfast.training.loop import kept_after
from tests.study.examples import ATTACKS, recipe, save_model, save_odd_examples
from tests.study.test_twins_run import EVALUATION, changes

SEEDS = (0, 1)
TAUGHT = {"name": "taught", "suites": ["twins"], "domains": ["health"], "method": "supervised"}
"""An arm that each of its steps moves; no reward moves the tiny model, which answers nothing right."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def harm(tmp_path_factory):
    return save_odd_examples(tmp_path_factory.mktemp("data"))


def matched(model, harm, **more):
    attacks = {
        **ATTACKS,
        "data": [str(harm)],
        "arms": ["taught"],
        "doses": [0, 1],
        "rungs": ["new domain"],
    }
    ladder = EVALUATION["twins"] | {"sampled": False, "pairs": 2, "formats": ["chat"]}
    own = {"arms": ["baseline", TAUGHT], "evaluation": EVALUATION | {"twins": ladder}}
    own |= {"primary": {"rung": "new domain", "arm": "taught"}}
    training = {"training": changes(model)["training"] | {"steps": 3, "save_every": 1, "prompts_per_step": 2}}
    return recipe(model, **changes(model, **own, **training, attacks=attacks | more))


@pytest.fixture(scope="module")
def bare(model, harm, tmp_path_factory):
    """A run that was attacked without earlier checkpoints."""
    return run_recipe(matched(model, harm), tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def finished(bare, tmp_path_factory):
    """The same run, to which the command has added them."""
    directory = shutil.copytree(bare, tmp_path_factory.mktemp("finished") / "run")
    done = CliRunner().invoke(app, ["attack", str(directory), "--earlier", "2,1", "--workers", "1", "--json"])
    assert done.exit_code == 0, done.output
    return directory


@pytest.fixture
def copy(bare, tmp_path):
    return shutil.copytree(bare, tmp_path / "run")


def opened(directory, recipe, progress=None):
    """The study of a run that was prepared, as each of its workers opens it."""
    judges = (make_judge(j) for j in (recipe.judge, recipe.evaluation.judge))
    return running._study(StudyData.load(recipe), RunDirectory(directory), *judges, progress or Progress())


def rows_of(directory):
    return pl.read_parquet(directory / "results.parquet")


def arm_of(directory, seed=0):
    return directory / "arms" / "taught" / f"seed-{seed}"


def adapters(arm):
    """What the arm was after each of its steps."""
    folders = (kept_after(arm, 1), kept_after(arm, 2), arm / "adapter")
    return [hash_file(f / "adapter_model.safetensors") for f in folders]


def test_one_earlier_checkpoint_is_attacked_as_the_arm_is_and_the_others_are_measured_alone(finished):
    """Where levels are equal, as those of a model that answers nothing right, the first one is the nearest."""
    rows = rows_of(finished)
    cells = {
        name: set(rows.filter(pl.col("checkpoint") == name).select("seed", "attack", "dose", "attack_seed").rows())
        for name in ("taught", "taught@1", "taught@2")
    }
    assert cells["taught@1"] == cells["taught"]
    assert {attack for _, attack, _, _ in cells["taught"]} == {None, "odd", "odd-careful"}
    assert cells["taught@2"] == {(seed, None, None, None) for seed in SEEDS}
    attacked = {n: set(rows.filter(pl.col("checkpoint") == n, ~UNATTACKED)["task"]) for n in cells}
    assert attacked["taught@1"] == attacked["taught"]
    early = rows.filter(pl.col("checkpoint") == "taught@2")
    assert set(early["task"]) == attacked["taught"], "what attacked checkpoints are measured on, and no more"


def test_adding_them_to_a_finished_run_leaves_what_it_trained_and_measured_and_what_decides_it(finished, bare):
    for seed in SEEDS:
        (last,) = {hash_file(arm_of(d, seed) / "adapter" / "adapter_model.safetensors") for d in (finished, bare)}
        assert len({*adapters(arm_of(finished, seed)), last}) == 3, "each is another adapter"
        assert not (arm_of(finished, seed) / "again").exists()
    assert not list((finished / "arms" / "baseline").rglob("kept"))
    assert (finished / "protocol.json").read_text() == (bare / "protocol.json").read_text()
    assert rows_of(finished).filter(~EARLIER).equals(rows_of(bare))


def test_an_arm_that_keeps_them_while_it_trains_is_the_same_arm(finished, model, harm, tmp_path):
    study = opened(tmp_path, matched(model, harm, earlier=[1, 2]))
    stage = next(s for s in stages_of(study) if s.name == "train taught, seed 1")
    stage.run()
    assert adapters(arm_of(tmp_path, 1)) == adapters(arm_of(finished, 1))
    assert keeping_stages(study)[1].done()
    files = [json.loads((arm_of(d, 1) / "trained.json").read_text()) for d in (tmp_path, finished)]
    kept = [{n for n in f if n.startswith("kept/")} for f in files]
    assert kept[0] == kept[1] != set()


class Killed(Exception):
    pass


class KilledAt(Progress):
    """It stops the repeated training at a step."""

    def __init__(self, step):
        self.step = step

    def reach(self, stage, units, text):
        if text.startswith(f"step {self.step}/"):
            raise Killed


def test_a_repetition_that_was_killed_goes_on_and_begins_anew_for_a_step_that_it_has_passed(
    finished, model, harm, copy, monkeypatch
):
    taken, step = [], supervised.supervised_step
    monkeypatch.setattr(supervised, "supervised_step", lambda *args: taken.append(args[5]) or step(*args))
    for kill in (2, 3):
        stage = keeping_stages(opened(copy, matched(model, harm, earlier=[2]), KilledAt(kill)))[0]
        with pytest.raises(Killed):
            stage.run()
        assert not stage.done()
    assert len(taken) == 3, "it goes on from its state"
    assert not kept_after(arm_of(copy), 2).exists()
    stage = keeping_stages(opened(copy, matched(model, harm, earlier=[1, 2])))[0]
    stage.run()
    assert len(taken) == 6
    assert stage.done()
    assert adapters(arm_of(copy)) == adapters(arm_of(finished))


def test_a_kill_while_adapters_are_taken_over_leaves_them_to_be_taken_again(finished, copy, monkeypatch):
    monkeypatch.setattr(loop, "write_json", lambda _file, _value: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        loop.take_adapters(arm_of(finished), arm_of(copy), [1, 2])
    monkeypatch.undo()
    assert kept_after(arm_of(copy), 1).is_dir()
    loop.take_adapters(arm_of(finished), arm_of(copy), [1, 2])
    assert loop.is_trained(arm_of(copy))
    (kept_after(arm_of(copy), 1) / "adapter_model.safetensors").write_bytes(b"another")
    with pytest.raises(SteadfastError, match="is not what training wrote there"):
        loop.is_trained(arm_of(copy))


def test_a_repetition_that_ends_elsewhere_is_refused_and_leaves_the_arm_as_it_was(model, harm, copy):
    """The arm's adapter is exchanged for the other seed's, as if the libraries had changed since."""
    arm, other = arm_of(copy), arm_of(copy, 1)
    shutil.copytree(other / "adapter", arm / "adapter", dirs_exist_ok=True)
    record = json.loads((arm / "trained.json").read_text())
    record |= {n: d for n, d in json.loads((other / "trained.json").read_text()).items() if n.startswith("adapter/")}
    (arm / "trained.json").write_text(json.dumps(record))
    stage = keeping_stages(opened(copy, matched(model, harm, earlier=[1, 2])))[0]
    with pytest.raises(SteadfastError, match=r"taught, seed 0 was after steps 1, 2 cannot be had; leave attacks\.earl"):
        stage.run()
    assert loop.is_trained(arm)
    assert not (arm / "again").exists()
    assert not (arm / "kept").exists()


def scored(directory, levels):
    """Give the twins of checkpoints scores, as if they had been answered so before the attack."""
    for name, level in levels.items():
        for file in (directory / "rows" / name).glob("seed-*/plain.parquet"):
            twins = pl.when(pl.col("kind") == "twins").then(pl.lit(level)).otherwise("score")
            pl.read_parquet(file).with_columns(twins.alias("score")).write_parquet(file)


def test_the_nearest_to_the_baseline_is_attacked_and_none_where_that_is_the_arm_itself(finished, model, harm, tmp_path):
    """A pair counts as the product of both sides: 4, 36 and 100 points beside the baseline's."""
    directory = shutil.copytree(finished, tmp_path / "run")
    scored(directory, {"taught@1": 0.2, "taught@2": 0.6, "taught": 1.0})
    study = opened(directory, matched(model, harm, earlier=[1, 2]))
    for level, chosen in ((0.1, "taught@1"), (0.5, "taught@2"), (0.7, "taught@2"), (0.9, None)):
        scored(directory, {"baseline": level})
        attacked = {c.name for c in attacked_checkpoints(study, True)}
        assert attacked == {"pre-RL", "baseline", "taught", chosen} - {None}
        assert start_of(study).checkpoint == (chosen or "taught")
    scored(directory, {"taught@1": None})
    assert start_of(study) is None
    assert matched_checkpoints(study) == []


def test_where_no_trained_arm_is_attacked_no_earlier_checkpoint_is_measured(finished, model, harm):
    study = opened(finished, matched(model, harm, earlier=[1, 2], gated=True))
    assert earlier_stages(study) == []
    assert {file.parts[len((finished / "rows").parts)] for file in attacked_tables(study)} == {"pre-RL"}
    assert earlier_stages(opened(finished, matched(model, harm))) == []


def test_wear_is_not_done_to_an_earlier_checkpoint(finished, model, harm):
    wear = {"data": ["house-style"], "weights": ["bfloat16"], "temperatures": [0.8], "turns": []}
    study = opened(finished, matched(model, harm, earlier=[1, 2], wear=wear))
    attacks = {c.attack for c in attacked_checkpoints(study, True) if c.name == "taught@1"}
    assert attacks == {"odd", "odd-careful"}
    worn = {"house-style", "bfloat16"}
    assert {c.name for c in attacked_checkpoints(study, True) if c.attack in worn} == {"pre-RL", "baseline", "taught"}
    assert not any("taught@" in s.name and "temperature" in s.name for s in attack_stages(study))


def test_the_report_compares_the_chosen_one_and_shows_it_nowhere_else(finished):
    found = summarize(finished)
    starts = found["persistence"]["attacks"][0]["starts"]
    assert starts["start"]["checkpoint"] == "taught@1"
    assert starts["start"]["levels"].keys() == {"taught@1", "taught@2", "taught"}
    assert starts["unmatched"] == ""
    assert starts["matched"]["start"]["checkpoint"] == "taught@1"
    for attack in found["persistence"]["attacks"]:
        attack["starts"] = None
    assert "taught@" not in json.dumps(found)


@pytest.mark.slow
def test_workers_give_the_same(finished, model, harm, copy):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run_recipe(matched(model, harm, earlier=[1, 2]), copy, workers=2)
    finally:
        torch.set_num_threads(before)
    assert rows_of(copy).equals(rows_of(finished))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"earlier": [3]}, "attacks.earlier: step 3 does not lie before the last of the 3 training steps"),
        ({"earlier": [0]}, "greater than or equal to 1"),
        ({"earlier": [1, 1]}, "1 stands there twice"),
        ({"earlier": [1], "arms": []}, "checkpoints of 'taught', which attacks.arms does not name"),
        ({"earlier": [1], "rungs": ["new values"]}, "chosen on 'new domain', which attacks.rungs does not name"),
    ],
)
def test_earlier_checkpoints_that_cannot_be_had_or_compared_are_told(model, harm, change, fault):
    with pytest.raises(ValidationError, match=fault):
        matched(model, harm, **change)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"primary": None}, "attacks.earlier: one is chosen by the primary measure, which is missing"),
        ({"primary": None, "arms": ["baseline", "shuffled"]}, "attacks.earlier: the recipe has no arm but controls"),
    ],
)
def test_earlier_checkpoints_need_a_primary_measure_and_an_arm_that_is_no_control(model, harm, change, fault):
    attacks = {"earlier": [1], "gated": False}
    with pytest.raises(ValidationError, match=fault):
        recipe(model, **({"arms": ["baseline", "health-only"], "attacks": attacks} | change))


def test_where_training_cannot_be_repeated_exactly_a_missing_adapter_is_told_before_any_work(
    model, harm, bare, finished
):
    def study(directory):
        return SimpleNamespace(
            recipe=matched(model, harm, earlier=[1, 2]),
            model=SimpleNamespace(lm=SimpleNamespace(device=SimpleNamespace(type="cuda"))),
            arm_directory=lambda one: directory / "arms" / one.name / f"seed-{one.seed}",
        )

    refuse_repetition(study(finished))
    refuse_repetition(study(bare / "none"))
    with pytest.raises(RecipeError, match=r"holds no adapter of steps 1, 2, .* on cuda no training can be repeated"):
        refuse_repetition(study(bare))


def test_a_checkpoint_knows_its_arm_and_its_step():
    early, last = Checkpoint("taught@8", 1), Checkpoint("taught", 1)
    assert (early.arm, early.step, early.folders) == ("taught", 8, ("taught@8", "seed-1"))
    assert (last.arm, last.step) == ("taught", None)
