"""Graders score rollouts: programs, preferences, outcomes, and judges who read an answer by its task's rubric."""

from steadfast.graders.config import AnyJudgeConfig, JudgeConfig, JudgeField, Limits
from steadfast.graders.embedded.judge import EmbeddedJudge
from steadfast.graders.grade import Grade, Judge, Verdict, refuse_ungradable
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
