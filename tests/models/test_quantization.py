"""Weights in a lesser format: what it can hold within the context, and bit for bit what they were after it."""

import builtins

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from steadfast.errors import SteadfastError, UnsupportedModelError
from steadfast.models import AdapterConfig, load_model
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.quantization import INT4_GROUP, WEIGHT_FORMATS, check_weights, weights_in
from tests.conftest import make_tokenizer
from tests.models.architectures import tiny
from tests.models.test_weights_once import change, logits, same, state

INTEGERS = ("int8", "int4")


@pytest.fixture
def loaded(tiny_model_dir):
    return load_model(str(tiny_model_dir), device="cpu")


@pytest.fixture(params=[False, True], ids=["plain", "prepacked"])
def base(request, loaded):
    if request.param:
        prepack_frozen_linears(loaded.lm)
    return loaded


@pytest.fixture
def adapter(loaded, tiny_model_dir, tmp_path):
    """A saved adapter that changes the tiny model's logits."""
    own = load_model(str(tiny_model_dir), device="cpu")
    policy = own.fresh_policy(AdapterConfig(rank=4), seed=1)
    change(policy)
    policy.save(tmp_path / "adapter")
    return tmp_path / "adapter"


def tied(dtype, folder):
    tiny("Llama", tie_word_embeddings=True).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return load_model(str(folder), device="cpu", dtype=dtype)


def inner_linears(lm):
    return {n: m.weight for n, m in lm.named_modules() if isinstance(m, nn.Linear) and m is not lm.lm_head}


def held_by(kind, weight):
    """Whether a matrix holds only numbers that the format can hold."""
    if kind == "bfloat16":
        return torch.equal(weight, weight.bfloat16().to(weight.dtype))
    groups = weight if kind == "int8" else weight.reshape(-1, INT4_GROUP)
    levels = 256 if kind == "int8" else 16
    return all(_on_a_grid(row, levels, through_zero=kind == "int8") for row in groups.double())


def _on_a_grid(row, levels, *, through_zero):
    """Whether numbers are whole multiples of one step, of which they reach over fewer than so many."""
    apart = row.unique().diff()
    if through_zero:
        largest = row.abs().max()
        steps = [largest / n for n in (127, 127.5, 128)]
    else:
        span = row.max() - row.min()
        steps = [span / n for n in range(levels // 2, levels)]
    for step in steps:
        counts = (row - (0 if through_zero else row.min())) / step
        if (counts - counts.round()).abs().max() < 1e-3 and len(apart) < levels:
            return True
    return False


def test_a_matrix_that_no_format_touched_is_held_by_none_of_them():
    weight = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    assert not any(held_by(kind, weight) for kind in WEIGHT_FORMATS)


@pytest.mark.parametrize("kind", WEIGHT_FORMATS)
def test_within_the_context_the_weights_are_what_the_format_holds_and_afterwards_what_they_were(base, kind):
    weights, modules, before = state(base.lm), dict(base.lm.named_modules()), logits(base.lm)
    forwards = [m.__dict__.get("forward") for m in base.lm.modules()]
    for _ in range(2):
        with base.with_weights(kind) as lm:
            assert lm is base.lm
            assert all(held_by(kind, w) for w in inner_linears(lm).values())
            assert not torch.equal(logits(lm), before)
            assert torch.allclose(logits(lm), before, atol=8.0 if kind == "int4" else 0.5)
        assert same(state(base.lm), weights)
        assert dict(base.lm.named_modules()) == modules
        assert [m.__dict__.get("forward") for m in base.lm.modules()] == forwards
        assert torch.equal(logits(base.lm), before)
    assert not any(p.requires_grad for p in base.lm.parameters())


def test_bfloat16_gives_the_logits_of_a_merged_model_that_was_saved_in_bfloat16_and_loaded_again(
    loaded, adapter, tiny_model_dir, tmp_path
):
    with loaded.with_adapter(adapter) as lm:
        lm.to(torch.bfloat16).save_pretrained(tmp_path / "saved")
    make_tokenizer().save_pretrained(tmp_path / "saved")
    saved = load_model(str(tmp_path / "saved"), device="cpu")
    fresh = load_model(str(tiny_model_dir), device="cpu")
    with fresh.with_adapter(adapter), fresh.with_weights("bfloat16") as lm:
        assert same(state(lm), state(saved.lm))
        assert torch.equal(logits(lm), logits(saved.lm))


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_leave_the_embedding_the_output_layer_and_the_norms_as_they_are(loaded, kind):
    before = state(loaded.lm)
    with loaded.with_weights(kind) as lm:
        changed = {k for k, v in lm.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {f"{name}.weight" for name in inner_linears(loaded.lm)}


def test_each_format_is_coarser_than_the_one_before_it(loaded):
    before = inner_linears(loaded.lm)["model.layers.0.mlp.up_proj"].clone()
    errors = []
    for kind in WEIGHT_FORMATS:
        with loaded.with_weights(kind) as lm:
            errors.append(float((inner_linears(lm)["model.layers.0.mlp.up_proj"] - before).norm() / before.norm()))
    assert errors == sorted(errors)
    assert errors[0] < 0.003 < errors[1] < 0.02 < errors[2] < 0.15


@pytest.mark.parametrize("kind", WEIGHT_FORMATS)
def test_prepacked_layers_compute_with_the_formats_weights(tiny_model_dir, kind):
    one, other = (load_model(str(tiny_model_dir), device="cpu") for _ in range(2))
    prepack_frozen_linears(other.lm)
    with one.with_weights(kind), other.with_weights(kind):
        assert any("forward" in m.__dict__ for m in other.lm.modules())
        assert torch.allclose(logits(one.lm), logits(other.lm), atol=1e-3)


@pytest.mark.parametrize("kind", WEIGHT_FORMATS)
def test_an_adapter_is_merged_before_its_sum_with_the_weights_is_quantized(base, adapter, kind):
    untouched = logits(base.lm)
    with base.with_adapter(adapter) as lm:
        before, weights = logits(lm), state(lm)
        with base.with_weights(kind):
            assert all(held_by(kind, w) for w in inner_linears(lm).values())
            assert (logits(lm) - before).abs().mean() < (untouched - before).abs().mean()
        assert same(state(lm), weights)
        assert torch.equal(logits(lm), before)
    assert torch.equal(logits(base.lm), untouched)


@pytest.mark.parametrize("kind", WEIGHT_FORMATS)
def test_an_adapter_beside_bfloat16_weights_is_merged_in_float32_and_stands_beside_them_again_afterwards(
    loaded, adapter, tiny_model_dir, kind
):
    lesser = load_model(str(tiny_model_dir), device="cpu", dtype="bfloat16")
    loaded.lm.load_state_dict({k: v.float() for k, v in lesser.lm.state_dict().items()})
    untouched = logits(lesser.lm)
    with lesser.with_adapter(adapter) as lm, loaded.with_adapter(adapter):
        before, modules = logits(lm), dict(lm.named_modules())
        with lesser.with_weights(kind), loaded.with_weights(kind):
            own, reference = inner_linears(lm), inner_linears(loaded.lm)
            assert own.keys() == reference.keys()
            assert all(torch.equal(own[n], reference[n].bfloat16()) for n in own)
        assert dict(lm.named_modules()) == modules
        assert torch.equal(logits(lm), before)
    assert torch.equal(logits(lesser.lm), untouched)


@pytest.mark.parametrize("kind", WEIGHT_FORMATS)
def test_tied_embeddings_stay_tied(tmp_path, kind):
    loaded = tied("float32", tmp_path)
    before = logits(loaded.lm)
    with loaded.with_weights(kind) as lm:
        assert lm.lm_head.weight is lm.get_input_embeddings().weight
        assert held_by("bfloat16", lm.lm_head.weight) == (kind == "bfloat16")
        assert not torch.equal(logits(lm), before)
    assert torch.equal(logits(loaded.lm), before)


def test_an_adapter_on_tied_embeddings_cannot_be_merged_and_the_model_stays_as_it_was(tmp_path):
    loaded = tied("float32", tmp_path / "model")
    model = get_peft_model(tiny("Llama", tie_word_embeddings=True), LoraConfig(r=4, target_modules=["embed_tokens"]))
    model.save_pretrained(str(tmp_path / "adapter"))
    with loaded.with_adapter(tmp_path / "adapter") as lm:
        before = logits(lm)
        with pytest.raises(UnsupportedModelError, match="shares its weights with another module"):
            weights_in(lm, "bfloat16").__enter__()
        assert torch.equal(logits(lm), before)


def test_a_model_whose_weights_lie_outside_linear_layers_is_refused_for_integers_and_not_for_bfloat16():
    lm = tiny("Qwen3-MoE")
    for kind in INTEGERS:
        with pytest.raises(UnsupportedModelError, match=f"linear layers hold .*, so {kind} would leave most"):
            check_weights(kind, lm)
    check_weights("bfloat16", lm)


def test_rows_that_do_not_divide_into_groups_are_refused_for_four_bits_alone():
    lm = tiny("Llama", intermediate_size=48)
    with pytest.raises(UnsupportedModelError, match="48 inputs, which do not divide into int4's groups of 32"):
        check_weights("int4", lm)
    check_weights("int8", lm)


@pytest.mark.parametrize("kind", INTEGERS)
def test_a_missing_library_is_a_sentence_and_the_model_stays_as_it_was(monkeypatch, loaded, kind):
    before = state(loaded.lm)
    real = builtins.__import__

    def without_torchao(name, *args, **kwargs):
        if name.startswith("torchao"):
            raise ModuleNotFoundError("No module named 'torchao'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_torchao)
    with pytest.raises(SteadfastError, match=r'pip install "steadfast-rl\[quantization\]"'):
        check_weights(kind)
    with pytest.raises(SteadfastError, match="torchao"), loaded.with_weights(kind):
        pass
    check_weights("bfloat16")
    assert same(state(loaded.lm), before)


def test_what_a_platform_cannot_do_is_a_sentence(monkeypatch):
    def no_kernel(*args, **kwargs):
        raise NotImplementedError("no kernel for this device")

    monkeypatch.setattr("torchao.quantization.quantize_", no_kernel)
    with pytest.raises(SteadfastError, match="torchao cannot make int8 weights on this platform"):
        check_weights("int8")
