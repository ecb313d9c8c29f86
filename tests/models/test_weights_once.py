"""A model is loaded once and lent to one adapter after another: each finds it as if it were freshly loaded."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer

from steadfast.errors import ModelLoadError
from steadfast.models import AdapterConfig, add_adapter, load_model
from steadfast.models.prepack import prepack_frozen_linears
from tests.conftest import make_tokenizer
from tests.models.architectures import tiny

IDS = torch.tensor([[5, 9, 33, 47, 80, 12, 7]])


@torch.no_grad()
def logits(lm):
    return lm(input_ids=IDS).logits


def change(policy, seed=3):
    """What training does to an adapter, and more of it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.trainable():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)


def state(lm):
    return {k: v.clone() for k, v in lm.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.fixture
def loaded(tiny_model_dir):
    return load_model(str(tiny_model_dir), device="cpu")


@pytest.fixture(params=[False, True], ids=["plain", "prepacked"])
def base(request, loaded):
    if request.param:
        prepack_frozen_linears(loaded.lm)
    return loaded


@pytest.mark.parametrize("layers", ["all", 2])
def test_a_second_policy_starts_as_on_a_freshly_loaded_model(base, tiny_model_dir, layers):
    config = AdapterConfig(rank=4, layers=layers)
    weights, modules, before = state(base.lm), dict(base.lm.named_modules()), logits(base.lm)
    first = base.fresh_policy(config, seed=1)
    change(first)
    changed = logits(base.lm)
    base.release(first)
    assert same(state(base.lm), weights)
    assert dict(base.lm.named_modules()) == modules
    assert torch.equal(logits(base.lm), before)
    assert not torch.equal(changed, before)
    assert not any(p.requires_grad for p in base.lm.parameters())

    second = base.fresh_policy(config, seed=2)
    fresh = add_adapter(load_model(str(tiny_model_dir), device="cpu").lm, base.tokenizer, config, seed=2)
    assert same(state(second.model), state(fresh.model))
    assert second.first_adapted_layer == fresh.first_adapted_layer
    change(second)
    change(fresh)
    assert torch.equal(logits(second.lm), logits(fresh.lm))


def test_a_saved_adapter_gives_the_logits_of_a_merge_on_a_fresh_model_and_leaves_no_trace(
    base, tiny_model_dir, tmp_path
):
    policy = base.fresh_policy(AdapterConfig(rank=4, layers=2), seed=1)
    change(policy)
    policy.save(tmp_path)
    base.release(policy)
    weights, before = state(base.lm), logits(base.lm)

    other = load_model(str(tiny_model_dir), device="cpu").lm
    if any("forward" in m.__dict__ for m in base.lm.modules()):
        reference = prepacked(PeftModel.from_pretrained(other, str(tmp_path)).merge_and_unload())
    else:
        reference = PeftModel.from_pretrained(other, str(tmp_path)).merge_and_unload()
    for _ in range(2):
        with base.with_adapter(tmp_path) as lm:
            assert lm is base.lm
            assert torch.equal(logits(lm), logits(reference))
        assert same(state(base.lm), weights)
        assert torch.equal(logits(base.lm), before)
    assert not torch.equal(logits(reference), before)
    again = base.fresh_policy(AdapterConfig(rank=4, layers=2), seed=1)
    assert torch.equal(logits(again.lm), before)


def prepacked(lm):
    prepack_frozen_linears(lm.requires_grad_(False))
    return lm


def test_in_bfloat16_an_adapter_stays_beside_the_weights_and_keeps_its_change(tiny_model_dir, tmp_path):
    loaded = load_model(str(tiny_model_dir), device="cpu", dtype="bfloat16")
    policy = loaded.fresh_policy(AdapterConfig(rank=4), seed=1)
    change(policy)
    trained = logits(policy.lm)
    policy.save(tmp_path)
    loaded.release(policy)
    weights, before = state(loaded.lm), logits(loaded.lm)
    with loaded.with_adapter(tmp_path) as lm:
        assert any(isinstance(m, BaseTunerLayer) for m in lm.modules())
        assert torch.equal(logits(lm), trained)
    assert same(state(loaded.lm), weights)
    assert torch.equal(logits(loaded.lm), before)


def test_an_adapter_that_carries_a_whole_module_is_applied_and_taken_off_again(loaded, tiny_model_dir, tmp_path):
    lm = load_model(str(tiny_model_dir), device="cpu").lm
    config = LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head"], task_type="CAUSAL_LM")
    model = get_peft_model(lm, config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    expected = logits(model)
    model.save_pretrained(str(tmp_path))
    prepack_frozen_linears(loaded.lm)
    before = logits(loaded.lm)
    with loaded.with_adapter(tmp_path) as applied:
        assert torch.allclose(logits(applied), expected, atol=1e-4)
    assert torch.equal(logits(loaded.lm), before)


@pytest.mark.parametrize("module", ["embed_tokens", "lm_head"])
def test_an_adapter_on_one_of_two_modules_that_share_their_weights_changes_that_one_alone(module, tmp_path):
    tiny("Llama", tie_word_embeddings=True).save_pretrained(tmp_path / "model")
    make_tokenizer().save_pretrained(tmp_path / "model")
    base = load_model(str(tmp_path / "model"), device="cpu")
    model = get_peft_model(tiny("Llama", tie_word_embeddings=True), LoraConfig(r=4, target_modules=[module]))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora" in name:
                parameter.normal_(0, 0.1)
    expected, before = logits(model.eval()), logits(base.lm)
    model.save_pretrained(str(tmp_path / "adapter"))
    with base.with_adapter(tmp_path / "adapter") as applied:
        assert torch.allclose(logits(applied), expected, atol=1e-4)
        assert not torch.allclose(expected, before, atol=0.1)
    assert torch.equal(logits(base.lm), before)


def test_an_adapter_that_does_not_fit_leaves_the_model_as_it_was(base, tmp_path):
    policy = base.fresh_policy(AdapterConfig(rank=4), seed=1)
    policy.save(tmp_path)
    base.release(policy)
    config = (tmp_path / "adapter_config.json").read_text()
    (tmp_path / "adapter_config.json").write_text(config.replace('"r": 4', '"r": 8'))
    weights, modules, before = state(base.lm), dict(base.lm.named_modules()), logits(base.lm)
    with pytest.raises(ModelLoadError, match=str(tmp_path)), base.with_adapter(tmp_path):
        pass
    assert same(state(base.lm), weights)
    assert dict(base.lm.named_modules()) == modules
    assert torch.equal(logits(base.lm), before)


def test_a_model_carries_one_adapter_at_a_time(loaded):
    policy = loaded.fresh_policy(AdapterConfig(rank=4), seed=1)
    with pytest.raises(RuntimeError, match="carries an adapter already"):
        loaded.fresh_policy(AdapterConfig(rank=4), seed=2)
    policy.release()
    loaded.fresh_policy(AdapterConfig(rank=4), seed=2)
