"""The local engine on the tiny model: it learns, it keeps everything, and a kill changes nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file

from steadfast.errors import ModelLoadError, SteadfastError, TrainingError
from steadfast.files import read_json_lines
from steadfast.training import loop, step
from steadfast.training.loop import steps_done, train
from steadfast.training.mixture import build_mixture
from tests.training.examples import CONFIG, ConstantJudge, DeadJudge, LetterJudge, policy_for, scheduled, task

TEXTS = ["hello", "what is it", "tell me more", "why", "go on then"]


def schedule(config=CONFIG):
    own = [scheduled(task(f"t{i}", text)) for i, text in enumerate(TEXTS)]
    return build_mixture(own, own, steps=config.steps, prompts_per_step=config.prompts_per_step, share=1.0, seed=0)


def run(directory: Path, config=CONFIG, on_step=lambda *_: None, judge=None):
    policy = policy_for(config)
    train(policy, schedule(config), judge or LetterJudge(), config, directory, seed=0, on_step=on_step)
    return policy


def adapter(directory: Path):
    return load_file(directory / "adapter" / "adapter_model.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    first, second = adapter(one), adapter(other)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def timeless(directory: Path):
    return [{k: v for k, v in m.items() if "second" not in k} for m in read_json_lines(directory / "metrics.jsonl")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    run(directory)
    return directory


def test_keeping_adapters_on_the_way_changes_neither_the_last_one_nor_the_rollouts(whole, tmp_path):
    run(tmp_path, CONFIG.model_copy(update={"keep": (1, 3)}))
    assert same_weights(tmp_path, whole)
    assert timeless(tmp_path) == timeless(whole)
    kept = [load_file(loop.kept_after(tmp_path, step) / "adapter_model.safetensors") for step in (1, 3)]
    assert any(not torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


def test_the_reward_rises(tmp_path):
    config = CONFIG.model_copy(update={"steps": 40, "learning_rate": 1e-2, "kl_coef": 0.0})
    run(tmp_path, config)
    rewards = [m["reward/trait"] for m in read_json_lines(tmp_path / "metrics.jsonl")]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.05


def test_every_step_logs_what_the_readme_promises(whole):
    metrics = read_json_lines(whole / "metrics.jsonl")
    assert [m["step"] for m in metrics] == list(range(1, 13))
    wanted = {
        "reward/trait",
        "dead_group_share",
        "truncated_share",
        "length",
        "entropy",
        "kl",
        "clip_share",
        "grad_norm",
        "tokens_per_second",
        "ungraded",
    }
    assert all(wanted <= m.keys() for m in metrics)
    assert metrics[0]["kl"] == pytest.approx(0, abs=1e-6), "a fresh adapter changes nothing"
    assert metrics[-1]["kl"] > 0


def test_every_rollout_is_kept_with_its_grade_in_columns_of_its_own(whole):
    rollouts = pl.read_parquet(whole / "rollouts.parquet")
    assert len(rollouts) == 12 * 3 * 4
    assert set(rollouts["task"]) == {f"t{i}" for i in range(5)}
    assert rollouts["text"].null_count() == 0
    graded, ungraded = rollouts.filter(pl.col("reward").is_not_null()), rollouts.filter(pl.col("reward").is_null())
    assert set(ungraded["reason"]) <= {"unlucky"}
    assert graded["reason"].null_count() == len(graded)
    for row in graded.iter_rows(named=True):
        assert row["verdicts"] == [
            {"criterion": "Is made of letters.", "score": row["reward"], "reason": "counted"},
        ]
    assert rollouts["tokens"].is_between(1, 10).all()


def test_tensorboard_events_are_written(whole):
    assert list((whole / "tensorboard").glob("events.out.tfevents.*"))


class Stop(Exception):
    pass


def stop_at(wanted):
    def stop(step, _metrics):
        if step == wanted:
            raise Stop

    return stop


@pytest.mark.parametrize("at", [1, 3, 5, 11])
def test_a_run_stopped_anywhere_and_resumed_ends_with_the_same_bits(whole, tmp_path, at):
    with pytest.raises(Stop):
        run(tmp_path, on_step=stop_at(at))
    assert steps_done(tmp_path) == at // 3 * 3
    run(tmp_path)
    assert same_weights(whole, tmp_path)
    ours, theirs = (pl.read_parquet(d / "rollouts.parquet") for d in (whole, tmp_path))
    assert ours.equals(theirs)
    assert timeless(whole) == timeless(tmp_path)
    assert not (tmp_path / "state").exists()


def test_a_run_killed_with_sigkill_and_resumed_ends_with_the_same_bits(whole, tmp_path):
    """A real process, killed for real, more than once, wherever it happens to be."""
    code = f"from pathlib import Path; from tests.training.test_loop import run; run(Path({str(tmp_path)!r}))"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    metrics = tmp_path / "metrics.jsonl"
    kills = 0
    for wanted in (2, 7):
        process = subprocess.Popen([sys.executable, "-c", code], env=environment)
        deadline = time.monotonic() + 900  # only so that a hang ends
        while process.poll() is None and time.monotonic() < deadline:
            if metrics.is_file() and len(metrics.read_text().splitlines()) >= wanted:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        process.wait()
    assert kills == 2
    assert not (tmp_path / "adapter").exists()
    run(tmp_path)
    assert same_weights(whole, tmp_path)


def test_a_finished_run_is_not_run_again(whole):
    before = (whole / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    run(whole, on_step=lambda *_: pytest.fail("a step was run"))
    assert (whole / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns == before


def test_dead_groups_are_counted_and_change_nothing(tmp_path):
    config = CONFIG.model_copy(update={"steps": 2})
    policy = run(tmp_path, config, judge=ConstantJudge())
    metrics = read_json_lines(tmp_path / "metrics.jsonl")
    assert [m["dead_group_share"] for m in metrics] == [1.0, 1.0]
    assert [m["grad_norm"] for m in metrics] == [0.0, 0.0]
    for ours, theirs in zip(policy.trainable(), policy_for(config).trainable(), strict=True):
        assert torch.equal(ours, theirs)


def test_adapting_the_top_layers_trains_as_the_whole_pass_would(tmp_path):
    """The cached hidden states are a short cut, not another algorithm."""
    config = CONFIG.model_copy(update={"steps": 3})
    run(tmp_path / "short", config)
    policy = policy_for(config)
    policy.first_adapted_layer = 0
    train(policy, schedule(config), LetterJudge(), config, tmp_path / "long", seed=0)
    short, long = adapter(tmp_path / "short"), adapter(tmp_path / "long")
    for name in short:
        torch.testing.assert_close(short[name], long[name], atol=2e-4, rtol=1e-2)


class DeadFrom(LetterJudge):
    """A judge whose provider goes down at some step."""

    def __init__(self, step):
        self.left = step - 1

    def grade(self, answers):
        self.left -= 1
        return super().grade(answers) if self.left >= 0 else DeadJudge().grade(answers)


def test_a_judge_that_goes_down_stops_training_and_the_mended_run_ends_with_the_same_bits(whole, tmp_path):
    with pytest.raises(TrainingError, match="none of the 12 rollouts of the trait pool could be graded: the provider"):
        run(tmp_path, judge=DeadFrom(8))
    assert steps_done(tmp_path) == 6
    assert len(read_json_lines(tmp_path / "metrics.jsonl")) == 7
    run(tmp_path)
    assert same_weights(whole, tmp_path)
    assert timeless(whole) == timeless(tmp_path)


def broken(what):
    """A fault in the third update, as a loss, a gradient or the weights would show it."""
    count = 0
    update = step.update

    def at_third(policy, optimizer, groups, config):
        nonlocal count
        count += 1
        if count < 5:
            return update(policy, optimizer, groups, config)
        if what == "weight":
            with torch.no_grad():
                policy.trainable()[0].fill_(float("inf"))
        else:
            policy.trainable()[0].register_hook(lambda g: g * float("nan"))
        return update(policy, optimizer, groups, config)

    return at_third


@pytest.mark.parametrize("what", ["weight", "gradient"])
def test_what_is_not_finite_stops_training_and_the_last_state_is_whole(whole, tmp_path, monkeypatch, what):
    monkeypatch.setattr(step, "update", broken(what))
    with pytest.raises(TrainingError, match="is not finite, so training stops before it is kept"):
        run(tmp_path)
    monkeypatch.undo()
    assert steps_done(tmp_path) == 3
    assert len(read_json_lines(tmp_path / "metrics.jsonl")) == 4
    run(tmp_path)
    assert same_weights(whole, tmp_path)
    assert timeless(whole) == timeless(tmp_path)


@pytest.fixture
def stopped(tmp_path):
    with pytest.raises(Stop):
        run(tmp_path, on_step=stop_at(7))
    return tmp_path


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04 half a file"])
def test_a_damaged_state_is_a_sentence_that_names_the_file_and_the_way_out(stopped, content):
    file = stopped / "state" / "state.pt"
    file.write_bytes(content)
    for act in (steps_done, run):
        with pytest.raises(SteadfastError, match="it is damaged") as caught:
            act(stopped)
        assert str(file) in str(caught.value)
        assert "delete" in str(caught.value)


def test_a_state_of_another_adapter_is_a_sentence(stopped):
    other = CONFIG.model_copy(update={"adapter": CONFIG.adapter.model_copy(update={"rank": 2})})
    with pytest.raises(SteadfastError, match="another adapter") as caught:
        run(stopped, other)
    assert "state.pt" in str(caught.value)


def test_damaged_rollouts_are_a_sentence_that_names_the_file(stopped):
    part = stopped / "rollouts" / "000003.parquet"
    part.write_bytes(b"rubbish")
    with pytest.raises(SteadfastError, match="it is damaged") as caught:
        run(stopped)
    assert str(part) in str(caught.value)


def test_a_state_is_read_on_whatever_device_there_is(stopped, monkeypatch):
    places = []
    load = torch.load
    monkeypatch.setattr(loop.torch, "load", lambda *a, **k: places.append(k.get("map_location")) or load(*a, **k))
    run(stopped)
    assert set(places) == {"cpu"}


def test_metrics_cut_off_by_a_kill_are_written_again(whole, stopped):
    with (stopped / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 8, "lo')
    run(stopped)
    assert timeless(whole) == timeless(stopped)


def test_a_policy_that_starts_from_a_saved_adapter_has_its_weights_bit_for_bit(whole):
    policy = policy_for()
    policy.start_from(whole / "adapter")
    ours = get_peft_model_state_dict(policy.model)
    assert ours.keys() == adapter(whole).keys()
    assert all(torch.equal(ours[name], weight) for name, weight in adapter(whole).items())
    other = CONFIG.model_copy(update={"adapter": CONFIG.adapter.model_copy(update={"rank": 2})})
    with pytest.raises(ModelLoadError, match="has other layers or another rank"):
        policy_for(other).start_from(whole / "adapter")
