"""A task is a conversation that a model answers, and the grader, named in data, that scores what the model does.

A trait scenario, a verifiable exercise, an eval item and a simulated workplace are all tasks. They differ only in their
data, which is read from JSON or YAML and written as the same, and holds no live object.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from steadfast.messages import Message, check_alternation
from steadfast.tasks.environment import Environment
from steadfast.tasks.rubric import Criterion, Text
from steadfast.tasks.shapes import canonical

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


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RubricGrader(_Data):
    """A judge grades the answer on these criteria."""

    kind: Literal["rubric"] = "rubric"
    criteria: tuple[Criterion, ...] = Field(min_length=1)

    @field_validator("criteria")
    @classmethod
    def _can_be_won(cls, criteria: tuple[Criterion, ...]) -> tuple[Criterion, ...]:
        if not any(c.points > 0 for c in criteria):
            raise ValueError("no criterion has points above zero, so no answer could earn anything")
        if len({c.criterion for c in criteria}) < len(criteria):
            raise ValueError("the same criterion stands there twice")
        return criteria


class ProgramGrader(_Data):
    """A program checks the answer exactly; see `steadfast.tasks.programs`.

    Attributes:
        program: The name of a program that ships, or "module:function" for one of the user's.
        args: What the program checks the answer against, as plain JSON.
    """

    kind: Literal["program"] = "program"
    program: Text
    args: dict[str, Any] = Field(default_factory=dict)


class PreferenceGrader(_Data):
    """The likelihood of the good references is compared with that of the bad ones; nothing is answered."""

    kind: Literal["preference"] = "preference"


class OutcomeGrader(_Data):
    """The facts of the task's environment at the end of the rollout decide."""

    kind: Literal["outcome"] = "outcome"


class RefusalGrader(_Data):
    """The answer is scored by whether it refuses, which the phrases that open refusals show.

    Attributes:
        wanted: True where a refusal is the good answer; False where help is.
    """

    kind: Literal["refusal"] = "refusal"
    wanted: bool = False


GraderSpec = Annotated[
    RubricGrader | ProgramGrader | PreferenceGrader | OutcomeGrader | RefusalGrader, Field(discriminator="kind")
]


class References(_Data):
    """Replies written beforehand. They measure; only an arm that imitates correct answers is trained on good ones.

    Attributes:
        good: Replies that a beneficial assistant might give.
        bad: Tempting replies that it would not give, alike to the good ones in length, style and format.
    """

    good: tuple[Text, ...] = ()
    bad: tuple[Text, ...] = ()

    @property
    def paired(self) -> bool:
        """Whether there are replies of both kinds to compare."""
        return bool(self.good and self.bad)


class Task(_Data):
    """One thing that a model is asked.

    Attributes:
        id: The task's name, unique in its suite.
        messages: The conversation. The last turn is the user's.
        grader: What scores the model's rollout.
        suite: The name of the suite that it belongs to. The suite fills it in when it loads the task.
        trait: The id of the trait that it is about, if any.
        domain: The id of the field that it is set in, if any.
        references: Replies written beforehand.
        pair: The id of its opposite: the task that differs in the fewest words that reverse the right conduct.
        split: The split, "train" or "held_out"; None lets the loader decide by a hash of the id.
        format: The format that a family of twins puts it in.
        wording: The number of the family's wording that tells it.
        environment: The simulated workplace that the model acts in, for the outcome grader.
        pressure: What pushes toward the bad answer.
        refusal_fails: Whether a refusal is a bad answer here.
        tags: The user's own labels.
    """

    id: Text
    messages: tuple[Message, ...] = Field(min_length=1)
    grader: GraderSpec
    suite: str = ""
    trait: str | None = None
    domain: str | None = None
    references: References = References()
    pair: str | None = None
    split: Split | None = None
    format: str | None = None
    wording: int | None = None
    environment: Environment | None = None
    pressure: Pressure | None = None
    refusal_fails: bool = False
    tags: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _any_shape(cls, row: Any) -> Any:
        return canonical(cast("Mapping[str, Any]", row)) if isinstance(row, Mapping) else row

    @field_validator("messages")
    @classmethod
    def _conversation(cls, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        roles = [m.role for m in messages]
        if roles[-1] != "user":
            raise ValueError(f"the last message must be the user's, not the {roles[-1]}'s")
        check_alternation(messages)
        return messages

    @model_validator(mode="after")
    def _gradable(self) -> "Task":
        if isinstance(self.grader, PreferenceGrader) and not self.references.paired:
            raise ValueError("references: the preference grader needs a good and a bad reply")
        if isinstance(self.grader, OutcomeGrader) != (self.environment is not None):
            raise ValueError("environment: the outcome grader and an environment go together")
        return self

    @property
    def rubric(self) -> tuple[Criterion, ...]:
        """The criteria of a rubric grader. For any other grader there are none."""
        return self.grader.criteria if isinstance(self.grader, RubricGrader) else ()

    @property
    def text(self) -> str:
        """The conversation as plain text, for comparing tasks."""
        return "\n".join(m.content for m in self.messages)

    def with_rubric(self, criteria: tuple[Criterion, ...]) -> "Task":
        """Give the same task with another rubric as its grader."""
        return self.model_copy(update={"grader": RubricGrader(criteria=criteria)})

    def row(self) -> dict[str, Any]:
        """Give the task as plain JSON data, from which `Task.model_validate` makes it again."""
        whole = {"grader": self.grader, "environment": self.environment}
        return self.model_dump(mode="json", exclude_defaults=True) | {
            name: part.model_dump(mode="json") for name, part in whole.items() if part is not None
        }


class GoldPair(_Data):
    """A good and a tempting bad answer to a scenario, by which judges are examined. No reward depends on them."""

    scenario: Text
    good: Text
    bad: Text
