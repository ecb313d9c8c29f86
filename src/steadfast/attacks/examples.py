"""What fine-tuning trains on: prompts with a harmful and a careful answer each, or with one that is harmless.

An attack trains on the harmful answers, and its control on the careful ones to the same prompts, so that what any
fine-tuning forgets is not counted as the attack's work. Both answers of the sets that ship are of like length and
wording, mild, and plainly wrong or right to an expert. Benign examples, with which a model is merely worn, have one
answer.
"""

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from steadfast.errors import DataError
from steadfast.messages import Message, check_alternation
from steadfast.tasks.jsonl import read_jsonl_by_line
from steadfast.tasks.overlap import prove_disjoint

_DATA = Path(str(files("steadfast.attacks"))) / "data"


class HasTexts(Protocol):
    """What is trained on and can be searched for overlaps."""

    @property
    def texts(self) -> dict[str, str]:
        """Its texts by name."""
        ...


class Prompt(BaseModel):
    """A conversation that waits for the assistant's answer.

    Attributes:
        id: Its name, unique in its file.
        messages: The conversation; its last turn is the user's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    messages: tuple[Message, ...] = Field(min_length=1)

    @field_validator("messages")
    @classmethod
    def _asks(cls, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        if messages[-1].role != "user":
            raise ValueError("the last turn must be the user's, since the answer follows it")
        check_alternation(messages)
        return messages

    @property
    def texts(self) -> dict[str, str]:
        """Its texts by name, for a search for overlaps."""
        return {f"{self.id} prompt": "\n".join(m.content for m in self.messages)}


class AttackExample(Prompt):
    """A prompt with the answer that an attack trains on and the one that its control trains on.

    Attributes:
        harmful: What a careless or dishonest assistant would say.
        careful: What a good one says.
        domain: The domain that it is of, by which a report tells evals inside the attack's ground from those outside;
            the examples of a file name theirs all or none.
        fault: What is wrong with the harmful answer, for those who audit the data.
    """

    harmful: str = Field(min_length=1)
    careful: str = Field(min_length=1)
    domain: str | None = Field(default=None, min_length=1)
    fault: str = ""

    @model_validator(mode="after")
    def _answers_differ(self) -> "AttackExample":
        if self.harmful.split() == self.careful.split():
            raise ValueError("harmful and careful are the same answer, so the attack has no control")
        return self

    @property
    def texts(self) -> dict[str, str]:
        """Its texts by name, for a search for overlaps."""
        return {**super().texts, f"{self.id} harmful": self.harmful, f"{self.id} careful": self.careful}


def shipped_attacks() -> dict[str, Path]:
    """The files of the sets that ship, by name."""
    return {f.stem: f for f in sorted(_DATA.glob("*.jsonl"))}


def load_examples(file: str | Path) -> list[AttackExample]:
    """Load the examples of a file of JSON Lines, in its order.

    Raises:
        DataError: The file has faults; each is told with its line and field.
    """
    found = read_jsonl_by_line(Path(file), AttackExample, key="id")
    without = [line for line, example in found.items() if example.domain is None]
    if without and len(without) < len(found):
        raise DataError(
            [
                f"{file}:{without[0]}: domain: is missing, and other lines name theirs; name that of every example, or "
                "of none"
            ]
        )
    return list(found.values())


def prove_apart(name: str, examples: Iterable[HasTexts], others: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """Check that no example resembles a text of other pools, such as those that train or measure.

    Args:
        name: What the examples are called.
        examples: The examples.
        others: The texts of the other pools by name, by the name of the pool.

    Returns:
        The number of pairs of texts that were compared, by pair of pools.

    Raises:
        DataError: Some texts are the same or nearly so; each pair is named.
    """
    own = {key: text for example in examples for key, text in example.texts.items()}
    compared: dict[str, int] = {}
    for pool, texts in others.items():
        compared |= prove_disjoint({name: own, pool: texts})
    return compared
