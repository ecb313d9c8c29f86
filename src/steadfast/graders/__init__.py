"""Judges grade answers by their scenario's rubric: a score in [0, 1] with a verdict per criterion."""

from steadfast.graders.config import AnyJudgeConfig, JudgeConfig, JudgeField, Limits
from steadfast.graders.embedded.judge import EmbeddedJudge
from steadfast.graders.grade import Answer, Grade, Judge, Verdict, refuse_ungradable, rubric_score
from steadfast.graders.llm.judge import ModelJudge
from steadfast.graders.making import BudgetedJudge, CheckedJudge, make_judge
from steadfast.graders.protocol import CachedJudge, protocol_hash

__all__ = [
    "Answer",
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
    "rubric_score",
]
