"""Rollouts: what a model does with tasks, in one turn or many."""

from steadfast.rollouts.rollout import Rollout, Segment

__all__ = ["Rollout", "Segment"]
