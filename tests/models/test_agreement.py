"""Every architecture gives the log-probabilities of its plain forward pass, whichever way it takes, or is refused."""

import copy

import pytest
import torch
from transformers import MiniMaxConfig, MiniMaxForCausalLM

from steadfast.errors import UnsupportedModelError
from steadfast.models.agreement import agreement_of, check_agreement, path_of
from steadfast.models.forward import can_start_at, completion_logprobs, token_logprobs
from steadfast.models.lower_layers import LowerLayers
from steadfast.models.packing import pack
from steadfast.models.sampling import sample_groups
from steadfast.models.scoring import score_candidates
from tests.models.architectures import ARCHITECTURES, SHAPE, tiny, tiny_gemma3_with_vision

CARRIES_STATE = {"LFM2", "Qwen3-Next", "Qwen3.5", "Granite hybrid", "Nemotron-H", "Mamba-2"}
OWN_MASKS_OR_POSITIONS = {"Falcon with alibi", "Bloom", "GPT-Neo"}
NATS = 1e-3


def random_tokens(*lengths: int):
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(4, 250, (n,), generator=generator).tolist() for n in lengths]


PROMPT, SHORTER = random_tokens(60, 47)
REPLIES = random_tokens(12, 12, 12, 12)[1:]


@pytest.fixture(scope="module", params=[*ARCHITECTURES, "Gemma-3 with vision"])
def model(request):
    return request.param, tiny(request.param) if request.param in ARCHITECTURES else tiny_gemma3_with_vision()


@torch.no_grad()
def plainly(lm, prompt, reply):
    logits = lm(input_ids=torch.tensor([[*prompt, *reply]]), use_cache=False).logits[0, len(prompt) - 1 : -1]
    return float(token_logprobs(logits, torch.tensor(reply)).sum())


@torch.no_grad()
def test_packed_replies_have_the_log_probabilities_they_have_alone(model):
    packed = pack(PROMPT, REPLIES)
    logprobs = completion_logprobs(model[1], packed).split(packed.lengths)
    expected = [plainly(model[1], PROMPT, r) for r in REPLIES]
    assert [float(p.sum()) for p in logprobs] == pytest.approx(expected, abs=NATS)


def test_replies_scored_in_batches_of_other_lengths_have_the_log_probabilities_they_have_alone(model):
    scores = score_candidates(model[1], [(PROMPT, REPLIES), (SHORTER, REPLIES[:2]), (SHORTER[:45], REPLIES)])
    expected = [[plainly(model[1], p, r) for r in own] for p, own in [(PROMPT, REPLIES), (SHORTER, REPLIES[:2])]]
    assert [s.logprob for s in scores[0]] == pytest.approx(expected[0], abs=NATS)
    assert [s.logprob for s in scores[1]] == pytest.approx(expected[1], abs=NATS)


def test_sampled_replies_have_the_log_probabilities_they_have_alone(model):
    groups = sample_groups(
        model[1], [PROMPT, SHORTER], group_size=3, max_new_tokens=12, eos_token_ids=list(range(0, 250, 25))
    )
    for group in groups:
        for completion in group.completions:
            expected = plainly(model[1], group.prompt, completion.token_ids)
            assert float(completion.logprobs_T.sum()) == pytest.approx(expected, abs=NATS)


def test_models_that_carry_state_or_make_their_own_masks_are_not_packed_and_the_others_are(model):
    name, lm = model
    found = check_agreement(lm, prompt_tokens=60)
    assert found.path == path_of(lm) == ("unpacked" if name in CARRIES_STATE | OWN_MASKS_OR_POSITIONS else "packed")
    assert max(found.scored, found.sampled, found.rows or 0.0) <= NATS
    assert (found.packed > 10 * NATS) == (found.path == "unpacked")
    assert found.cached


@pytest.mark.parametrize("name", ["Mistral", "Gemma-3"])
def test_a_window_of_thousands_of_positions_is_crossed_by_a_short_prompt(name):
    lm = tiny(name, sliding_window=4096, max_position_embeddings=8192)
    found = check_agreement(lm)
    assert (found.window, found.window_crossed, found.path) == (4096, True, "packed")
    assert lm.config.sliding_window == 4096, "the model's own window must be back"


def test_a_model_whose_windows_we_would_drop_is_found_out(monkeypatch):
    monkeypatch.setattr("steadfast.models.masks._SIZE_OF", {})
    monkeypatch.setattr("steadfast.models.masks.mask_kinds", lambda _: ["full_attention"])
    assert check_agreement(tiny("Mistral")).packed > 0.1


@pytest.mark.parametrize("name", ["Llama", "Mistral", "Qwen3.5"])
def test_half_precision_takes_the_path_that_float32_takes(name):
    lm = tiny(name).to(torch.bfloat16)
    found = check_agreement(lm)
    assert found.path == path_of(tiny(name))
    assert found.in_float32 is not None
    assert (found.in_float32 <= NATS) == (found.path == "packed")
    assert lm.dtype == torch.bfloat16
    assert len(lm.get_decoder().layers) == 4


def test_a_model_is_checked_once(lm):
    calls = []
    lm.model.layers[0].register_forward_hook(lambda *_: calls.append(1))
    first = agreement_of(lm)
    assert calls
    calls.clear()
    assert agreement_of(lm) is first
    assert not calls


def test_the_check_leaves_the_model_in_training_mode_and_the_random_state_alone(lm):
    lm.train()
    before = torch.get_rng_state()
    check_agreement(lm)
    assert lm.training
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_with_damaged_weights_is_refused_by_name(lm):
    with torch.no_grad():
        lm.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(UnsupportedModelError, match=r"LlamaForCausalLM .* not finite"):
        path_of(lm)


def test_a_model_whose_cache_forgets_is_sampled_without_it():
    lm = tiny("Qwen3.5")
    linear = lm.model.layers[0].linear_attn
    whole = linear.forward

    def forgetful(hidden_states, **arguments):
        return whole(hidden_states, **{**arguments, "cache_params": None})

    linear.forward = forgetful
    found = check_agreement(lm)
    assert (found.path, found.cached) == ("unpacked", False)
    assert found.sampled <= NATS


def test_a_model_that_sees_ahead_is_refused_by_name(lm):
    """Its reply's log-probabilities depend on what follows, so a shorter row beside a longer one cannot be right."""
    layer = lm.model.layers[0]
    whole = layer.forward

    def looks_ahead(hidden_states, **arguments):
        return whole(hidden_states, **arguments) + hidden_states.mean(dim=1, keepdim=True)

    layer.forward = looks_ahead
    with pytest.raises(UnsupportedModelError, match=r"LlamaForCausalLM is not supported.*nats a reply"):
        check_agreement(lm)


@pytest.mark.parametrize("name", ["Llama", "Qwen3", "Mistral", "Gemma-3", "gpt-oss", "Olmo-3"])
@torch.no_grad()
def test_a_model_started_at_an_odd_layer_keeps_each_layers_own_window(name):
    lm = tiny(name)
    assert can_start_at(lm, 1)
    groups = sample_groups(lm, [PROMPT], group_size=3, max_new_tokens=12, eos_token_ids=[], capture_layer=1)
    packed = pack(PROMPT, [c.token_ids for c in groups[0].completions])
    short = completion_logprobs(lm, packed, hidden_TD=packed.laid_out(groups[0].hidden), first_layer=1)
    torch.testing.assert_close(short, completion_logprobs(lm, packed), atol=1e-4, rtol=1e-4)
    shared = LowerLayers(1)
    expected = score_candidates(lm, [(PROMPT, REPLIES)])
    for _ in range(2):
        [again] = score_candidates(lm, [(PROMPT, REPLIES)], lower_layers=shared)
        assert [s.logprob for s in again] == pytest.approx([s.logprob for s in expected[0]], abs=NATS)


@pytest.mark.parametrize("name", ["LFM2", "Nemotron-H", "GPT-2"])
def test_models_that_cannot_be_cut_score_as_they_do_without_lower_layers(name):
    lm = tiny(name)
    assert not can_start_at(lm, 1)
    requests = [(PROMPT, REPLIES)]
    assert score_candidates(lm, requests, lower_layers=LowerLayers(1)) == score_candidates(lm, requests)


def test_an_unpacked_model_keeps_no_hidden_states_and_trains_from_token_ids():
    lm = tiny("LFM2").requires_grad_(True)
    [group] = sample_groups(lm, [PROMPT], group_size=2, max_new_tokens=5, eos_token_ids=[], capture_layer=2)
    assert group.hidden is None
    packed = pack(PROMPT, [c.token_ids for c in group.completions])
    completion_logprobs(lm, packed).sum().backward()
    alone = copy.deepcopy(lm)
    alone.zero_grad()
    for completion in group.completions:
        logits = alone(input_ids=torch.tensor([[*PROMPT, *completion.token_ids]]), use_cache=False).logits
        reply = torch.tensor(completion.token_ids)
        token_logprobs(logits[0, len(PROMPT) - 1 : -1], reply).sum().backward()
    for ours, plain in zip(lm.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, plain.grad, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["Mistral", "Qwen3.5"])
def test_rows_that_finish_early_do_not_change_what_the_others_sample(name):
    lm = tiny(name)

    def sample(eos):
        groups = sample_groups(lm, [PROMPT, SHORTER], group_size=4, max_new_tokens=12, eos_token_ids=eos, seed=3)
        return [c.token_ids for g in groups for c in g.completions]

    free = sample([])
    stops = sorted({tokens[2] for tokens in free})[:4]
    for before, after in zip(free, sample(stops), strict=True):
        cut = next((i + 1 for i, t in enumerate(before) if t in stops), len(before))
        assert after == before[:cut]


def test_a_cache_whose_rows_cannot_be_dropped_is_not_used():
    # Its linear layers keep a state that `reorder_cache` passes over: a row that ends would leave it to another.
    torch.manual_seed(0)
    layers = {"layer_types": ["linear_attention", "full_attention"], "num_hidden_layers": 2}
    experts = {"num_local_experts": 2, "num_experts_per_tok": 1, "head_dim": 8}
    lm = MiniMaxForCausalLM(MiniMaxConfig(**{**SHAPE, **experts, **layers})).eval()
    found = check_agreement(lm)
    assert (found.path, found.cached) == ("unpacked", False)
