"""The battery of evaluations and how a checkpoint is measured on it."""

from steadfast.evals.battery import SCORINGS, Eval, EvalItem, battery, select
from steadfast.evals.refusal import is_refusal

__all__ = ["SCORINGS", "Eval", "EvalItem", "battery", "is_refusal", "select"]
