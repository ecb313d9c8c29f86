"""The advantages and policy losses of the GRPO family are pure functions on flat arrays of tokens.

One set of functions serves every engine. The names follow the papers, and the numbers agree with TRL's GRPOTrainer
(`tests/training/test_losses_against_trl.py`).

Array suffixes: S stands for sequences (completions), and N for the tokens of all sequences one after the other.

Sources:
    GRPO: Shao et al. 2024, arXiv:2402.03300. Dr. GRPO: Liu et al. 2025, arXiv:2503.20783.
    DAPO: Yu et al. 2025, arXiv:2503.14476. GSPO (sequence ratios): Zheng et al. 2025, arXiv:2507.18071.
    RLOO: Ahmadian et al. 2024, arXiv:2402.14740. k3: Schulman 2020, "Approximating KL divergence".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Advantage = Literal["grpo", "centered", "rloo"]
Normalization = Literal["sequence", "token", "constant"]
ImportanceLevel = Literal["token", "sequence"]

_STD_EPSILON = 1e-4
"""This keeps the division finite in a group of nearly equal rewards; the value is TRL's."""

DEAD_GROUP_SPREAD = 1e-6
"""A group whose rewards differ by less than this has no advantage to learn from."""


def is_dead(rewards: Sequence[float]) -> bool:
    """Return whether a group's rewards are all the same, so that the group teaches nothing."""
    return len(rewards) < 2 or max(rewards) - min(rewards) < DEAD_GROUP_SPREAD


def advantages(rewards_S: Tensor, kind: Advantage) -> Tensor:
    """Return the advantages [S] of one group of completions of the same prompt.

    Args:
        rewards_S: The rewards [S] of the group's graded completions.
        kind: How advantages are computed: "grpo" is (r - mean) / std, "centered" is r - mean (Dr. GRPO), and "rloo" is
            r minus the mean of the others.

    Raises:
        ValueError: There are fewer than two rewards, or a reward is not finite.
    """
    if rewards_S.numel() < 2:
        raise ValueError("a group needs two graded completions to have advantages")
    if not bool(torch.isfinite(rewards_S).all()):
        raise ValueError("a reward is not finite; an ungraded completion must be left out of its group")
    # In float64: rounding errors of nearly equal float32 rewards, divided by their tiny spread, would be advantages.
    rewards = rewards_S.double()
    centered = rewards - rewards.mean()
    if kind == "grpo":
        centered = centered / (rewards.std() + _STD_EPSILON)
    elif kind == "rloo":
        centered = centered * (rewards.numel() / (rewards.numel() - 1))
    return centered.to(rewards_S.dtype)


def token_weights(
    lengths: Sequence[int],
    normalization: Normalization,
    *,
    batch_sequences: int,
    batch_tokens: int,
    max_tokens: int,
) -> Tensor:
    """Return the weight [N] of each token's loss, such that the batch's loss is the weighted sum.

    The weights refer to the whole batch, so the loss may be summed group by group, and groups that are left out
    because they teach nothing count in the denominator just as if they had contributed their zero.

    Args:
        lengths: The number of tokens in each sequence at hand.
        normalization: How the loss is averaged: "sequence" takes the mean over a sequence's tokens, then over sequences
            (GRPO); "token" takes the mean over the batch's tokens (DAPO); "constant" divides the sum by the number of
            sequences times the limit (Dr. GRPO).
        batch_sequences: The number of sequences in the batch.
        batch_tokens: The number of tokens in the batch.
        max_tokens: The limit of a completion in tokens.
    """
    per_sequence = torch.tensor(lengths, dtype=torch.float32)
    if normalization == "sequence":
        weight_S = 1.0 / (per_sequence * batch_sequences)
    elif normalization == "token":
        weight_S = torch.full_like(per_sequence, 1.0 / batch_tokens)
    else:
        weight_S = torch.full_like(per_sequence, 1.0 / (batch_sequences * max_tokens))
    return weight_S.repeat_interleave(torch.tensor(lengths))


def kl_k3(logprobs_N: Tensor, reference_N: Tensor) -> Tensor:
    """Return Schulman's k3 estimate [N] of KL(policy || reference) per token: unbiased, and never negative."""
    difference = reference_N - logprobs_N
    return torch.exp(difference) - difference - 1.0


@dataclass(frozen=True)
class PolicyLoss:
    """The loss is a weighted sum over the tokens at hand; what is logged of it stands beside it.

    Attributes:
        loss: The loss as a scalar with its gradient.
        clipped_tokens: The number of tokens whose ratio left the clip range on the side that counts.
    """

    loss: Tensor
    clipped_tokens: int


def policy_loss(
    logprobs_N: Tensor,
    old_N: Tensor,
    advantages_S: Tensor,
    lengths: Sequence[int],
    weights_N: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    importance: ImportanceLevel = "token",
    reference_N: Tensor | None = None,
    kl_coef: float = 0.0,
) -> PolicyLoss:
    """Compute the clipped surrogate loss, with a KL penalty if one is asked for.

    Args:
        logprobs_N: The tokens' log-probabilities under the policy that is trained, with their gradient.
        old_N: Their log-probabilities under the policy that sampled them.
        advantages_S: One advantage for each sequence.
        lengths: The number of tokens in each sequence; they sum to N.
        weights_N: The weights that `token_weights` gives.
        clip_low: A ratio is clipped from below at 1 - clip_low.
        clip_high: A ratio is clipped from above at 1 + clip_high; a value above `clip_low` is DAPO's clip-higher.
        importance: Whether ratios are taken by token (GRPO) or by sequence (GSPO).
        reference_N: The tokens' log-probabilities under the model without its adapter.
        kl_coef: The weight of the KL penalty; it needs `reference_N`.

    Raises:
        ValueError: The shapes do not fit together, or there is a KL weight without a reference.
    """
    counts = torch.tensor(lengths, device=logprobs_N.device)
    if int(counts.sum()) != logprobs_N.numel() or len(lengths) != advantages_S.numel():
        raise ValueError("lengths must sum to the number of tokens and match the advantages")
    if kl_coef and reference_N is None:
        raise ValueError("a KL penalty needs the reference model's log-probabilities")
    advantage_N = advantages_S.repeat_interleave(counts)
    log_ratio_N = logprobs_N - old_N
    if importance == "sequence":
        means = torch.stack([part.mean() for part in log_ratio_N.split(list(lengths))])
        log_ratio_N = means.repeat_interleave(counts)
    ratio_N = torch.exp(log_ratio_N)
    clipped_N = ratio_N.clamp(1.0 - clip_low, 1.0 + clip_high)
    surrogate_N = torch.minimum(ratio_N * advantage_N, clipped_N * advantage_N)
    per_token_N = -surrogate_N
    if reference_N is not None and kl_coef:
        per_token_N = per_token_N + kl_coef * kl_k3(logprobs_N, reference_N)
    outside = ((ratio_N < 1.0 - clip_low) & (advantage_N < 0)) | ((ratio_N > 1.0 + clip_high) & (advantage_N > 0))
    return PolicyLoss((per_token_N * weights_N).sum(), int(outside.sum()))
