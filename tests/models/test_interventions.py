"""Steering and ablation: the project's own sampler and scorer feel them, and nothing of them is left afterwards."""

import copy
from contextlib import suppress

import pytest
import torch

from steadfast.models.activations import read_activations
from steadfast.models.interventions import Addition, Removal, intervened
from steadfast.models.lower_layers import LowerLayers
from steadfast.models.sampling import sample_groups
from steadfast.models.scoring import score_candidates
from tests.conftest import make_lm
from tests.models.architectures import tiny

PROMPTS = [[5, 9, 17, 33, 65, 70], [5, 9, 17, 44, 45, 46, 47, 48, 49], [200, 201, 202, 203]]
LAYER = 1


def vector(seed=0, size=3.0):
    drawn = torch.randn(32, generator=torch.Generator().manual_seed(seed))
    return size * drawn / drawn.norm()


def biased(lm, layer, vector_D):
    """The same model with the vector as a bias of the layer's last linear map, which adds it to what the layer gives.

    It is another way to the same sum: no hook is in it.
    """
    twin = copy.deepcopy(lm)
    mlp = twin.model.layers[layer].mlp
    old = mlp.down_proj
    mlp.down_proj = torch.nn.Linear(old.in_features, old.out_features, bias=True)
    mlp.down_proj.weight, mlp.down_proj.bias = old.weight, torch.nn.Parameter(vector_D.clone())
    return twin.requires_grad_(False).eval()


def plain_logprobs(lm, prompt, reply):
    ids = torch.tensor([[*prompt, *reply]])
    with torch.no_grad():
        logits = lm(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits.float(), -1).gather(-1, ids[0, len(prompt) :, None])[:, 0]


def samples(lm, **more):
    settings = {"group_size": 3, "max_new_tokens": 8, "eos_token_ids": [0], "seed": 1}
    return sample_groups(lm, PROMPTS, **settings, **more)


def farthest(groups, lm):
    pairs = [(g.prompt, c) for g in groups for c in g.completions]
    return max(float((c.logprobs_T - plain_logprobs(lm, p, c.token_ids)).abs().max()) for p, c in pairs)


def test_the_steered_samplers_logprobs_are_those_of_a_plain_pass_with_the_vector_added():
    lm = make_lm()
    steered = biased(lm, LAYER, vector())
    with intervened(lm, Addition(LAYER, vector())):
        groups = samples(lm)
    assert farthest(groups, steered) < 1e-4
    assert farthest(groups, lm) > 0.1, "the vector is felt"


@pytest.mark.parametrize("name", ["Gemma-2", "Mistral", "LFM2", "Qwen3-Next", "Mamba-2", "Qwen3-MoE"])
@pytest.mark.parametrize("kind", [Addition, Removal])
def test_packed_and_unpacked_sampling_and_scoring_feel_an_intervention_as_a_plain_pass_does(name, kind):
    lm = tiny(name)
    with intervened(lm, kind(LAYER, vector())):
        groups = samples(lm)
        scores = score_candidates(lm, [(g.prompt, [c.token_ids for c in g.completions]) for g in groups])

    def by_hand(_module, _args, output):
        hidden = output if isinstance(output, torch.Tensor) else output[0]
        unit = vector() / vector().norm()
        onto = torch.outer(unit, unit)
        changed = hidden + vector() if kind is Addition else hidden - hidden @ onto
        return changed if isinstance(output, torch.Tensor) else (changed, *output[1:])

    handle = lm.get_decoder().layers[LAYER].register_forward_hook(by_hand)
    assert farthest(groups, lm) < 1e-3
    for group, own in zip(groups, scores, strict=True):
        for completion, score in zip(group.completions, own, strict=True):
            expected = plain_logprobs(lm, group.prompt, completion.token_ids)
            assert torch.allclose(torch.tensor(score.logprobs), expected, atol=1e-3)
    handle.remove()


def test_what_is_taken_out_is_gone_at_that_layer_and_what_is_added_is_there():
    lm, texts = make_lm(), [(p, [90, 91, 92]) for p in PROMPTS]
    unit = (vector() / vector().norm()).numpy()
    before = read_activations(lm, texts, [0, 1]).mean_NLD
    with intervened(lm, Removal(1, vector(size=7.0))):
        removed = read_activations(lm, texts, [0, 1]).mean_NLD
    with intervened(lm, Addition(1, vector(size=2.0))):
        added = read_activations(lm, texts, [0, 1]).mean_NLD
    assert abs(removed[:, 1] @ unit).max() < 1e-5
    assert abs(added[:, 1] - before[:, 1] - 2 * unit).max() < 1e-5
    assert (removed[:, 0] == before[:, 0]).all()
    assert (added[:, 0] == before[:, 0]).all()


def test_nothing_of_an_intervention_is_left_afterwards_bit_for_bit_even_after_an_error():
    lm = make_lm()
    ids = torch.tensor([PROMPTS[0]])
    before = lm(input_ids=ids).logits
    with suppress(ZeroDivisionError), intervened(lm, Addition(0, vector()), Removal(2, vector(1))):
        assert not torch.equal(lm(input_ids=ids).logits, before)
        _ = 1 / 0
    assert torch.equal(lm(input_ids=ids).logits, before)
    assert not any(layer._forward_hooks for layer in lm.model.layers)


def test_nested_interventions_act_one_after_the_other():
    lm, texts = make_lm(), [(p, [90]) for p in PROMPTS]
    unit = (vector() / vector().norm()).numpy()
    with intervened(lm, Addition(1, vector(size=2.0))), intervened(lm, Removal(1, vector())):
        inner = read_activations(lm, texts, [1]).mean_NLD
    assert abs(inner[:, 0] @ unit).max() < 1e-5


@pytest.mark.parametrize("layer", [0, 1, 3])
@pytest.mark.parametrize("order", ["plain first", "steered first"])
def test_lower_layers_that_are_kept_are_never_taken_for_those_of_another_intervention(layer, order):
    requests = [(p, [[90, 91, 92], [93]]) for p in PROMPTS]
    store = LowerLayers(first_layer=2)
    lm = make_lm()
    interventions = [(), (Addition(layer, vector(0)),), (Addition(layer, vector(1)),), (Removal(layer, vector(0)),)]
    settings = interventions if order == "plain first" else interventions[::-1]
    for _ in range(2):  # the second time everything could come from the store
        for own in settings:
            with intervened(lm, *own):
                kept = score_candidates(lm, requests, lower_layers=store)
                fresh = score_candidates(lm, requests)
                sampled, anew = samples(lm, lower_layers=store.of(lm)), samples(lm)
            for a, b in zip(kept, fresh, strict=True):
                assert [s.logprob for s in a] == pytest.approx([s.logprob for s in b], abs=1e-4)
            for a, b in zip(sampled, anew, strict=True):
                assert [c.token_ids for c in a.completions] == [c.token_ids for c in b.completions]


def test_a_store_that_was_taken_before_the_steering_began_serves_no_stale_layers():
    store, lm = LowerLayers(first_layer=2), make_lm()
    of = store.of(lm)
    plain = samples(lm, lower_layers=of)
    with intervened(lm, Addition(0, vector())):
        steered = samples(lm, lower_layers=of)
    assert farthest(steered, biased(lm, 0, vector())) < 1e-4
    assert farthest(plain, lm) < 1e-4


@pytest.mark.parametrize(
    ("one", "error"),
    [
        (Addition(4, torch.zeros(32)), IndexError),
        (Addition(0, torch.zeros(31)), ValueError),
        (Removal(0, torch.zeros(32)), ValueError),
        (Addition(0, torch.full((32,), float("nan"))), ValueError),
    ],
)
def test_a_vector_that_does_not_fit_is_refused(one, error):
    with pytest.raises(error), intervened(make_lm(), one):
        pass
