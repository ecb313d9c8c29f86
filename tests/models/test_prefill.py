"""Prompts that are read together give what each gives alone, and what they share is computed once."""

import random

import pytest
import torch

from steadfast.models import prefill as reading
from steadfast.models.lower_layers import LowerLayers
from steadfast.models.packing import pack_prompts
from steadfast.models.prefill import prefill
from steadfast.models.sampling import sample_groups
from tests.models.architectures import tiny
from tests.models.test_scoring import with_another_top

SHARING = [
    [5, 6, 7, 8, 9, 10, 11],
    [5, 6, 7, 8, 30, 31],
    [5, 6, 7],
    [5, 6, 7, 8, 9, 10, 11],
    [40, 41, 42, 43],
    [5, 6, 50, 51, 52, 53, 54, 55],
]


def test_a_row_of_prompts_holds_every_beginning_once():
    packed = pack_prompts(sorted(SHARING))
    assert len(packed.input_ids_T) == 3 + 4 + 2 + 6 + 4
    for prompt, places in zip(sorted(SHARING), packed.places, strict=True):
        assert packed.input_ids_T[places].tolist() == prompt
        assert packed.position_ids_T[places].tolist() == list(range(len(prompt)))
        for position, place in enumerate(places):
            assert packed.mask_TT[place].nonzero()[:, 0].tolist() == places[: position + 1].tolist()


@pytest.mark.parametrize("name", ["Llama", "Mistral", "Gemma-2", "gpt-oss", "GPT-NeoX"])
@torch.no_grad()
def test_prompts_read_together_give_what_each_gives_alone(name):
    lm = tiny(name)
    rng = random.Random(0)
    start = [rng.randrange(4, 100) for _ in range(20)]
    prompts = [start[:k] + [rng.randrange(4, 100) for _ in range(9)] for k in (0, 4, 12, 12, 19)]
    for prompt, together in zip(prompts, prefill(lm, prompts, capture_layer=1), strict=True):
        (alone,) = prefill(lm, [prompt], capture_layer=1)
        torch.testing.assert_close(together.logits_V, alone.logits_V, atol=2e-4, rtol=1e-4)
        torch.testing.assert_close(together.hidden_SD, alone.hidden_SD, atol=2e-4, rtol=1e-4)
        for (keys, values), (own_keys, own_values) in zip(together.layers, alone.layers, strict=True):
            torch.testing.assert_close(keys[:, :, together.places], own_keys, atol=2e-4, rtol=1e-4)
            torch.testing.assert_close(values[:, :, together.places], own_values, atol=2e-4, rtol=1e-4)


def test_no_row_is_longer_than_it_may_be_unless_a_prompt_is(monkeypatch):
    monkeypatch.setattr(reading, "_ROW_TOKENS", 10)
    rows = reading._rows([*SHARING, list(range(60, 90))])
    assert sorted(i for row in rows for i in row) == list(range(7))
    for row in rows:
        packed = pack_prompts([[*SHARING, list(range(60, 90))][i] for i in row])
        assert len(packed.input_ids_T) <= 10 or len(row) == 1
    assert max(map(len, rows)) > 1


def answers(lm, shared=None):
    """Greedy answers of a model, with what the layers below made of the prompts kept for others."""
    kept = None if shared is None else shared.of(lm)
    groups = sample_groups(
        lm, SHARING, group_size=1, max_new_tokens=8, eos_token_ids=[], temperature=0, lower_layers=kept
    )
    return [g.completions[0].token_ids for g in groups]


def test_checkpoints_that_share_their_lower_layers_answer_the_same_and_read_prompts_with_the_upper_ones_alone(lm):
    shared, other = LowerLayers(2), with_another_top(2)
    read = []
    other.model.layers[0].register_forward_hook(lambda _m, args, _out: read.append(args[0].shape[1]))
    expected = answers(other)
    assert max(read) > 1  # the prompts' tokens, before those of the answers one by one
    assert answers(lm, shared) == answers(lm) != expected
    read.clear()
    of_other = shared.of(other)
    read.clear()  # `of` tries the model once
    groups = sample_groups(
        other, SHARING, group_size=1, max_new_tokens=8, eos_token_ids=[], temperature=0, lower_layers=of_other
    )
    assert [g.completions[0].token_ids for g in groups] == expected
    assert set(read) == {1}


def test_what_is_kept_of_one_model_never_answers_for_another(lm):
    shared = LowerLayers(2)
    before = answers(lm, shared)
    lm.model.layers[1].mlp.up_proj.weight.data += 0.5
    assert answers(lm, shared) == answers(lm) != before
