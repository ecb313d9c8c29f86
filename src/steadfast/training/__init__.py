"""Mixtures, GRPO-family losses, supervised training, and the local engine."""

from steadfast.training.config import TrainingConfig, WarmStart
from steadfast.training.loop import train
from steadfast.training.mixture import ScheduledTask, build_mixture
from steadfast.training.supervised import Demonstration, train_supervised

__all__ = [
    "Demonstration",
    "ScheduledTask",
    "TrainingConfig",
    "WarmStart",
    "build_mixture",
    "train",
    "train_supervised",
]
