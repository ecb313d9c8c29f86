"""Mixtures, GRPO-family losses, rewards, and the local engine."""

from steadfast.training.config import TrainingConfig
from steadfast.training.loop import train
from steadfast.training.mixture import build_mixture
from steadfast.training.prompts import Attempt, Outcome, Reward, TrainingPrompt

__all__ = ["Attempt", "Outcome", "Reward", "TrainingConfig", "TrainingPrompt", "build_mixture", "train"]
