"""Graders score rollouts by a program, a preference, an outcome, a refusal, or a judge who reads the task's rubric.

The judges themselves, which load torch or Inspect, are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from steadfast.graders.grade import Grade, Judge, Verdict, refuse_ungradable

if TYPE_CHECKING:
    from steadfast.graders.config import AnyJudgeConfig, JudgeConfig, JudgeField, Limits
    from steadfast.graders.embedded.judge import EmbeddedJudge
    from steadfast.graders.llm.judge import ModelJudge
    from steadfast.graders.making import BudgetedJudge, CheckedJudge, make_judge
    from steadfast.graders.protocol import CachedJudge, protocol_hash

__all__ = [
    "AnyJudgeConfig",
    "BudgetedJudge",
    "CachedJudge",
    "CheckedJudge",
    "EmbeddedJudge",
    "Grade",
    "Judge",
    "JudgeConfig",
    "JudgeField",
    "Limits",
    "ModelJudge",
    "Verdict",
    "make_judge",
    "protocol_hash",
    "refuse_ungradable",
]

_MODULES = {
    "config": ("AnyJudgeConfig", "JudgeConfig", "JudgeField", "Limits"),
    "embedded.judge": ("EmbeddedJudge",),
    "llm.judge": ("ModelJudge",),
    "making": ("BudgetedJudge", "CheckedJudge", "make_judge"),
    "protocol": ("CachedJudge", "protocol_hash"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"steadfast.graders.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
