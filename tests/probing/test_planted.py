"""The whole path on a planted case: a model that is steered by a known vector is found out."""

import copy

import numpy as np
import pytest
import torch

from steadfast.models.activations import read_activations
from steadfast.models.interventions import Addition, Removal, intervened
from steadfast.models.scoring import score_candidates
from steadfast.probing.directions import (
    PairSet,
    cosine,
    null_of,
    random_directions,
    shuffled_directions,
    tried_on,
)
from steadfast.probing.shifts import projection
from tests.conftest import make_lm

LAYER, PAIRS = 1, 80


def with_bias(lm, vector_D):
    """The model with the vector as a bias of its layer's last linear map: it is in the weights, without a hook."""
    steered = copy.deepcopy(lm)
    mlp = steered.model.layers[LAYER].mlp
    plain = mlp.down_proj
    mlp.down_proj = torch.nn.Linear(plain.in_features, plain.out_features, bias=True)
    mlp.down_proj.weight, mlp.down_proj.bias = plain.weight, torch.nn.Parameter(vector_D.clone())
    return steered.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def planted():
    """Bad replies as the plain model reads them, good ones as the steered model does; all are random tokens."""
    lm, rng = make_lm(), np.random.default_rng(0)
    texts = [
        (rng.integers(4, 260, 12).tolist(), rng.integers(4, 260, rng.integers(4, 12)).tolist())
        for _ in range(2 * PAIRS)
    ]
    plain = read_activations(lm, texts, range(4))
    drawn = torch.randn(32, generator=torch.Generator().manual_seed(5))
    vector_D = drawn / drawn.norm() * float(plain.norm_NL[:, LAYER].mean())
    steered = with_bias(lm, vector_D)
    found = read_activations(steered, texts[:PAIRS], range(4))
    tokens = np.array([float(len(reply)) for _, reply in texts])
    pairs = PairSet(
        "planted",
        tuple(f"pair-{i}" for i in range(PAIRS)),
        found.mean_NLD,
        plain.mean_NLD[PAIRS:],
        tokens[:PAIRS],
        tokens[PAIRS:],
    )
    return lm, steered, texts, pairs, vector_D, plain


def test_the_recovered_direction_is_the_planted_one_and_tells_unseen_texts_apart(planted):
    _, _, _, pairs, vector_D, _ = planted
    make, tried = pairs.half("make"), pairs.half("try")
    own = make.direction(LAYER)
    assert cosine(own, vector_D.numpy().astype(float)) > 0.9
    found = tried_on(own, tried, LAYER)
    assert found.auc > 0.9
    assert found.low > 0.8
    for nothing in (
        random_directions(200, 32, np.random.default_rng(1)),
        shuffled_directions(make, LAYER, 200, np.random.default_rng(2)),
    ):
        null = null_of(nothing, make, tried, LAYER, found.auc)
        # In 32 features any direction has a sixth of the planted one in it, so chance reaches more than a half.
        assert null.mean < found.auc - 0.15
        assert null.p < 0.05
        assert np.abs(nothing @ vector_D.numpy()).mean() / float(vector_D.norm()) < 0.4


def test_before_the_planted_layer_there_is_nothing_to_find(planted):
    _, _, _, pairs, _, _ = planted
    found = tried_on(pairs.half("make").direction(0), pairs.half("try"), 0)
    assert found.low < 0.5 < found.high


def test_the_steered_checkpoint_moved_along_the_planted_direction_on_fixed_texts(planted):
    _, _, _, pairs, vector_D, plain = planted
    moved = pairs.good_NLD[:, LAYER] - plain.mean_NLD[:PAIRS, LAYER]
    direction = pairs.half("make").direction(LAYER)
    found = projection(
        moved, direction, random_directions(200, 32, np.random.default_rng(3)), 1.0, [str(i) for i in range(len(moved))]
    )
    assert found.cosine > 0.9
    assert found.gaps == pytest.approx(1, abs=0.2)
    assert found.chance < 0.6
    assert np.abs(moved - vector_D.numpy()).max() < 1e-4, "the weights' change alone, the texts being the same"


def test_taking_the_recovered_direction_out_undoes_more_of_the_steering_than_random_directions_do(planted):
    lm, steered, texts, pairs, _, _ = planted
    own = torch.tensor(pairs.half("make").direction(LAYER), dtype=torch.float32)
    requests = [(prompt, [reply]) for prompt, reply in texts[:12]]

    def change(model, *interventions):
        with intervened(model, *interventions):
            return np.array([s[0].per_token for s in score_candidates(model, requests)])

    def distance(direction_D):
        return np.abs(change(steered, Removal(LAYER, direction_D)) - change(lm, Removal(LAYER, direction_D))).mean()

    untouched = np.abs(change(steered) - change(lm)).mean()
    random = [distance(torch.randn(32, generator=torch.Generator().manual_seed(i))) for i in range(3)]
    assert distance(own) < 0.5 * untouched
    assert distance(own) < 0.5 * min(random)


def test_adding_the_planted_vector_to_the_plain_model_gives_the_steered_one(planted):
    lm, steered, texts, _, vector_D, _ = planted
    requests = [(prompt, [reply]) for prompt, reply in texts[:12]]
    with intervened(lm, Addition(LAYER, vector_D)):
        added = [s[0].logprob for s in score_candidates(lm, requests)]
    assert added == pytest.approx([s[0].logprob for s in score_candidates(steered, requests)], abs=1e-3)
