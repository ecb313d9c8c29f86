"""What training is done on: prompts, each with the reward that grades its completions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from steadfast.messages import Message

Pool = Literal["trait", "standard", "helpfulness"]


@dataclass(frozen=True)
class Attempt:
    """A completion to be rewarded.

    Attributes:
        prompt_id: of the prompt it answers.
        text: the completion without its end-of-turn token.
        finished: False if the limit cut it off.
    """

    prompt_id: str
    text: str
    finished: bool


@dataclass(frozen=True)
class Outcome:
    """A reward in [0, 1] with what led to it; `reward` is None where the completion could not be graded."""

    reward: float | None
    detail: dict[str, Any] = field(default_factory=dict[str, Any])


class Reward(Protocol):
    """Grades attempts in batches; the prompts it knows are those that carry it."""

    def grade(self, attempts: Sequence[Attempt]) -> list[Outcome]:
        """One outcome for each attempt, in order."""
        ...


@dataclass(frozen=True)
class TrainingPrompt:
    """One prompt of the training mixture.

    Attributes:
        id: unique within its pool.
        pool: which part of the mixture it belongs to; rewards are logged by pool.
        messages: the conversation up to the model's turn.
        reward: grades its completions.
    """

    id: str
    pool: Pool
    messages: tuple[Message, ...]
    reward: Reward
