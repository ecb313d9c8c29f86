"""Judges grade answers by their scenario's rubric: a score in [0, 1] with a verdict per criterion."""

from steadfast.judges.embedded import EmbeddedJudge
from steadfast.judges.model import Limits, ModelJudge
from steadfast.judges.protocol import CachedJudge, protocol_hash
from steadfast.judges.registry import CheckedJudge, UntilSpent, is_model, make_judge, model_of
from steadfast.judges.types import Answer, Grade, Judge, Verdict, rubric_score

__all__ = [
    "Answer",
    "CachedJudge",
    "CheckedJudge",
    "EmbeddedJudge",
    "Grade",
    "Judge",
    "Limits",
    "ModelJudge",
    "UntilSpent",
    "Verdict",
    "is_model",
    "make_judge",
    "model_of",
    "protocol_hash",
    "rubric_score",
]
