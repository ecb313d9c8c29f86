import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from steadfast.training.losses import advantages, is_dead, kl_k3, policy_loss, token_weights

rewards = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=10)


@given(rewards)
@example([0.8543862700462341] * 5)
def test_advantages_of_every_kind_sum_to_zero(values):
    for kind in ("grpo", "centered", "rloo"):
        assert float(advantages(torch.tensor(values), kind).sum()) == pytest.approx(0, abs=1e-3)


@given(rewards)
def test_rloo_is_the_reward_less_the_mean_of_the_others(values):
    tensor = torch.tensor(values, dtype=torch.float64)
    others = [(tensor.sum() - r) / (len(values) - 1) for r in tensor]
    torch.testing.assert_close(advantages(tensor, "rloo"), tensor - torch.stack(others))


def test_an_ungraded_completion_cannot_slip_in_as_a_number():
    with pytest.raises(ValueError, match="not finite"):
        advantages(torch.tensor([0.5, float("nan")]), "grpo")
    with pytest.raises(ValueError, match="two graded"):
        advantages(torch.tensor([0.5]), "grpo")


@pytest.mark.parametrize(("values", "dead"), [([0.5, 0.5, 0.5], True), ([0.5], True), ([], True), ([0.1, 0.2], False)])
def test_groups_without_variance_are_dead(values, dead):
    assert is_dead(values) is dead


def test_kl_estimate_is_zero_at_equality_never_negative_and_unbiased():
    torch.manual_seed(0)
    p, q = torch.log_softmax(torch.randn(50), 0), torch.log_softmax(torch.randn(50), 0)
    estimates = kl_k3(p, q)
    assert bool((estimates >= 0).all())
    assert bool((kl_k3(p, p) == 0).all())
    exact = (p.exp() * (p - q)).sum()
    torch.testing.assert_close((p.exp() * estimates).sum(), exact)


def test_weights_of_each_normalization_on_a_known_batch():
    same = {"batch_sequences": 2, "batch_tokens": 6, "max_tokens": 10}
    torch.testing.assert_close(token_weights([2, 4], "sequence", **same), torch.tensor([1 / 4] * 2 + [1 / 8] * 4))
    torch.testing.assert_close(token_weights([2, 4], "token", **same), torch.full((6,), 1 / 6))
    torch.testing.assert_close(token_weights([2, 4], "constant", **same), torch.full((6,), 1 / 20))


def loss(logprobs, old, advantage, **changes):
    lengths = [len(logprobs)]
    settings = {"clip_low": 0.2, "clip_high": 0.28} | changes
    return policy_loss(
        logprobs, old, torch.tensor([advantage]), lengths, torch.full((len(logprobs),), 1 / len(logprobs)), **settings
    )


def test_the_gradient_on_policy_is_the_advantage_times_the_score():
    logprobs = torch.tensor([-1.0, -2.0], requires_grad=True)
    loss(logprobs, logprobs.detach(), 3.0).loss.backward()
    torch.testing.assert_close(logprobs.grad, torch.tensor([-1.5, -1.5]))


def test_a_ratio_beyond_the_clip_gives_no_gradient_and_is_counted():
    old = torch.tensor([-2.0, -2.0])
    for shift, advantage in ((0.3, 1.0), (-0.3, -1.0)):
        logprobs = (old + torch.tensor([shift, 0.0])).requires_grad_()
        result = loss(logprobs, old, advantage)
        result.loss.backward()
        assert logprobs.grad[0] == 0
        assert logprobs.grad[1] != 0
        assert result.clipped_tokens == 1


def test_clip_higher_lets_a_rising_token_rise_further():
    old = torch.tensor([-2.0])
    logprobs = (old + 0.22).requires_grad_()  # ratio 1.246
    assert loss(logprobs, old, 1.0, clip_high=0.2).clipped_tokens == 1
    assert loss(logprobs, old, 1.0, clip_high=0.28).clipped_tokens == 0


def test_a_kl_weight_without_a_reference_is_an_error():
    with pytest.raises(ValueError, match="reference"):
        loss(torch.zeros(2), torch.zeros(2), 1.0, kl_coef=0.1)
