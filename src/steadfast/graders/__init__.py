"""Judges grade answers by their scenario's rubric: a score in [0, 1] with a verdict per criterion."""

from steadfast.graders.embedded.judge import EmbeddedJudge
from steadfast.graders.grade import Grade, Judge, Verdict
from steadfast.graders.llm.judge import Limits, ModelJudge
from steadfast.graders.making import BudgetedJudge, CheckedJudge, is_model, make_judge, model_of
from steadfast.graders.protocol import CachedJudge, protocol_hash
from steadfast.rollouts import Rollout
from steadfast.tasks.rubric import rubric_score

__all__ = [
    "Rollout",
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
]
