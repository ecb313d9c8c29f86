"""One step of GRPO on the local machine rolls out, grades and updates; it writes no files and knows no other step."""

import itertools
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from statistics import fmean
from typing import Any

import torch

from steadfast.errors import TrainingError
from steadfast.graders.dispatch import grade_rollouts
from steadfast.graders.grade import Judge
from steadfast.models.policy import Policy
from steadfast.models.sampling import sample_groups
from steadfast.rollouts import Rollout, Segment, drive
from steadfast.rollouts.sampler import LocalSampler, assistant_segment
from steadfast.training.config import TrainingConfig
from steadfast.training.groups import GradedGroup, RolloutGroup, trained_segments, trained_tokens
from steadfast.training.losses import is_dead
from steadfast.training.mixture import ScheduledTask
from steadfast.training.policy_update import update


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
        found.append(RolloutGroup(one, rollouts, group.hidden))
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


def rollout_metrics(groups: Sequence[GradedGroup]) -> dict[str, Any]:
    """Return what the rollouts show before any update: rewards by pool, lengths, truncation and entropy."""
    rollouts = [r for g in groups for r in g.group.rollouts]
    by_pool: dict[str, list[GradedGroup]] = defaultdict(list)
    for g in groups:
        by_pool[g.pool].append(g)
    entropies = [e for r in rollouts for s in trained_segments(r) for e in s.entropies]
    metrics: dict[str, Any] = {
        "tokens": sum(trained_tokens(r) for r in rollouts),
        "length": fmean(trained_tokens(r) for r in rollouts),
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
