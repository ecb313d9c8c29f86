import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steadfast.models.forward import captured_input, completion_logits, token_logprobs
from steadfast.models.packing import pack
from tests.conftest import make_lm

tokens = st.lists(st.integers(4, 259), min_size=1, max_size=7)


def alone(lm, prompt, completion):
    """Log-probabilities of one completion computed the plain way."""
    ids = torch.tensor([[*prompt, *completion]])
    logits = lm(input_ids=ids).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits.float(), -1).gather(-1, torch.tensor(completion)[:, None])[:, 0]


@settings(max_examples=25, deadline=None)
@given(prompt=tokens, completions=st.lists(tokens, min_size=1, max_size=4))
@torch.no_grad()
def test_a_packed_completion_gets_the_logprobs_it_gets_alone(prompt, completions):
    lm = make_lm()
    packed = pack(prompt, completions)
    together = token_logprobs(completion_logits(lm, packed), packed.target_N)
    expected = torch.cat([alone(lm, prompt, c) for c in completions])
    torch.testing.assert_close(together, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_starting_at_a_layer_from_its_cached_input_changes_nothing(lm):
    packed = pack([5, 6, 7, 8], [[9, 10, 11], [12], [13, 14]])
    with captured_input(lm, 2) as captured:
        whole = completion_logits(lm, packed)
    short = completion_logits(lm, packed, hidden_TD=captured[0][0], first_layer=2)
    torch.testing.assert_close(short, whole)
    assert len(lm.model.layers) == 4, "the layers must be back in place"


def test_only_completion_positions_reach_the_vocabulary(lm):
    packed = pack([5] * 40, [[9, 10, 11], [12, 13]])
    assert completion_logits(lm, packed).shape == (5, 260)


@pytest.mark.parametrize(("prompt", "completions"), [([], [[1]]), ([1], []), ([1], [[2], []])])
def test_packing_nothing_is_an_error(prompt, completions):
    with pytest.raises(ValueError, match="at least one token"):
        pack(prompt, completions)


def test_temperature_divides_the_logits():
    logits = torch.randn(3, 11)
    target = torch.tensor([1, 5, 9])
    expected = torch.log_softmax(logits / 0.7, -1).gather(-1, target[:, None])[:, 0]
    torch.testing.assert_close(token_logprobs(logits, target, 0.7), expected)
