"""One step of GRPO on the local machine rolls out, grades and updates; it writes no files and knows no other step."""

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from steadfast.errors import TrainingError
from steadfast.graders.dispatch import grade_rollouts
from steadfast.graders.grade import Grade, Judge
from steadfast.models.forward import completion_logits, token_logprobs
from steadfast.models.packing import Pack, Span, pack_sequences
from steadfast.models.policy import Policy
from steadfast.models.sampling import sample_groups
from steadfast.rollouts import Rollout, Segment, drive
from steadfast.rollouts.sampler import LocalSampler, assistant_segment
from steadfast.training.config import TrainingConfig
from steadfast.training.descent import descend, refuse_not_finite
from steadfast.training.losses import PolicyLoss, advantages, is_dead, kl_k3, policy_loss, token_weights
from steadfast.training.mixture import ScheduledTask


@dataclass(frozen=True)
class RolloutGroup:
    """This group holds the rollouts of one scheduled task, and what the lower layers made of them.

    Attributes:
        scheduled: The task, and the pool that it was drawn from.
        rollouts: One rollout for each completion.
        hidden_TD: What enters the first adapted layer, [T, D] for the packed row of all rollouts; None if it was not
            kept.
    """

    scheduled: ScheduledTask
    rollouts: list[Rollout]
    hidden_TD: Tensor | None = None

    def hidden_of(self, kept: Sequence[int]) -> Tensor | None:
        """Return the hidden states [T, D] of the packed row of some of the rollouts."""
        if self.hidden_TD is None or len(kept) == len(self.rollouts):
            return self.hidden_TD
        prompt = len(self.rollouts[0].segments[0].token_ids)
        parts = self.hidden_TD.split([prompt, *(len(r.segments[1].token_ids) - 1 for r in self.rollouts)])
        return torch.cat([parts[0], *(parts[i + 1] for i in kept)])


@dataclass(frozen=True)
class GradedGroup:
    """This group holds a task's rollouts with their grades, in order.

    Attributes:
        group: The rollouts.
        grades: The grade of each.
        learned: What each graded rollout is rewarded with in the update; None takes the scores.
    """

    group: RolloutGroup
    grades: list[Grade]
    learned: tuple[float, ...] | None = None

    @cached_property
    def graded(self) -> list[int]:
        """The places of the rollouts that have a score, in order."""
        return [i for i, grade in enumerate(self.grades) if grade.score is not None]

    @property
    def rewards(self) -> list[float]:
        """The scores of the graded rollouts, in order."""
        return [g.score for g in self.grades if g.score is not None]

    @property
    def learned_rewards(self) -> list[float]:
        """What the update learns from, for the graded rollouts in order."""
        return self.rewards if self.learned is None else list(self.learned)

    @property
    def pool(self) -> str:
        """The part of the mixture that the task was drawn from."""
        return self.group.scheduled.pool


@dataclass(frozen=True)
class _Batch:
    """A group ready for the loss has only its graded rollouts; `lengths` counts the trained tokens of each."""

    packed: Pack
    lengths: list[int]
    hidden_TD: Tensor | None
    old_N: Tensor
    advantages_S: Tensor
    weights_N: Tensor


def roll_out(
    policy: Policy, scheduled: Sequence[ScheduledTask], config: TrainingConfig, seed: int
) -> list[RolloutGroup]:
    """Sample a group of rollouts for each task: single answers share their prompt's prefill, episodes go by turns."""
    single = [s for s in scheduled if s.task.environment is None]
    acted = [s for s in scheduled if s.task.environment is not None]
    made = iter(_single_turns(policy, single, config, seed) if single else ())
    played = iter(_episodes(policy, acted, config, seed) if acted else ())
    return [next(made) if s.task.environment is None else next(played) for s in scheduled]


def _single_turns(
    policy: Policy, scheduled: Sequence[ScheduledTask], config: TrainingConfig, seed: int
) -> list[RolloutGroup]:
    groups = sample_groups(
        policy.lm,
        [policy.encode(s.task.messages, config.style, max_new_tokens=config.max_new_tokens) for s in scheduled],
        group_size=config.group_size,
        max_new_tokens=config.max_new_tokens,
        eos_token_ids=policy.eos_token_ids,
        temperature=config.temperature,
        seed=seed,
        capture_layer=policy.first_adapted_layer or None,
    )
    found: list[RolloutGroup] = []
    for one, group in zip(scheduled, groups, strict=True):
        prompt = Segment("prompt", one.task.text, token_ids=tuple(group.prompt))
        segments = [
            assistant_segment(policy.chat, c.token_ids, c.logprobs_T.tolist(), c.entropies_T.tolist())
            for c in group.completions
        ]
        rollouts = [
            Rollout(one.task, (prompt, s), "end" if c.finished else "length")
            for s, c in zip(segments, group.completions, strict=True)
        ]
        found.append(RolloutGroup(one, rollouts, group.hidden_TD))
    return found


def _episodes(
    policy: Policy, scheduled: Sequence[ScheduledTask], config: TrainingConfig, seed: int
) -> list[RolloutGroup]:
    sampler = LocalSampler(
        policy.lm, policy.chat, config.max_new_tokens, style=config.style, temperature=config.temperature, seed=seed
    )
    rollouts = drive(sampler, [s.task for s in scheduled for _ in range(config.group_size)])
    groups = zip(*[iter(rollouts)] * config.group_size, strict=True)
    return [RolloutGroup(s, list(g)) for s, g in zip(scheduled, groups, strict=True)]


def grade(groups: Sequence[RolloutGroup], judge: Judge) -> list[GradedGroup]:
    """Grade every rollout; all those that a judge grades go to it as one batch."""
    grades = iter(grade_rollouts([r for g in groups for r in g.rollouts], judge))
    return [GradedGroup(g, [next(grades) for _ in g.rollouts]) for g in groups]


def with_learned_rewards(
    groups: Sequence[GradedGroup], coupling: float, shuffle_seed: int | None = None
) -> list[GradedGroup]:
    """Set what the update learns from: scores that see the twin's, and that are shuffled for the control.

    With independent rewards a model can gain by giving always the answer of the side that is won more often.
    A reward r therefore counts as r * (1 - c + c * m), m being the mean reward of the twin's group; at c = 1 that is
    the gradient of the product of both twins' success. A group whose twin is not in the batch keeps its scores.

    Args:
        groups: The groups of a batch.
        coupling: The c of the formula.
        shuffle_seed: Permutes the scores within each group, which keeps their distribution and drops what they say.
    """
    means = _mean_rewards(groups)
    found: list[GradedGroup] = []
    for place, g in enumerate(groups):
        rewards = g.rewards
        if shuffle_seed is not None:
            Random(f"{shuffle_seed}/{place}").shuffle(rewards)
        twin = means.get(g.group.scheduled.task.pair or "")
        factor = 1.0 if twin is None else 1.0 - coupling + coupling * twin
        found.append(replace(g, learned=tuple(r * factor for r in rewards)))
    return found


def update(
    policy: Policy, optimizer: torch.optim.Optimizer, groups: Sequence[GradedGroup], config: TrainingConfig
) -> dict[str, float]:
    """Take one batch of rollouts through the loss and the optimizer, and return what is to be logged.

    Groups without variance in their rewards cost no pass, since their advantages are zero.
    """
    live = [g for g in groups if not is_dead(g.learned_rewards)]
    sequences = sum(len(g.graded) for g in groups)
    tokens = sum(_trained_tokens(g.group.rollouts[i]) for g in groups for i in g.graded)
    batches = [_batch(g, config, sequences, tokens) for g in live]
    losses, norm, clipped = [], 0.0, 0
    for _ in range(config.updates_per_rollout if batches else 0):
        results: list[PolicyLoss] = []
        loss, norm = descend(policy, optimizer, _each_loss(policy, batches, config, results), config.max_grad_norm)
        losses.append(loss)
        clipped += sum(r.clipped_tokens for r in results)
    trained = sum(b.old_N.numel() for b in batches)
    return {
        "loss": fmean(losses) if losses else 0.0,
        "grad_norm": norm,
        "trained_tokens": trained,
        "clip_share": clipped / (trained * config.updates_per_rollout) if trained else 0.0,
        "dead_group_share": 1 - len(live) / len(groups),
    }


def _each_loss(
    policy: Policy, batches: Sequence[_Batch], config: TrainingConfig, results: list[PolicyLoss]
) -> Iterator[Tensor]:
    """Yield each batch's loss, and keep its result: the next pass begins when the last one's gradient is taken."""
    for batch in batches:
        logprobs_N = _logprobs(policy, batch, config)
        reference_N = _reference(policy, batch, config) if config.kl_coef else None
        result = policy_loss(
            logprobs_N,
            batch.old_N.to(logprobs_N.device),
            batch.advantages_S.to(logprobs_N.device),
            batch.lengths,
            batch.weights_N.to(logprobs_N.device),
            clip_low=config.clip_low,
            clip_high=config.clip_high,
            importance=config.importance,
            reference_N=reference_N,
            kl_coef=config.kl_coef,
        )
        yield result.loss
        results.append(result)


def _trained(rollout: Rollout) -> list[Segment]:
    return [s for s in rollout.segments if s.trained]


def _trained_tokens(rollout: Rollout) -> int:
    return sum(len(s.token_ids) for s in _trained(rollout))


def _pack(rollouts: Sequence[Rollout]) -> Pack:
    return pack_sequences([sequence for r in rollouts for sequence in _sequences(r)])


def _sequences(rollout: Rollout) -> list[list[Span]]:
    """Return a rollout's tokens as one sequence for each prompt in it: most rollouts have one, however many turns."""
    found: list[list[Span]] = []
    for segment in rollout.segments:
        if segment.role == "prompt":
            found.append([])
        if segment.token_ids:
            found[-1].append(Span(segment.token_ids, segment.trained))
    return found


def _old_logprobs(rollouts: Sequence[Rollout]) -> Tensor:
    return torch.tensor([p for r in rollouts for s in _trained(r) for p in s.logprobs])


def _batch(graded: GradedGroup, config: TrainingConfig, sequences: int, tokens: int) -> _Batch:
    kept = [graded.group.rollouts[i] for i in graded.graded]
    lengths = [_trained_tokens(r) for r in kept]
    return _Batch(
        packed=_pack(kept),
        lengths=lengths,
        hidden_TD=graded.group.hidden_of(graded.graded),
        old_N=_old_logprobs(kept),
        advantages_S=advantages(torch.tensor(graded.learned_rewards), config.advantage),
        weights_N=token_weights(
            lengths,
            config.normalization,
            batch_sequences=sequences,
            batch_tokens=tokens,
            max_tokens=config.max_new_tokens,
        ),
    )


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
    """Return the mean k3 estimate per token over the first rollout of every group, whatever the penalty's weight."""
    total, tokens = 0.0, 0
    for graded in groups:
        first = graded.group.rollouts[:1]
        old_N = _old_logprobs(first)
        batch = _Batch(_pack(first), [len(old_N)], graded.group.hidden_of([0]), old_N, torch.zeros(1), torch.zeros(1))
        kl_N = kl_k3(old_N, _reference(policy, batch, config).to(old_N.device))
        total += float(kl_N.sum())
        tokens += kl_N.numel()
    return total / tokens


def rollout_metrics(groups: Sequence[GradedGroup]) -> dict[str, Any]:
    """Return what the rollouts show before any update: rewards by pool, lengths, truncation and entropy."""
    rollouts = [r for g in groups for r in g.group.rollouts]
    by_pool: dict[str, list[GradedGroup]] = defaultdict(list)
    for g in groups:
        by_pool[g.pool].append(g)
    entropies = [e for r in rollouts for s in _trained(r) for e in s.entropies]
    metrics: dict[str, Any] = {
        "tokens": sum(_trained_tokens(r) for r in rollouts),
        "length": fmean(_trained_tokens(r) for r in rollouts),
        "truncated_share": fmean(not r.finished for r in rollouts),
        "entropy": float(torch.tensor(entropies).mean()),
        "ungraded": sum(grade.score is None for g in groups for grade in g.grades),
    }
    for pool, members in sorted(by_pool.items()):
        rewards = [r for g in members for r in g.rewards]
        finished = [
            grade.score
            for g in members
            for grade, rollout in zip(g.grades, g.group.rollouts, strict=True)
            if rollout.finished and grade.score is not None
        ]
        metrics[f"reward/{pool}"] = fmean(rewards) if rewards else None
        metrics[f"reward_finished/{pool}"] = fmean(finished) if finished else None
        metrics[f"dead_group_share/{pool}"] = fmean(is_dead(g.rewards) for g in members)
        if pairs := _pair_successes(members):
            metrics[f"pair_success/{pool}"] = fmean(pairs)
        metrics[f"truncated_share/{pool}"] = fmean(not r.finished for g in members for r in g.group.rollouts)
    return metrics


def _mean_rewards(groups: Sequence[GradedGroup]) -> dict[str, float]:
    """The mean reward of each task of which a rollout was graded, by its id."""
    return {g.group.scheduled.task.id: fmean(g.rewards) for g in groups if g.rewards}


def _pair_successes(groups: Sequence[GradedGroup]) -> list[float]:
    """The product of the mean rewards of each pair of twins, which two independent samples would both earn."""
    means = _mean_rewards(groups)
    twins = {g.group.scheduled.task.id: g.group.scheduled.task.pair for g in groups}
    return [means[one] * means[two] for one, two in twins.items() if two in means and one in means and one < two]


def train_step(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    scheduled: Sequence[ScheduledTask],
    judge: Judge,
    config: TrainingConfig,
    seed: int,
    *,
    shuffled: bool = False,
) -> tuple[list[GradedGroup], dict[str, Any]]:
    """Sample, grade and update once, and return the rollouts and the step's metrics.

    Args:
        policy: The model with its adapter.
        optimizer: The optimizer of the adapter.
        scheduled: The tasks of the step.
        judge: The judge that grades the rollouts of tasks with a rubric.
        config: The settings of the training.
        seed: The seed of the step's rollouts.
        shuffled: Whether the rewards are permuted within each group, for the control that learns nothing from them.

    Raises:
        TrainingError: A pool has no grade at all, or a loss, a gradient or a weight is not finite. The policy is then
            as the step found it, or its weights are not finite and must be dropped.
    """
    times = [time.perf_counter()]
    groups = roll_out(policy, scheduled, config, seed)
    times.append(time.perf_counter())
    graded = grade(groups, judge)
    times.append(time.perf_counter())
    metrics = rollout_metrics(graded)
    refuse_without_grades(graded)
    graded = with_learned_rewards(graded, config.pair_coupling, seed if shuffled else None)
    metrics["kl"] = measure_kl(policy, graded, config)
    refuse_not_finite("log-probability", metrics["kl"])
    metrics |= update(policy, optimizer, graded, config)
    times.append(time.perf_counter())
    sample, judged, train = (b - a for a, b in itertools.pairwise(times))
    metrics |= {"seconds/sample": sample, "seconds/grade": judged, "seconds/train": train}
    metrics["tokens_per_second"] = metrics["tokens"] / (sample + judged + train)
    return graded, metrics


def refuse_without_grades(groups: Sequence[GradedGroup]) -> None:
    """Stop if a pool's rollouts were all left ungraded: the step would teach nothing of that pool, and look fine.

    Raises:
        TrainingError: A pool has no grade; the message gives the first rollout's reason.
    """
    for pool in sorted({g.pool for g in groups}):
        grades = [grade for g in groups if g.pool == pool for grade in g.grades]
        if all(grade.score is None for grade in grades):
            raise TrainingError(
                f"none of the {len(grades)} rollouts of the {pool} pool could be graded: "
                f"{grades[0].error or 'the grader gave no score'}; what was trained before is kept: "
                "mend the grader and run the same command again"
            )
