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
from safetensors.torch import load_file

from steadfast.files import read_json_lines
from steadfast.messages import Message
from steadfast.models.policy import AdapterConfig, add_adapter
from steadfast.training.config import TrainingConfig
from steadfast.training.loop import train
from steadfast.training.mixture import build_mixture
from steadfast.training.prompts import Outcome, TrainingPrompt
from tests.conftest import make_lm, make_tokenizer

CONFIG = TrainingConfig(
    steps=12,
    prompts_per_step=3,
    group_size=4,
    max_new_tokens=10,
    learning_rate=3e-3,
    kl_coef=0.01,
    style=None,
    save_every=3,
    adapter=AdapterConfig(rank=4, alpha=8, layers=2),
)


class ShareOfLetters:
    """Rewards printable letters; completions with a rare property stay ungraded."""

    def grade(self, attempts):
        return [
            Outcome(None, {"error": "unlucky"})
            if a.text.count("q") > 1
            else Outcome(sum(c.isascii() and c.isalpha() for c in a.text) / max(1, len(a.text)))
            for a in attempts
        ]


def schedule(config=CONFIG, reward=None):
    reward = reward or ShareOfLetters()
    texts = ["hello", "what is it", "tell me more", "why", "go on then"]
    own = [TrainingPrompt(f"t{i}", "trait", (Message(role="user", content=t),), reward) for i, t in enumerate(texts)]
    return build_mixture(own, own, steps=config.steps, prompts_per_step=config.prompts_per_step, share=1.0, seed=0)


def run(directory: Path, config=CONFIG, on_step=lambda *_: None, reward=None):
    policy = add_adapter(make_lm(), make_tokenizer(), config.adapter, seed=0)
    train(policy, schedule(config, reward), config, directory, seed=0, on_step=on_step)
    return policy


def adapter(directory: Path):
    return load_file(directory / "adapter" / "adapter_model.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    first, second = adapter(one), adapter(other)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    run(directory)
    return directory


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


def test_every_rollout_is_kept_with_its_grade(whole):
    rollouts = pl.read_parquet(whole / "rollouts.parquet")
    assert len(rollouts) == 12 * 3 * 4
    assert rollouts.select("step", "prompt", "completion").is_duplicated().sum() <= 12 * 12
    assert rollouts["text"].null_count() == 0
    ungraded = rollouts.filter(pl.col("reward").is_null())
    assert all("unlucky" in d for d in ungraded["detail"])


def test_tensorboard_events_are_written(whole):
    assert list((whole / "tensorboard").glob("events.out.tfevents.*"))


class Stop(Exception):
    pass


@pytest.mark.parametrize("at", [1, 3, 5, 11])
def test_a_run_stopped_anywhere_and_resumed_ends_with_the_same_bits(whole, tmp_path, at):
    def stop(step, _metrics):
        if step == at:
            raise Stop

    with pytest.raises(Stop):
        run(tmp_path, on_step=stop)
    run(tmp_path)
    assert same_weights(whole, tmp_path)
    timeless = pl.exclude("none")
    assert (
        pl.read_parquet(whole / "rollouts.parquet")
        .select(timeless)
        .equals(pl.read_parquet(tmp_path / "rollouts.parquet"))
    )
    ours, theirs = (
        [{k: v for k, v in m.items() if "second" not in k} for m in read_json_lines(d / "metrics.jsonl")]
        for d in (whole, tmp_path)
    )
    assert ours == theirs
    assert not (tmp_path / "state").exists()


def test_a_run_killed_with_sigkill_and_resumed_ends_with_the_same_bits(whole, tmp_path):
    """A real process, killed for real, more than once, wherever it happens to be."""
    code = f"from pathlib import Path; from tests.training.test_loop import run; run(Path({str(tmp_path)!r}))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
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


class Constant:
    def grade(self, attempts):
        return [Outcome(0.5) for _ in attempts]


def test_dead_groups_are_counted_and_change_nothing(tmp_path):
    config = CONFIG.model_copy(update={"steps": 2})
    policy = run(tmp_path, config, reward=Constant())
    metrics = read_json_lines(tmp_path / "metrics.jsonl")
    assert [m["dead_group_share"] for m in metrics] == [1.0, 1.0]
    assert [m["grad_norm"] for m in metrics] == [0.0, 0.0]
    fresh = add_adapter(make_lm(), make_tokenizer(), config.adapter, seed=0)
    for ours, theirs in zip(policy.trainable(), fresh.trainable(), strict=True):
        assert torch.equal(ours, theirs)


def test_adapting_the_top_layers_trains_as_the_whole_pass_would(tmp_path):
    """The cached hidden states are a short cut, not another algorithm."""
    config = CONFIG.model_copy(update={"steps": 3})
    run(tmp_path / "short", config)
    policy = add_adapter(make_lm(), make_tokenizer(), config.adapter, seed=0)
    policy.first_adapted_layer = 0
    train(policy, schedule(config), config, tmp_path / "long", seed=0)
    short, long = adapter(tmp_path / "short"), adapter(tmp_path / "long")
    for name in short:
        torch.testing.assert_close(short[name], long[name], atol=2e-4, rtol=1e-2)
