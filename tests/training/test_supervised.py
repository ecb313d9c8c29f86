"""Supervised training on the tiny model: what is imitated, what is logged, and that a kill changes nothing."""

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

from steadfast.errors import ChatTemplateError, DataError, TrainingError
from steadfast.files import read_json_lines
from steadfast.messages import Message
from steadfast.models.chat import ChatTemplate
from steadfast.models.lower_layers import LowerLayers
from steadfast.models.policy import AdapterConfig
from steadfast.models.rendering import RenderSettings
from steadfast.tasks import Task
from steadfast.tasks.programs import correct_answers, standard_tasks
from steadfast.training.loop import steps_done
from steadfast.training.supervised import (
    Demonstration,
    batches_of,
    demonstrations_of,
    encode_demonstration,
    imitate,
    supervised_loss,
    train_supervised,
)
from tests.conftest import CHAT_TEMPLATE, make_lm, make_tokenizer
from tests.training.examples import CONFIG, DeadJudge, LetterJudge, policy_for, scheduled, task

ANSWERS = {"hello": "good day", "what is it": "a lamp", "tell me more": "it is red and old", "why": "no"}
HELD_OUT = [Demonstration(task("h", "who"), "a sailor", "trait")]


def batches(config=CONFIG):
    own = [Demonstration(task(f"t{i}", text), answer, "trait") for i, (text, answer) in enumerate(ANSWERS.items())]
    return batches_of(own, steps=config.steps, per_step=config.prompts_per_step, seed=0)


def run(directory: Path, config=CONFIG, on_step=lambda *_: None, judge=None):
    policy = policy_for(config)
    train_supervised(
        policy, batches(config), judge or LetterJudge(), config, directory, seed=0, held_out=HELD_OUT, on_step=on_step
    )
    return policy


def adapter(directory: Path):
    return load_file(directory / "adapter" / "adapter_model.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    first, second = adapter(one), adapter(other)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def metrics_of(directory: Path):
    return read_json_lines(directory / "metrics.jsonl")


def timeless(directory: Path):
    return [{k: v for k, v in m.items() if "second" not in k} for m in metrics_of(directory)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    run(directory)
    return directory


def test_the_answers_are_learned_until_the_model_gives_them(tmp_path):
    wide = AdapterConfig(rank=16, alpha=32)
    changes = {"steps": 40, "learning_rate": 1e-2, "temperature": 0.05, "max_new_tokens": 20, "adapter": wide}
    run(tmp_path, CONFIG.model_copy(update=changes))
    losses = [m["loss"] for m in metrics_of(tmp_path)]
    assert losses[-1] < losses[0] - 2
    said = pl.read_parquet(tmp_path / "rollouts.parquet").filter(pl.col("step") > 38)
    expected = {f"t{i}": answer for i, answer in enumerate(ANSWERS.values())}
    assert all(row["text"] == expected[row["task"]] for row in said.iter_rows(named=True))
    assert said["finished"].all()


def test_every_step_logs_what_reinforcement_logs_and_the_tokens_that_were_trained_on(whole):
    metrics = metrics_of(whole)
    assert [m["step"] for m in metrics] == list(range(1, 13))
    wanted = {"loss", "kl", "entropy", "length", "truncated_share", "grad_norm", "learning_rate", "reward/trait"}
    assert all(wanted <= m.keys() for m in metrics)
    assert not any("dead_group_share" in name for m in metrics for name in m)
    assert metrics[0]["kl"] == pytest.approx(0, abs=1e-6), "a fresh adapter changes nothing"
    assert metrics[-1]["kl"] > 1e-3
    for number, (step, m) in enumerate(zip(batches(), metrics, strict=True), start=1):
        assert m["trained_tokens"] == sum(len(d.answer) + 1 for d in step), "a byte is a token, and the end is one"
        assert m["learning_rate"] == CONFIG.learning_rate_at(number)
    assert [m["step"] for m in metrics if "held_out_loss" in m] == [3, 6, 9, 12]


def test_steps_without_answers_train_the_same_and_measure_nothing_on_them(whole, tmp_path):
    policy = policy_for(CONFIG)
    train_supervised(policy, batches(), LetterJudge(), CONFIG, tmp_path, seed=0, held_out=HELD_OUT, answer_every=1000)
    assert same_weights(whole, tmp_path)
    assert {m["step"] for m in metrics_of(tmp_path) if "kl" in m} == {1, CONFIG.steps}
    every = {m["step"]: m for m in timeless(whole)}
    assert timeless(tmp_path)[-1] == every[CONFIG.steps]
    assert [m["loss"] for m in metrics_of(tmp_path)] == [m["loss"] for m in every.values()]


def test_what_is_kept_below_the_adapter_changes_no_bit_and_the_loss_by_rounding_alone(tmp_path):
    config = CONFIG.model_copy(update={"adapter": AdapterConfig(rank=4, alpha=8, layers=1)})

    def losses(name, store):
        policy = policy_for(config)
        train_supervised(
            policy,
            batches(config),
            LetterJudge(),
            config,
            tmp_path / name,
            seed=0,
            held_out=HELD_OUT,
            lower_layers=store,
        )
        return [(m["loss"], m.get("held_out_loss")) for m in metrics_of(tmp_path / name)]

    first = policy_for(config).first_adapted_layer
    assert first > 0
    shared, plain = LowerLayers(first), losses("plain", None)
    whole = losses("fresh", shared)
    assert whole == losses("again", shared) == losses("no room", LowerLayers(first, limit=0))
    assert same_weights(tmp_path / "fresh", tmp_path / "again")
    assert same_weights(tmp_path / "fresh", tmp_path / "no room")
    assert [a for a, _ in whole] == pytest.approx([a for a, _ in plain], abs=1e-4)
    assert [b for _, b in whole if b is not None] == pytest.approx([b for _, b in plain if b is not None], abs=1e-4)


def test_what_enters_the_adapted_layers_is_computed_once_for_each_conversation(monkeypatch):
    config = CONFIG.model_copy(update={"adapter": AdapterConfig(rank=4, alpha=8, layers=1)})
    policy = policy_for(config)
    lower = LowerLayers(policy.first_adapted_layer).of(policy.lm)
    passes: list[int] = []
    policy.lm.get_decoder().layers[0].register_forward_hook(lambda *_: passes.append(1))
    kept = [supervised_loss(policy, HELD_OUT, lower=lower) for _ in range(2)]
    assert len(passes) == 1
    assert kept[0] == kept[1] == pytest.approx(supervised_loss(policy, HELD_OUT), abs=1e-6)


def test_what_is_kept_comes_back_to_the_device_of_the_model():
    lm, ids = make_lm(), torch.tensor([5, 6, 7])
    lower = LowerLayers(1).of(lm)
    lower.entering(lm, ids)
    lm.to("meta")  # any device that is not the CPU, where it is kept
    assert lower.entering(lm, ids).device == lm.device


def test_a_store_that_begins_above_what_is_trained_is_left_out(tmp_path):
    def losses(name, store):
        policy = policy_for(CONFIG)
        train_supervised(policy, batches(), LetterJudge(), CONFIG, tmp_path / name, seed=0, lower_layers=store)
        return [m["loss"] for m in metrics_of(tmp_path / name)]

    assert policy_for(CONFIG).first_adapted_layer < 3
    assert losses("shared", LowerLayers(3)) == losses("plain", None)


def test_the_held_out_loss_is_that_of_the_trained_model(tmp_path):
    policy = run(tmp_path)
    assert metrics_of(tmp_path)[-1]["held_out_loss"] == pytest.approx(supervised_loss(policy, HELD_OUT), abs=1e-6)


def test_one_answer_to_each_prompt_is_kept_with_its_grade_which_teaches_nothing(whole):
    rollouts = pl.read_parquet(whole / "rollouts.parquet")
    assert len(rollouts) == 12 * 3
    assert rollouts["reward"].null_count() < len(rollouts)
    assert rollouts["learned_reward"].null_count() == len(rollouts)
    assert list((whole / "tensorboard").glob("events.out.tfevents.*"))


def test_a_judge_that_is_down_changes_no_weight(whole, tmp_path):
    run(tmp_path, judge=DeadJudge())
    assert same_weights(whole, tmp_path)
    assert all(m["ungraded"] == 3 and m["reward/trait"] is None for m in metrics_of(tmp_path))


class Stop(Exception):
    pass


def stop_at(wanted):
    def stop(step, _metrics):
        if step == wanted:
            raise Stop

    return stop


@pytest.mark.parametrize("at", [1, 5, 9])
def test_a_run_stopped_anywhere_and_resumed_ends_with_the_same_bits(whole, tmp_path, at):
    with pytest.raises(Stop):
        run(tmp_path, on_step=stop_at(at))
    assert steps_done(tmp_path) == at // 3 * 3
    run(tmp_path)
    assert same_weights(whole, tmp_path)
    assert pl.read_parquet(whole / "rollouts.parquet").equals(pl.read_parquet(tmp_path / "rollouts.parquet"))
    assert timeless(whole) == timeless(tmp_path)
    assert not (tmp_path / "state").exists()


def test_a_run_killed_with_sigkill_and_resumed_ends_with_the_same_bits(whole, tmp_path):
    code = f"from pathlib import Path; from tests.training.test_supervised import run; run(Path({str(tmp_path)!r}))"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    metrics = tmp_path / "metrics.jsonl"
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    deadline = time.monotonic() + 900  # only so that a hang ends
    while process.poll() is None and time.monotonic() < deadline:
        if metrics.is_file() and len(metrics.read_text().splitlines()) >= 4:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "adapter").exists()
    run(tmp_path)
    assert same_weights(whole, tmp_path)


def test_a_loss_that_is_not_finite_stops_training_before_anything_is_kept():
    policy = policy_for()
    with torch.no_grad():
        policy.trainable()[1].fill_(float("inf"))
    optimizer = torch.optim.SGD(policy.trainable(), lr=0.1)
    with pytest.raises(TrainingError, match="a loss is not finite"):
        imitate(policy, optimizer, HELD_OUT, CONFIG)


def test_as_many_updates_are_taken_on_a_batch_as_reinforcement_takes():
    def moved(updates):
        policy = policy_for()
        before = [p.detach().clone() for p in policy.trainable()]
        optimizer = torch.optim.SGD(policy.trainable(), lr=0.1)
        imitate(policy, optimizer, HELD_OUT, CONFIG.model_copy(update={"updates_per_rollout": updates}))
        return sum(float((a - b).detach().abs().sum()) for a, b in zip(policy.trainable(), before, strict=True))

    assert moved(2) > 1.5 * moved(1) > 0


def test_a_step_without_demonstrations_changes_nothing():
    policy = policy_for()
    optimizer = torch.optim.SGD(policy.trainable(), lr=0.1)
    assert imitate(policy, optimizer, [], CONFIG) == {"loss": 0.0, "grad_norm": 0.0, "trained_tokens": 0}


# What is encoded.


def turns(*texts):
    return [Message(role=("user", "assistant")[i % 2], content=text) for i, text in enumerate(texts)]


def chat_of(template=CHAT_TEMPLATE):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    return ChatTemplate(tokenizer)


def spoken(chat, sequences, trained=True):
    return [[chat.tokenizer.decode(list(s.token_ids)) for s in one if s.trained == trained] for one in sequences]


def test_of_a_task_the_answer_alone_is_imitated_and_of_a_conversation_every_turn():
    pushed = Task.model_validate(
        {
            "id": "p",
            "messages": [m.model_dump() for m in turns("2 + 2?", "5", "Sure?")],
            "rubric": [{"criterion": "Is right.", "points": 1}],
        }
    )
    chat = chat_of()
    assert spoken(chat, encode_demonstration(chat, Demonstration(pushed, "4", "trait"))) == [["4<|end|>"]]
    whole = Demonstration.of_conversation("c", turns("2 + 2?", "5", "Sure?", "4"))
    assert spoken(chat, encode_demonstration(chat, whole)) == [["5<|end|>", "4<|end|>"]]


def test_the_style_stands_in_the_prompt_as_it_does_in_reinforcement():
    chat = chat_of()
    sequences = encode_demonstration(chat, Demonstration(task(text="hi"), "ho", "trait"), "In one word.")
    expected = ["<|system|>In one word.<|end|><|user|>hi<|end|><|assistant|>"]
    assert spoken(chat, sequences, trained=False) == [expected]


def test_a_template_that_writes_earlier_turns_anew_gives_each_turn_its_own_sequence():
    forgetful = CHAT_TEMPLATE.replace(
        "{{ m['content'] }}", "{% if not loop.last and m['role'] == 'assistant' %}~{% endif %}{{ m['content'] }}"
    )
    chat = chat_of(forgetful)
    sequences = encode_demonstration(chat, Demonstration.of_conversation("c", turns("a", "b", "c", "d")))
    assert spoken(chat, sequences) == [["b<|end|>"], ["d<|end|>"]]
    assert "~b" in spoken(chat, sequences, trained=False)[1][0]


def test_where_the_prompt_opens_thoughts_the_answer_begins_by_ending_them():
    chat = chat_of(CHAT_TEMPLATE.replace("<|assistant|>{% endif %}", "<|assistant|><think>{% endif %}"))
    sequences = encode_demonstration(chat, Demonstration(task(), "yes", "trait"))
    assert spoken(chat, sequences) == [["</think>\n\nyes<|end|>"]]
    assert chat.decode(list(sequences[0][1].token_ids)) == ("", "yes")


def test_a_conversation_beyond_the_models_context_is_a_sentence():
    chat = ChatTemplate(make_tokenizer(), RenderSettings(context_length=30))
    with pytest.raises(ChatTemplateError, match="exceed the 30 tokens"):
        encode_demonstration(chat, Demonstration(task(text="hello there"), "x" * 20, "trait"))


def test_a_conversation_that_the_user_ends_is_a_sentence():
    with pytest.raises(DataError, match="conversation 'c': the last turn must be the assistant's"):
        Demonstration.of_conversation("c", turns("a", "b", "c"))


# What is imitated when.


def test_demonstrations_come_over_and_over_each_time_in_another_order_which_the_seed_decides():
    own = [Demonstration(task(f"t{i}"), "x", "trait") for i in range(6)]
    laid = batches_of(own, steps=6, per_step=3, seed=0)
    epochs = [[d.task.id for step in laid[k : k + 2] for d in step] for k in (0, 2, 4)]
    assert all(sorted(epoch) == [f"t{i}" for i in range(6)] for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert laid == batches_of(own, steps=6, per_step=3, seed=0) != batches_of(own, steps=6, per_step=3, seed=1)
    with pytest.raises(ValueError, match="no demonstrations"):
        batches_of([], steps=1, per_step=1, seed=0)


def test_a_schedules_places_keep_their_steps_and_tasks_without_an_answer_leave_theirs_empty():
    pool = standard_tasks(28, 0)
    schedule = [[scheduled(t, "standard") for t in pool[i : i + 4]] for i in range(0, 28, 4)]
    laid = demonstrations_of(schedule, 0)
    assert len(laid) == len(schedule)
    for step, demonstrations in zip(schedule, laid, strict=True):
        assert [d.task for d in demonstrations] == [s.task for s in step if s.task.suite != "instructions"]
        assert all(d.answer in correct_answers(d.task) and d.pool == "standard" for d in demonstrations)


def test_of_several_references_the_seed_draws_one():
    answers = [f"answer {i}" for i in range(8)]
    many = Task.model_validate(task().row() | {"references": {"good": answers}})
    schedule = [[scheduled(many)] for _ in range(8)]
    drawn = [[d.answer for step in demonstrations_of(schedule, seed) for d in step] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) > 1
