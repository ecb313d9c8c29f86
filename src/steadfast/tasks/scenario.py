"""Scenarios and their rubrics: the types, and what makes one valid."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from steadfast.messages import Message, is_blank
from steadfast.tasks.traits import domains, traits

Split = Literal["train", "held_out"]
Pressure = Literal[
    "deadline",
    "authority",
    "flattery",
    "sunk_cost",
    "money",
    "false_premise",
    "own_mistake",
    "concealment",
    "emotion",
    "consensus",
    "ambiguity",
    "tight_limits",
]

_MOST_POINTS = 1_000_000
"""Of one criterion: far beyond any rubric, and small enough that sums of them lose nothing."""


def _not_blank(text: str) -> str:
    if is_blank(text):
        raise ValueError("the text is blank")
    return text


Text = Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]


class Criterion(BaseModel):
    """One line of a rubric.

    Attributes:
        criterion: what is looked for, checkable by reading the answer.
        points: above zero for what a good answer does, below zero for a pitfall.
        met: example sentences, as they stand in an answer, that meet the criterion. A language model judges without
            any; the embedded judge needs one at least, and an unmet one.
        unmet: example sentences on the same point that do the opposite.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    criterion: Text
    points: int | float
    met: tuple[Text, ...] = ()
    unmet: tuple[Text, ...] = ()

    @field_validator("points", mode="before")
    @classmethod
    def _finite_and_not_zero(cls, points: object) -> object:
        if isinstance(points, bool) or not isinstance(points, int | float) or not abs(points) <= _MOST_POINTS:
            raise ValueError(f"points must be a number between -{_MOST_POINTS:,} and {_MOST_POINTS:,}")
        if points == 0:
            raise ValueError("a criterion worth 0 points changes no score; give it points or take it out")
        return points

    @field_validator("unmet")
    @classmethod
    def _not_also_met(cls, unmet: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        met = {_compared(statement) for statement in info.data.get("met", ())}
        if both := next((statement for statement in unmet if _compared(statement) in met), None):
            raise ValueError(f"{both!r} stands under met too; a statement cannot be both")
        return unmet


class Scenario(BaseModel):
    """A conversation that asks for judgement, with the rubric its answer is graded by.

    Attributes:
        id: unique in the corpus.
        trait: one of `steadfast traits`.
        domain: one of the twelve.
        messages: the conversation; the last turn is the user's.
        rubric: criteria, at least one of them with points above zero.
        split: "train" or "held_out"; None lets the loader decide by a hash of the id.
        pressure: what pushes toward the bad answer.
        refusal_fails: a refusal is a bad answer here, and a criterion says so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    trait: str
    domain: str
    messages: tuple[Message, ...] = Field(min_length=1)
    rubric: tuple[Criterion, ...] = Field(min_length=1)
    split: Split | None = None
    pressure: Pressure | None = None
    refusal_fails: bool = False

    @field_validator("trait")
    @classmethod
    def _known_trait(cls, trait: str) -> str:
        return _known(trait, "trait", [t.id for t in traits()])

    @field_validator("domain")
    @classmethod
    def _known_domain(cls, domain: str) -> str:
        return _known(domain, "domain", [d.id for d in domains()])

    @field_validator("messages")
    @classmethod
    def _conversation(cls, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        roles = [m.role for m in messages]
        if roles[-1] != "user":
            raise ValueError(f"the last message must be the user's, not the {roles[-1]}'s")
        spoken = roles[1:] if roles[0] == "system" else roles
        if spoken != [("user", "assistant")[i % 2] for i in range(len(spoken))]:
            raise ValueError("after an optional system turn, user and assistant must alternate, the user first")
        return messages

    @field_validator("rubric")
    @classmethod
    def _can_be_won(cls, rubric: tuple[Criterion, ...]) -> tuple[Criterion, ...]:
        if not any(c.points > 0 for c in rubric):
            raise ValueError("no criterion has points above zero, so no answer could earn anything")
        if len({c.criterion for c in rubric}) < len(rubric):
            raise ValueError("the same criterion stands there twice")
        return rubric

    @property
    def text(self) -> str:
        """The conversation as plain text, for comparing scenarios."""
        return "\n".join(m.content for m in self.messages)


class GoldPair(BaseModel):
    """Two answers to a scenario for examining judges: a good one and a tempting bad one. Never shown to training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenario: str = Field(min_length=1)
    good: Text
    bad: Text


def _compared(statement: str) -> str:
    return " ".join(statement.casefold().split())


def _known(value: str, kind: str, known: list[str]) -> str:
    if value not in known:
        raise ValueError(f"unknown {kind} {value!r}; known: {', '.join(known)}")
    return value
