"""The battery of evaluations and how a checkpoint is measured on it."""

from steadfast.graders.refusal import is_refusal
from steadfast.tasks.battery import SCORINGS, Eval, EvalItem, battery, select

__all__ = ["SCORINGS", "Eval", "EvalItem", "battery", "is_refusal", "select"]
