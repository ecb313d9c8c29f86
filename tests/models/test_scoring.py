"""Rows of like length in one batch score as each would alone."""

import random

import pytest
import torch

from steadfast.errors import UnsupportedModelError
from steadfast.models import score_candidates
from steadfast.models.lower_layers import LowerLayers
from steadfast.models.packing import pack
from steadfast.models.scoring import batches_by_length
from tests.conftest import make_lm


def random_requests(seed: int, count: int):
    rng = random.Random(seed)

    def tokens(low, high):
        return [rng.randrange(4, 260) for _ in range(rng.randint(low, high))]

    return [(tokens(3, 60), [tokens(1, 20) for _ in range(rng.randint(1, 4))]) for _ in range(count)]


def test_batched_scores_agree_with_rows_taken_one_by_one(lm):
    requests = random_requests(0, 24)
    alone = score_candidates(lm, requests, batch_tokens=1)
    batched = score_candidates(lm, requests)
    for first, second in zip(alone, batched, strict=True):
        assert [s.tokens for s in first] == [s.tokens for s in second]
        assert [s.logprob for s in second] == pytest.approx([s.logprob for s in first], abs=1e-4)


def test_batching_does_batch_here():
    lengths = [len(p) + sum(len(c) - 1 for c in cs) for p, cs in random_requests(0, 24)]
    assert max(len(b) for b in batches_by_length(lengths, 768)) > 1


def test_a_batch_keeps_within_its_tokens_and_its_padding_and_every_row_is_in_one():
    lengths = [random.Random(1).randint(5, 400) for _ in range(50)] + [5, 90, 91, 92, 93, 1000]
    batches = batches_by_length(lengths, 400)
    assert sorted(i for b in batches for i in b) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or len(batch) * longest <= 400
        assert min(lengths[i] for i in batch) >= 0.85 * longest


def test_progress_is_told_once_a_request(lm):
    done = []
    score_candidates(lm, random_requests(2, 9), on_done=lambda: done.append(1))
    assert len(done) == 9


def with_another_top(first_layer: int):
    """A copy of the tiny model whose layers differ from `first_layer` on, as a checkpoint's would."""
    other = make_lm()
    with torch.no_grad():
        for layer in other.model.layers[first_layer:]:
            for parameter in layer.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return other


def test_checkpoints_that_share_their_lower_layers_score_the_same_and_compute_them_once(lm):
    requests, shared, other = random_requests(3, 12), LowerLayers(2), with_another_top(2)
    calls = []
    other.model.layers[0].register_forward_hook(lambda *_: calls.append(1))
    expected = score_candidates(other, requests)
    computed = len(calls)
    assert score_candidates(lm, requests, lower_layers=shared) == score_candidates(lm, requests)
    assert score_candidates(other, requests, lower_layers=shared) == expected != score_candidates(lm, requests)
    assert len(calls) == computed


def test_rows_of_the_same_tokens_in_another_tree_are_told_apart_in_what_is_kept(lm):
    """Laid out, [5], [6], [5, 7] and [5], [6, 7] are the same tokens in the same order at the same positions."""
    shared, prompt = LowerLayers(2), (1, 2, 3)
    one, other = [[5, 9], [6, 9], [5, 7, 9]], [[5, 9], [6, 7, 9]]
    packs = [pack(prompt, replies) for replies in (one, other)]
    assert packs[0].input_ids_T.tolist() == packs[1].input_ids_T.tolist()
    assert packs[0].position_ids_T.tolist() == packs[1].position_ids_T.tolist()
    for replies in (one, other):
        kept = score_candidates(lm, [(prompt, replies)], lower_layers=shared)
        assert kept == score_candidates(lm, [(prompt, replies)])


def test_lower_layers_beyond_the_limit_are_computed_again(lm):
    requests, other = random_requests(3, 12), with_another_top(2)
    shared = LowerLayers(2, limit=20_000)
    score_candidates(lm, requests, lower_layers=shared)
    assert score_candidates(other, requests, lower_layers=shared) == score_candidates(other, requests)


def test_what_is_kept_of_one_model_never_serves_another(lm):
    """Not even one that was the same model until its lower weights changed in place, as merging an adapter does."""
    requests, shared = random_requests(3, 12), LowerLayers(2)
    before = score_candidates(lm, requests, lower_layers=shared)
    for weight in (lm.model.layers[1].mlp.up_proj.weight, lm.model.embed_tokens.weight):
        weight.data += 0.1
        now = score_candidates(lm, requests, lower_layers=shared)
        assert now == score_candidates(lm, requests) != before
        before = now


def test_no_requests_no_scores(lm):
    assert score_candidates(lm, []) == []


@pytest.mark.slow
def test_batched_scores_agree_on_the_default_model_with_prepacked_layers():
    from steadfast.models import load_model
    from steadfast.models.prepack import prepack_frozen_linears
    from steadfast.tasks.suite import shipped_suite

    loaded = load_model()
    requests = [
        (
            loaded.chat.encode(t.messages),
            [loaded.chat.encode_reply(r) for r in (*t.references.good, *t.references.bad)],
        )
        for t in shipped_suite("health-triage").tasks[:6]
    ]
    alone = score_candidates(loaded.lm, requests, batch_tokens=1)
    prepack_frozen_linears(loaded.lm)
    for first, second in zip(alone, score_candidates(loaded.lm, requests), strict=True):
        assert [s.per_token for s in second] == pytest.approx([s.per_token for s in first], abs=1e-4)


def test_a_reply_whose_likelihood_is_no_finite_number_is_refused(lm):
    with torch.no_grad():
        lm.lm_head.weight[7] = 1e38
    requests = [([1, 2, 3], [[4, 5], [4, 7]])]
    with pytest.raises(UnsupportedModelError, match="log-probability that is not finite"):
        score_candidates(lm, requests, path="packed")
