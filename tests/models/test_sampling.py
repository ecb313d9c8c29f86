import pytest
import torch

from steadfast.models.decoding import PackedDecoder
from steadfast.models.forward import completion_logprobs
from steadfast.models.packing import pack
from steadfast.models.sampling import sample_groups

PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13], [14, 15]]


def sample(lm, **changes):
    settings = {"group_size": 4, "max_new_tokens": 12, "eos_token_ids": [0], "temperature": 1.0, "seed": 3}
    return sample_groups(lm, PROMPTS, **{**settings, **changes})


def test_logprobs_and_hidden_states_of_a_rollout_are_those_of_the_training_pass(lm):
    for group in sample(lm, capture_layer=2, temperature=0.8):
        packed = pack(group.prompt, [c.token_ids for c in group.completions])
        sampled = torch.cat([c.logprobs_T for c in group.completions])
        whole = completion_logprobs(lm, packed, temperature=0.8)
        hidden_TD = packed.laid_out(group.hidden)
        top = completion_logprobs(lm, packed, temperature=0.8, hidden_TD=hidden_TD, first_layer=2)
        torch.testing.assert_close(sampled, whole, atol=2e-4, rtol=1e-4)
        torch.testing.assert_close(top, whole, atol=2e-4, rtol=1e-4)


def test_greedy_sampling_gives_what_transformers_generates(lm):
    for group in sample(lm, group_size=1, temperature=0.0, eos_token_ids=[]):
        ids = torch.tensor([group.prompt])
        expected = lm.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=-1,
            pad_token_id=0,
        )
        assert group.completions[0].token_ids == expected[0, len(group.prompt) :].tolist()


def test_a_seed_gives_the_same_completions_and_another_seed_others(lm):
    first, again, other = ([c.token_ids for g in sample(lm, seed=s) for c in g.completions] for s in (3, 3, 4))
    assert first == again
    assert first != other


def test_rows_that_finish_early_do_not_change_what_the_others_sample(lm):
    """Ending rows on frequent tokens compacts the batch; rows that never meet one must stay as they were."""
    free = [c for g in sample(lm, eos_token_ids=[]) for c in g.completions]
    stops = sorted({c.token_ids[2] for c in free})[:6]
    stopped = [c for g in sample(lm, eos_token_ids=stops) for c in g.completions]
    assert any(c.finished for c in stopped)
    for before, after in zip(free, stopped, strict=True):
        cut = next((i + 1 for i, t in enumerate(before.token_ids) if t in stops), len(before.token_ids))
        assert after.token_ids == before.token_ids[:cut]
        assert after.finished == (before.token_ids[cut - 1] in stops)


def test_each_prompt_keeps_its_own_limit(lm):
    groups = sample(lm, max_new_tokens=[2, 9, 5], eos_token_ids=[])
    assert [{len(c.token_ids) for c in g.completions} for g in groups] == [{2}, {9}, {5}]
    assert not any(c.finished for g in groups for c in g.completions)


def test_completions_are_one_row_of_the_decoder_until_they_part(lm, monkeypatch):
    sample(lm)  # the model's way of being read is found out first, by decoding too
    widths = []
    step = PackedDecoder.step

    def counted(self, tokens_B):
        widths.append(len(tokens_B))
        return step(self, tokens_B)

    monkeypatch.setattr(PackedDecoder, "step", counted)
    together = sample(lm, group_size=6, temperature=0.5, eos_token_ids=[])
    for step_number, width in enumerate(widths, start=1):
        states = {(i, *c.token_ids[:step_number]) for i, g in enumerate(together) for c in g.completions}
        assert len(states) <= width <= len(states) / 0.8
    assert widths[0] < 18
    widths.clear()
    sample(lm, group_size=6, temperature=0.0, eos_token_ids=[])
    assert set(widths) == {len(PROMPTS)}, "greedy completions of a prompt never part"


def test_what_a_completion_samples_does_not_depend_on_which_others_share_its_row(lm):
    group = sample_groups(
        lm, [PROMPTS[1]], group_size=8, max_new_tokens=10, eos_token_ids=[0], temperature=0.3, seed=5
    )[0]
    generator = torch.Generator().manual_seed(5)
    uniforms = torch.rand(8, 10, generator=generator)
    for own, completion in zip(uniforms, group.completions, strict=True):
        ids = list(PROMPTS[1])
        for number, (token, logprob) in enumerate(zip(completion.token_ids, completion.logprobs_T, strict=True)):
            with torch.no_grad():
                probabilities = torch.softmax(lm(torch.tensor([ids])).logits[0, -1] / 0.3, -1)
            cumulative = probabilities.cumsum(-1)
            assert int(torch.searchsorted(cumulative, own[number] * cumulative[-1], right=True)) == token
            assert float(logprob) == pytest.approx(float(probabilities[token].log()), abs=1e-4)
            ids.append(token)


def test_samples_follow_the_models_distribution(lm):
    with torch.no_grad():
        expected = torch.softmax(lm(torch.tensor([PROMPTS[0]])).logits[0, -1], -1)
    group = sample_groups(lm, [PROMPTS[0]], group_size=4000, max_new_tokens=1, eos_token_ids=[0], seed=1)[0]
    counts = torch.bincount(torch.tensor([c.token_ids[0] for c in group.completions]), minlength=260) / 4000
    assert float((counts - expected).abs().sum()) / 2 < 0.1


def test_an_empty_prompt_is_an_error(lm):
    with pytest.raises(ValueError, match="at least one token"):
        sample_groups(lm, [[]], group_size=1, max_new_tokens=1, eos_token_ids=[0])
