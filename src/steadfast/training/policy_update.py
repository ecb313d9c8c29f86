"""The update of a step: which rollouts go through the model together, their log-probabilities, and the loss.

Array suffixes: S stands for sequences, N for trained tokens, T for the tokens of a packed row, and D for features.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean

import torch
from torch import Tensor

from steadfast.models.forward import completion_logprobs
from steadfast.models.packing import Pack, Span, pack_sequences, shared_out
from steadfast.models.policy import Policy
from steadfast.rollouts import Rollout
from steadfast.training.config import TrainingConfig
from steadfast.training.descent import descend, refuse_not_finite
from steadfast.training.groups import GradedGroup, trained_segments, trained_tokens
from steadfast.training.losses import PolicyLoss, advantages, is_dead, kl_k3, policy_loss, token_weights

_PASS_TOKENS = 512
"""Groups go through the model together up to this many tokens: a row's attention grows with their square."""


@dataclass(frozen=True)
class _Pass:
    """What goes through the model at once: rollouts of one or more groups.

    Attributes:
        packed: Their tokens as one row.
        lengths: The number of trained tokens of each rollout.
        hidden_TD: What enters the first adapted layer for the row; None if it was not kept.
        old_N: The log-probabilities that the rollouts were sampled with.
    """

    packed: Pack
    lengths: list[int]
    hidden_TD: Tensor | None
    old_N: Tensor

    def logprobs(self, policy: Policy, temperature: float) -> Tensor:
        """Return the log-probabilities [N] of the trained tokens under a policy."""
        return completion_logprobs(
            policy.lm,
            self.packed,
            temperature=temperature,
            hidden_TD=self.hidden_TD,
            first_layer=policy.first_adapted_layer,
        )

    @torch.no_grad()
    def reference(self, policy: Policy, temperature: float) -> Tensor:
        """Return the log-probabilities [N] under the model without its adapter."""
        with policy.untrained():
            return self.logprobs(policy, temperature)


@dataclass(frozen=True)
class _Batch:
    """A pass of the update, with what its loss needs.

    Attributes:
        made: The pass.
        advantages_S: The advantage of each rollout.
        weights_N: The weight of each token's loss.
        reference_N: The log-probabilities under the model without its adapter; None if there is no KL penalty.
        ones_N: True for the tokens of one rollout of each group.
    """

    made: _Pass
    advantages_S: Tensor
    weights_N: Tensor
    reference_N: Tensor | None
    ones_N: Tensor


def update(
    policy: Policy, optimizer: torch.optim.Optimizer, groups: Sequence[GradedGroup], config: TrainingConfig
) -> dict[str, float]:
    """Take one batch of rollouts through the loss and the optimizer, and return what is to be logged.

    Groups without variance in their rewards cost no pass, since their advantages are zero.

    Raises:
        TrainingError: A log-probability, a loss, a gradient or a weight is not finite.
    """
    live = [g for g in groups if not is_dead(g.learned_rewards)]
    dead = [g for g in groups if is_dead(g.learned_rewards)]
    sequences = sum(len(g.graded) for g in groups)
    tokens = sum(trained_tokens(r) for g in groups for r in g.kept)
    batches = [_batch(policy, together, config, sequences, tokens) for together in _together(live)]
    kl = _mean_kl(policy, batches, dead, config) if config.kl_coef else measure_kl(policy, groups, config)
    refuse_not_finite("log-probability", kl)
    losses, norm, clipped = [], 0.0, 0
    for _ in range(config.updates_per_rollout if batches else 0):
        results: list[PolicyLoss] = []
        loss, norm = descend(policy, optimizer, _each_loss(policy, batches, config, results), config.max_grad_norm)
        losses.append(loss)
        clipped += sum(r.clipped_tokens for r in results)
    trained = sum(b.made.old_N.numel() for b in batches)
    return {
        "kl": kl,
        "loss": fmean(losses) if losses else 0.0,
        "grad_norm": norm,
        "trained_tokens": trained,
        "clip_share": clipped / (trained * config.updates_per_rollout) if trained else 0.0,
        "dead_group_share": len(dead) / len(groups),
    }


def measure_kl(policy: Policy, groups: Sequence[GradedGroup], config: TrainingConfig) -> float:
    """Return the mean k3 estimate per token over one rollout of every group, whatever the penalty's weight."""
    return float(_kl_of_ones(policy, groups, config).mean())


def _kl_of_ones(policy: Policy, groups: Sequence[GradedGroup], config: TrainingConfig) -> Tensor:
    """Return the k3 estimates [N] of the tokens of one rollout of each group."""
    found = [torch.empty(0)]
    for together in _together(groups, one_each=True):
        made = _pass([(g, [_one(g)]) for g in together])
        found.append(kl_k3(made.old_N, made.reference(policy, config.temperature).to(made.old_N.device)))
    return torch.cat(found)


def _one(group: GradedGroup) -> int:
    """The place of the rollout that speaks for a group where one is enough: the first that is graded, if any is."""
    return group.graded[0] if group.graded else 0


def _mean_kl(policy: Policy, batches: Sequence[_Batch], dead: Sequence[GradedGroup], config: TrainingConfig) -> float:
    """Return what `measure_kl` does, where batches hold the reference's log-probabilities of their groups already."""
    found = [_kl_of_ones(policy, dead, config)]
    for batch in batches:
        assert batch.reference_N is not None
        found.append(kl_k3(batch.made.old_N, batch.reference_N.to(batch.made.old_N.device))[batch.ones_N])
    return float(torch.cat(found).mean())


def _together(groups: Sequence[GradedGroup], *, one_each: bool = False) -> list[list[GradedGroup]]:
    """Share groups out among passes: short ones go together, since their prompts begin alike."""

    def tokens(group: GradedGroup) -> int:
        rollouts = group.group.rollouts[:1] if one_each else group.group.rollouts
        prompt = len(rollouts[0].segments[0].token_ids)
        return prompt + sum(len(s.token_ids) for r in rollouts for s in r.segments[1:])

    return shared_out(groups, tokens, _PASS_TOKENS)


def _pass(kept: Sequence[tuple[GradedGroup, Sequence[int]]]) -> _Pass:
    """Lay out some rollouts of each group."""
    rollouts = [g.group.rollouts[i] for g, places in kept for i in places]
    packed = pack_sequences([sequence for r in rollouts for sequence in _sequences(r)])
    hidden: list[Tensor] = []
    for g, places in kept:
        hidden += [g.group.hidden[i] for i in places] if g.group.hidden is not None else []
    return _Pass(
        packed=packed,
        lengths=[trained_tokens(r) for r in rollouts],
        hidden_TD=packed.laid_out(hidden) if len(hidden) == len(rollouts) else None,
        old_N=torch.tensor([p for r in rollouts for s in trained_segments(r) for p in s.logprobs]),
    )


def _sequences(rollout: Rollout) -> list[list[Span]]:
    """Return a rollout's tokens as one sequence for each prompt in it: most rollouts have one, however many turns."""
    found: list[list[Span]] = []
    for segment in rollout.segments:
        if segment.role == "prompt":
            found.append([])
        if segment.token_ids:
            found[-1].append(Span(segment.token_ids, segment.trained))
    return found


def _batch(
    policy: Policy, groups: Sequence[GradedGroup], config: TrainingConfig, sequences: int, tokens: int
) -> _Batch:
    made = _pass([(g, g.graded) for g in groups])
    weights_N = token_weights(
        made.lengths,
        config.normalization,
        batch_sequences=sequences,
        batch_tokens=tokens,
        max_tokens=config.max_new_tokens,
    )
    starts = accumulate((len(g.graded) for g in groups), initial=0)
    ones_S = torch.zeros(len(made.lengths), dtype=torch.bool)
    ones_S[list(starts)[:-1]] = True
    return _Batch(
        made=made,
        advantages_S=torch.cat([advantages(torch.tensor(g.learned_rewards), config.advantage) for g in groups]),
        weights_N=weights_N,
        reference_N=made.reference(policy, config.temperature) if config.kl_coef else None,
        ones_N=ones_S.repeat_interleave(torch.tensor(made.lengths)),
    )


def _each_loss(
    policy: Policy, batches: Sequence[_Batch], config: TrainingConfig, results: list[PolicyLoss]
) -> Iterator[Tensor]:
    """Yield each batch's loss, and keep its result: the next pass begins when the last one's gradient is taken."""
    for batch in batches:
        logprobs_N = batch.made.logprobs(policy, config.temperature)
        device = logprobs_N.device
        result = policy_loss(
            logprobs_N,
            batch.made.old_N.to(device),
            batch.advantages_S.to(device),
            batch.made.lengths,
            batch.weights_N.to(device),
            clip_low=config.clip_low,
            clip_high=config.clip_high,
            importance=config.importance,
            reference_N=batch.reference_N,
            kl_coef=config.kl_coef,
        )
        yield result.loss
        results.append(result)
