"""Training all weights of a tiny model: what it moves, how it is saved, and that the model comes back."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from steadfast.errors import ModelLoadError, UnsupportedModelError
from steadfast.files import read_json_lines
from steadfast.models.all_weights import WEIGHTS_FILE, weights_of
from steadfast.models.policy import add_adapter, train_all_weights
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.training.loop import kept_after, train
from steadfast.training.supervised import Demonstration, train_supervised
from tests.conftest import make_lm, make_tokenizer
from tests.training.examples import CONFIG, LetterJudge, scheduled, task

FULL = CONFIG.model_copy(update={"learning_rate": 1e-3, "steps": 4, "save_every": 2, "keep": (2, 4)})
SHOWN = [Demonstration(task("a", "hello"), "good day", "trait"), Demonstration(task("b", "why"), "no", "trait")]
IDS = torch.tensor([[5, 9, 20, 7]])


def packed_lm():
    lm = make_lm()
    prepack_frozen_linears(lm.requires_grad_(False))
    return lm


def logits_of(lm):
    with torch.no_grad():
        return lm(IDS).logits


def imitated(lm, directory, steps=4):
    policy = train_all_weights(lm, make_tokenizer())
    train_supervised(
        policy, [SHOWN] * steps, LetterJudge(), FULL.model_copy(update={"steps": steps}), directory, seed=0
    )
    return policy


def test_every_weight_moves_and_the_model_comes_back_bit_for_bit(tmp_path):
    lm = packed_lm()
    before, forwards = (
        {n: p.clone() for n, p in lm.named_parameters()},
        [m.__dict__.get("forward") for m in lm.modules()],
    )
    at_first = logits_of(lm)
    policy = imitated(lm, tmp_path)
    moved = {n for n, p in lm.named_parameters() if not torch.equal(p, before[n])}
    assert moved == set(before)
    assert not torch.equal(logits_of(lm), at_first)
    with policy.untrained():
        torch.testing.assert_close(logits_of(lm), at_first)
    policy.release()
    assert all(torch.equal(p, before[n]) and not p.requires_grad for n, p in lm.named_parameters())
    assert [m.__dict__.get("forward") for m in lm.modules()] == forwards
    assert torch.equal(logits_of(lm), at_first)


def test_the_kl_is_that_from_the_model_before(tmp_path):
    imitated(make_lm(), tmp_path)
    kls = [m["kl"] for m in read_json_lines(tmp_path / "metrics.jsonl")]
    assert kls[0] == pytest.approx(0, abs=1e-6)
    assert kls[-1] > 1e-4


def test_what_is_kept_gives_the_trained_model_and_is_taken_off_again(tmp_path):
    lm = packed_lm()
    at_first = logits_of(lm)
    policy = imitated(lm, tmp_path)
    trained = {n: p.clone() for n, p in policy.weights().items()}
    after = logits_of(lm)
    policy.release()
    with weights_of(lm, kept_after(tmp_path, 4)):
        assert all(torch.equal(p, trained[n]) for n, p in lm.named_parameters())
        assert "forward" in lm.model.layers[0].mlp.up_proj.__dict__, "packed anew"
        torch.testing.assert_close(logits_of(lm), after)
    assert torch.equal(logits_of(lm), at_first)
    assert not (tmp_path / "weights").exists(), "they are kept already"
    sooner = load_file(kept_after(tmp_path, 2) / WEIGHTS_FILE)
    assert any(not torch.equal(sooner[n], trained[n]) for n in trained)


def test_without_a_kept_last_step_the_weights_are_written_at_the_end(tmp_path):
    policy = train_all_weights(make_lm(), make_tokenizer())
    config = FULL.model_copy(update={"steps": 1, "keep": ()})
    train_supervised(policy, [SHOWN], LetterJudge(), config, tmp_path, seed=0)
    saved = load_file(tmp_path / "weights" / WEIGHTS_FILE)
    assert all(torch.equal(saved[n], p) for n, p in policy.lm.named_parameters())


def test_a_training_that_was_stopped_ends_with_the_same_bits(tmp_path):
    whole = imitated(make_lm(), tmp_path / "whole")

    class Stopped(Exception):
        pass

    def stop(step, _metrics):
        if step == 3:
            raise Stopped

    first = train_all_weights(make_lm(), make_tokenizer())
    with pytest.raises(Stopped):
        train_supervised(first, [SHOWN] * 4, LetterJudge(), FULL, tmp_path / "parts", seed=0, on_step=stop)
    second = imitated(make_lm(), tmp_path / "parts")
    assert all(torch.equal(w, second.weights()[n]) for n, w in whole.weights().items())


def test_reinforcement_trains_all_weights_too(tmp_path):
    policy = train_all_weights(make_lm(), make_tokenizer())
    before = {n: p.clone() for n, p in policy.weights().items()}
    config = FULL.model_copy(update={"steps": 2, "keep": ()})
    schedule = [[scheduled(task(f"s{i}{j}", "hello")) for j in range(3)] for i in range(2)]
    train(policy, schedule, LetterJudge(), config, tmp_path, seed=0)
    assert any(not torch.equal(p, before[n]) for n, p in policy.weights().items())


def test_weights_of_another_model_are_refused_and_change_nothing(tmp_path):
    lm = make_lm()
    at_first = logits_of(lm)
    save_file({n: p.detach() for n, p in make_lm(layers=1).named_parameters()}, tmp_path / WEIGHTS_FILE)
    with (
        pytest.raises(ModelLoadError, match=r"does not hold the weights of this model; they differ at model\.layers"),
        weights_of(lm, tmp_path),
    ):
        pass
    (tmp_path / WEIGHTS_FILE).write_bytes(b"no weights")
    with pytest.raises(ModelLoadError), weights_of(lm, tmp_path):
        pass
    assert torch.equal(logits_of(lm), at_first)


def test_a_model_whose_small_updates_would_be_rounded_away_or_that_carries_an_adapter_is_refused():
    with pytest.raises(UnsupportedModelError, match="float32 alone"):
        train_all_weights(make_lm().to(torch.bfloat16), make_tokenizer())
    lm = make_lm()
    add_adapter(lm, make_tokenizer(), CONFIG.adapter, seed=0)
    with pytest.raises(RuntimeError, match="carries an adapter"):
        train_all_weights(lm, make_tokenizer())


def test_an_embedding_that_is_the_output_layer_too_is_one_weight(tmp_path):
    lm = make_lm(tied=True)
    assert isinstance(lm.lm_head, nn.Linear)
    policy = imitated(lm, tmp_path)
    trained = lm.lm_head.weight.detach().clone()
    assert lm.lm_head.weight.data_ptr() == lm.model.embed_tokens.weight.data_ptr()
    policy.release()
    assert not torch.equal(lm.lm_head.weight, trained)
    with weights_of(lm, kept_after(tmp_path, 4)):
        assert torch.equal(lm.lm_head.weight, trained)
        assert torch.equal(lm.model.embed_tokens.weight, trained)
