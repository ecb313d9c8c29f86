"""One step of GRPO on the local machine: sample, grade, update. No files, no loop."""

import itertools
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from steadfast.models.forward import completion_logits, token_logprobs
from steadfast.models.packing import Pack, pack
from steadfast.models.policy import Policy
from steadfast.models.sampling import Group, sample_groups
from steadfast.training.config import TrainingConfig
from steadfast.training.losses import advantages, is_dead, kl_k3, policy_loss, token_weights
from steadfast.training.prompts import Attempt, Outcome, TrainingPrompt


@dataclass(frozen=True)
class GradedGroup:
    """A prompt's completions with their outcomes, in order."""

    prompt: TrainingPrompt
    group: Group
    texts: list[str]
    outcomes: list[Outcome]

    @property
    def graded(self) -> list[int]:
        """Places of the completions that have a reward."""
        return [i for i, outcome in enumerate(self.outcomes) if outcome.reward is not None]

    @property
    def rewards(self) -> list[float]:
        """Rewards of the graded completions."""
        return [o.reward for o in self.outcomes if o.reward is not None]


@dataclass(frozen=True)
class _Batch:
    """A group ready for the loss: graded completions only."""

    packed: Pack
    hidden_TD: Tensor | None
    old_N: Tensor
    advantages_S: Tensor
    weights_N: Tensor


def rollout(policy: Policy, prompts: Sequence[TrainingPrompt], config: TrainingConfig, seed: int) -> list[Group]:
    """Sample a group of completions for each prompt."""
    return sample_groups(
        policy.lm,
        [policy.encode(p.messages, config.style) for p in prompts],
        group_size=config.group_size,
        max_new_tokens=config.max_new_tokens,
        eos_token_ids=policy.eos_token_ids,
        temperature=config.temperature,
        seed=seed,
        capture_layer=policy.first_adapted_layer or None,
    )


def grade(policy: Policy, prompts: Sequence[TrainingPrompt], groups: Sequence[Group]) -> list[GradedGroup]:
    """Reward every completion; all completions that share a reward are graded in one batch."""
    texts = [[policy.decode(c.token_ids) for c in group.completions] for group in groups]
    by_reward: dict[int, list[int]] = defaultdict(list)
    for i, prompt in enumerate(prompts):
        by_reward[id(prompt.reward)].append(i)
    outcomes: list[list[Outcome]] = [[] for _ in prompts]
    for places in by_reward.values():
        attempts = [
            Attempt(prompts[i].id, text, completion.finished)
            for i in places
            for text, completion in zip(texts[i], groups[i].completions, strict=True)
        ]
        results = iter(prompts[places[0]].reward.grade(attempts))
        for i in places:
            outcomes[i] = [next(results) for _ in texts[i]]
    return [GradedGroup(*parts) for parts in zip(prompts, groups, texts, outcomes, strict=True)]


def update(
    policy: Policy, optimizer: torch.optim.Optimizer, groups: Sequence[GradedGroup], config: TrainingConfig
) -> dict[str, float]:
    """One batch of rollouts through the loss and the optimizer; returns what to log.

    Groups without variance in their rewards cost no pass: their advantages are zero.
    """
    live = [g for g in groups if not is_dead(g.rewards)]
    sequences = sum(len(g.graded) for g in groups)
    tokens = sum(len(g.group.completions[i].token_ids) for g in groups for i in g.graded)
    batches = [_batch(g, config, sequences, tokens) for g in live]
    clipped, trained, norm, loss_value = 0, 0, 0.0, 0.0
    for _ in range(config.updates_per_rollout if batches else 0):
        optimizer.zero_grad(set_to_none=True)
        for batch in batches:
            logprobs_N = _logprobs(policy, batch, config)
            reference_N = _reference(policy, batch, config) if config.kl_coef else None
            result = policy_loss(
                logprobs_N,
                batch.old_N.to(logprobs_N.device),
                batch.advantages_S.to(logprobs_N.device),
                batch.packed.lengths,
                batch.weights_N.to(logprobs_N.device),
                clip_low=config.clip_low,
                clip_high=config.clip_high,
                importance=config.importance,
                reference_N=reference_N,
                kl_coef=config.kl_coef,
            )
            result.loss.backward()  # type: ignore[no-untyped-call]
            clipped += result.clipped_tokens
            trained += batch.old_N.numel()
            loss_value += float(result.loss.detach())
        norm = float(torch.nn.utils.clip_grad_norm_(policy.trainable(), config.max_grad_norm))
        optimizer.step()
    return {
        "loss": loss_value / config.updates_per_rollout,
        "grad_norm": norm,
        "clip_share": clipped / trained if trained else 0.0,
        "dead_group_share": 1 - len(live) / len(groups),
    }


def _batch(group: GradedGroup, config: TrainingConfig, sequences: int, tokens: int) -> _Batch:
    completions = [group.group.completions[i] for i in group.graded]
    hidden = group.group.hidden_TD
    if hidden is not None and len(completions) < len(group.outcomes):
        hidden = _hidden_of(group.group, group.graded)
    packed = pack(group.group.prompt, [c.token_ids for c in completions])
    return _Batch(
        packed=packed,
        hidden_TD=hidden,
        old_N=torch.cat([c.logprobs_T for c in completions]),
        advantages_S=advantages(torch.tensor(group.rewards), config.advantage),
        weights_N=token_weights(
            packed.lengths,
            config.normalization,
            batch_sequences=sequences,
            batch_tokens=tokens,
            max_tokens=config.max_new_tokens,
        ),
    )


def _hidden_of(group: Group, kept: Sequence[int]) -> Tensor:
    """The packed row's hidden states with only some of its completions."""
    assert group.hidden_TD is not None
    sizes = [len(group.prompt), *(len(c.token_ids) - 1 for c in group.completions)]
    parts = group.hidden_TD.split(sizes)
    return torch.cat([parts[0], *(parts[i + 1] for i in kept)])


def _logprobs(policy: Policy, batch: _Batch, config: TrainingConfig) -> Tensor:
    logits_NV = completion_logits(
        policy.lm, batch.packed, hidden_TD=batch.hidden_TD, first_layer=policy.first_adapted_layer
    )
    return token_logprobs(logits_NV, batch.packed.target_N, config.temperature)


@torch.no_grad()
def _reference(policy: Policy, batch: _Batch, config: TrainingConfig) -> Tensor:
    with policy.model.disable_adapter():
        return _logprobs(policy, batch, config)


@torch.no_grad()
def measure_kl(policy: Policy, groups: Sequence[GradedGroup], config: TrainingConfig) -> float:
    """Mean k3 estimate per token over the first completion of every group, whatever the penalty's weight."""
    total, tokens = 0.0, 0
    for graded in groups:
        completion = graded.group.completions[0]
        hidden = None if graded.group.hidden_TD is None else _hidden_of(graded.group, [0])
        packed = pack(graded.group.prompt, [completion.token_ids])
        batch = _Batch(packed, hidden, completion.logprobs_T, torch.zeros(1), torch.zeros(1))
        kl_N = kl_k3(completion.logprobs_T, _reference(policy, batch, config))
        total += float(kl_N.sum())
        tokens += kl_N.numel()
    return total / tokens


def rollout_metrics(groups: Sequence[GradedGroup]) -> dict[str, Any]:
    """What the rollouts say before any update: rewards by pool, lengths, truncation, entropy."""
    completions = [c for g in groups for c in g.group.completions]
    by_pool: dict[str, list[GradedGroup]] = defaultdict(list)
    for g in groups:
        by_pool[g.prompt.pool].append(g)
    metrics: dict[str, Any] = {
        "tokens": sum(len(c.token_ids) for c in completions),
        "length": fmean(len(c.token_ids) for c in completions),
        "truncated_share": fmean(not c.finished for c in completions),
        "entropy": float(torch.cat([c.entropies_T for c in completions]).mean()),
        "ungraded": sum(o.reward is None for g in groups for o in g.outcomes),
    }
    for pool, members in sorted(by_pool.items()):
        rewards = [r for g in members for r in g.rewards]
        finished = [
            o.reward
            for g in members
            for o, c in zip(g.outcomes, g.group.completions, strict=True)
            if c.finished and o.reward is not None
        ]
        metrics[f"reward/{pool}"] = fmean(rewards) if rewards else None
        metrics[f"reward_finished/{pool}"] = fmean(finished) if finished else None
        metrics[f"dead_group_share/{pool}"] = fmean(is_dead(g.rewards) for g in members)
        metrics[f"truncated_share/{pool}"] = fmean(not c.finished for g in members for c in g.group.completions)
    return metrics


def train_step(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    prompts: Sequence[TrainingPrompt],
    config: TrainingConfig,
    seed: int,
) -> tuple[list[GradedGroup], dict[str, Any]]:
    """Sample, grade and update once; returns the rollouts and the step's metrics."""
    marks = [time.perf_counter()]
    groups = rollout(policy, prompts, config, seed)
    marks.append(time.perf_counter())
    graded = grade(policy, prompts, groups)
    marks.append(time.perf_counter())
    metrics = rollout_metrics(graded)
    metrics["kl"] = measure_kl(policy, graded, config)
    metrics |= update(policy, optimizer, graded, config)
    marks.append(time.perf_counter())
    sample, judge, train = (b - a for a, b in itertools.pairwise(marks))
    metrics |= {"seconds/sample": sample, "seconds/grade": judge, "seconds/train": train}
    metrics["tokens_per_second"] = metrics["tokens"] / (sample + judge + train)
    return graded, metrics
