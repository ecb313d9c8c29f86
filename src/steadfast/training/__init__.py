"""Mixtures, GRPO-family losses, and the local engine."""

from steadfast.training.config import TrainingConfig
from steadfast.training.loop import train
from steadfast.training.mixture import ScheduledTask, build_mixture

__all__ = ["ScheduledTask", "TrainingConfig", "build_mixture", "train"]
