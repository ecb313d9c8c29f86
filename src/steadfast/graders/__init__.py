"""Judges grade answers by their scenario's rubric: a score in [0, 1] with a verdict per criterion."""

from steadfast.graders.embedded.judge import EmbeddedJudge
from steadfast.graders.grade import Answer, Grade, Judge, Verdict, rubric_score
from steadfast.graders.llm.judge import Limits, ModelJudge
from steadfast.graders.making import BudgetedJudge, CheckedJudge, is_model, make_judge, model_of
from steadfast.graders.protocol import CachedJudge, protocol_hash

__all__ = [
    "Answer",
    "CachedJudge",
    "CheckedJudge",
    "EmbeddedJudge",
    "Grade",
    "Judge",
    "Limits",
    "ModelJudge",
    "BudgetedJudge",
    "Verdict",
    "is_model",
    "make_judge",
    "model_of",
    "protocol_hash",
    "rubric_score",
]
