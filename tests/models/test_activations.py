"""The residual stream is read as transformers gives it, whatever the batch, and with an adapter applied."""

import numpy as np
import pytest
import torch

from steadfast.errors import UnsupportedModelError
from steadfast.models.activations import read_activations
from steadfast.models.adapters import applied
from steadfast.models.lower_layers import KeptLowerLayers, LowerLayers
from steadfast.models.policy import AdapterConfig, add_adapter
from tests.conftest import make_lm, make_tokenizer
from tests.models.architectures import tiny

TEXTS = [
    ([5, 9, 17, 33, 65], [70, 71, 72]),
    ([5, 9, 17], [80, 81, 82, 83, 84, 85, 86]),
    ([200, 201, 202, 203], [90]),
    ([7] * 30, [40, 41, 42, 43]),
]
LAYERS = (0, 2)


def by_hand(lm, prompt, reply, layer):
    with torch.no_grad():
        states = lm(input_ids=torch.tensor([[*prompt, *reply]]), output_hidden_states=True).hidden_states
    return states[layer + 1][0, len(prompt) :].float().numpy()


@pytest.mark.parametrize("name", ["Llama", "Gemma-2", "Mistral", "LFM2", "Qwen3-Next"])
@pytest.mark.parametrize("batch_tokens", [1, 2048])
def test_activations_are_transformers_own_whatever_the_batch(name, batch_tokens):
    lm = tiny(name)
    found = read_activations(lm, TEXTS, LAYERS, batch_tokens=batch_tokens)
    for i, (prompt, reply) in enumerate(TEXTS):
        for place, layer in enumerate(LAYERS):
            expected = by_hand(lm, prompt, reply, layer)
            scale = np.abs(expected).max()
            assert np.abs(found.mean_NLD[i, place] - expected.mean(0)).max() < 1e-5 * scale
            assert np.abs(found.last_NLD[i, place] - expected[-1]).max() < 1e-5 * scale
            assert found.norm_NL[i, place] == pytest.approx(np.linalg.norm(expected, axis=1).mean(), rel=1e-5)


def adapter_in(lm, folder):
    """Save a random adapter of the model's layers 2 and 3."""
    policy = add_adapter(lm, make_tokenizer(), AdapterConfig(rank=2, layers=2), seed=0)
    with torch.no_grad():
        for parameter in policy.trainable():
            parameter.normal_(std=0.3)
    policy.save(folder)
    policy.release()


def test_a_model_whose_layers_lie_elsewhere_is_refused():
    with pytest.raises(UnsupportedModelError, match="under another name than `layers`"):
        read_activations(tiny("Bloom"), TEXTS, LAYERS)


def test_an_adapter_that_is_applied_is_read_and_gone_again_afterwards(tmp_path):
    lm = make_lm()
    adapter_in(lm, tmp_path)
    before = read_activations(lm, TEXTS, [1, 3])
    with applied(lm, tmp_path):
        changed = read_activations(lm, TEXTS, [1, 3])
    after = read_activations(lm, TEXTS, [1, 3])
    assert (changed.mean_NLD[:, 0] == before.mean_NLD[:, 0]).all(), "the adapter lies in layers 2 and 3 alone"
    assert np.abs(changed.mean_NLD[:, 1] - before.mean_NLD[:, 1]).max() > 0.01
    assert (after.mean_NLD == before.mean_NLD).all()


@pytest.mark.parametrize("layers", [(0, 1), (2, 3), (0, 2, 3)])
def test_checkpoints_that_share_their_lower_layers_read_the_same_as_each_alone(layers, tmp_path, monkeypatch):
    lm, store = make_lm(), LowerLayers(first_layer=2)
    adapter_in(lm, tmp_path)
    alone = [read_activations(lm, TEXTS, layers)]
    shared = [read_activations(lm, TEXTS, layers, lower_layers=store)]
    with applied(lm, tmp_path):
        alone.append(read_activations(lm, TEXTS, layers))
        with monkeypatch.context() as without:
            without.setitem(lm.model.layers[0].__dict__, "forward", None)  # it is not needed any more
            shared.append(read_activations(lm, TEXTS, layers, lower_layers=_Checked(store)))
    for a, b in zip(alone, shared, strict=True):
        for key in ("mean_NLD", "last_NLD", "norm_NL"):
            assert np.abs(getattr(a, key) - getattr(b, key)).max() < 1e-4


class _Checked:
    """A store whose model was checked already, so that the check runs no layer."""

    def __init__(self, store):
        self.of = lambda lm: KeptLowerLayers(store, next(iter(store._fits)))


@pytest.mark.parametrize(
    ("texts", "layers", "error"),
    [([], [0], ValueError), (TEXTS, [], ValueError), ([([1], [])], [0], ValueError), (TEXTS, [4], IndexError)],
)
def test_what_cannot_be_read_is_refused(texts, layers, error):
    with pytest.raises(error):
        read_activations(make_lm(), texts, layers)
