"""A rubric has criteria, and an answer that meets them to some degree has a score."""

from collections.abc import Sequence
from typing import Annotated, Self
from unicodedata import category, normalize

from pydantic import AfterValidator, BaseModel, ConfigDict, field_validator, model_validator

from steadfast.messages import is_blank

MOST_POINTS = 1_000_000
"""This bound lies far beyond any rubric's points, and is small enough that sums of points stay exact."""


def _not_blank(text: str) -> str:
    if is_blank(text):
        raise ValueError("the text is blank")
    return text


Text = Annotated[str, AfterValidator(_not_blank)]
"""A text that is not blank."""


class Criterion(BaseModel):
    """One line of a rubric.

    Attributes:
        criterion: What a judge looks for. It can be checked by reading the answer.
        points: The points are above zero for what a good answer does, and below zero for a pitfall.
        met: Example sentences, as they stand in an answer, that meet the criterion. The embedded judge needs them.
        unmet: Example sentences on the same point that do the opposite.
        tags: The user's own labels, such as HealthBench's axes. They change no grade.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    criterion: Text
    points: int | float
    met: tuple[Text, ...] = ()
    unmet: tuple[Text, ...] = ()
    tags: tuple[str, ...] = ()

    @field_validator("points", mode="before")
    @classmethod
    def _finite_and_not_zero(cls, points: object) -> object:
        if isinstance(points, bool) or not isinstance(points, int | float) or not abs(points) <= MOST_POINTS:
            raise ValueError(f"points must be a number between -{MOST_POINTS:,} and {MOST_POINTS:,}")
        if points == 0:
            raise ValueError("a criterion worth 0 points changes no score; give it points or take it out")
        return points

    @model_validator(mode="after")
    def _statements_differ(self) -> Self:
        both = {_spaced(m) for m in self.met} & {_spaced(u) for u in self.unmet}
        if both:
            twice = next(m for m in self.met if _spaced(m) in both)
            raise ValueError(f"met: {twice!r} is an unmet statement too, so it cannot tell the two apart")
        return self


def _spaced(text: str) -> str:
    """A text as it is read: accents composed, marks of no width left out, and white space of every kind one space."""
    return " ".join("".join(c for c in normalize("NFC", text) if category(c) != "Cf").split())


def rubric_score(points: Sequence[float], met: Sequence[float]) -> float:
    """Compute the score in [0, 1] of an answer that meets each criterion to the given degree.

    The points earned are put on a scale from the worst sum that the rubric allows (every pitfall and nothing else) to
    the best. The score is linear throughout, so no answer is so bad that doing one thing better goes unnoticed.

    Args:
        points: The points of each criterion.
        met: The degree in [0, 1] to which each criterion is met.
    """
    lowest = sum(p for p in points if p < 0)
    highest = sum(p for p in points if p > 0)
    earned = sum(p * m for p, m in zip(points, met, strict=True))
    return (earned - lowest) / (highest - lowest)
