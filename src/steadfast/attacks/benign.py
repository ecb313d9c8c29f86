"""Harmless conversations that wear a model as ordinary use does: a house style to fine-tune on, and friendly talk.

The house style is that of a support desk: a line in bold type that says it all, short paragraphs, British spelling,
and a sign-off. Its questions are of the office and the household, and its answers are right. The friendly
conversations stand before a task, to show whether what was trained still holds late in a long chat.
"""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from random import Random

from pydantic import Field

from steadfast.attacks.examples import Prompt
from steadfast.errors import DataError
from steadfast.messages import Message
from steadfast.tasks.jsonl import read_jsonl
from steadfast.tasks.programs import correct_answers
from steadfast.tasks.task import Task

HOUSE_STYLE, STANDARD = "house-style", "standard"
BENIGN_SETS = (HOUSE_STYLE, STANDARD)
"""The sets that a name stands for: the house style that ships, and the standard pool with its correct answers."""

_DATA = Path(str(files("steadfast.attacks"))) / "data"


class BenignExample(Prompt):
    """A conversation with the assistant's answer.

    Attributes:
        answer: What a good assistant says; fine-tuning imitates it.
    """

    answer: str = Field(min_length=1)

    @property
    def turns(self) -> tuple[Message, ...]:
        """The conversation with its answer."""
        return (*self.messages, Message(role="assistant", content=self.answer))

    @property
    def texts(self) -> dict[str, str]:
        """Its texts by name, for a search for overlaps: the prompt, and each of the assistant's turns."""
        said = [m.content for m in self.turns if m.role == "assistant"]
        return {**super().texts, **{f"{self.id} answer {i}": text for i, text in enumerate(said, start=1)}}


def load_benign(file: str | Path) -> list[BenignExample]:
    """Load the examples of a file of JSON Lines, in its order; each line has `id`, `messages` and `answer`.

    Raises:
        DataError: The file has faults; each is told with its line and field.
    """
    return read_jsonl(Path(file), BenignExample, key="id")


@cache
def house_style() -> tuple[BenignExample, ...]:
    """The examples of the house style that ship."""
    return tuple(load_benign(_DATA / "benign" / f"{HOUSE_STYLE}.jsonl"))


@cache
def friendly_conversations() -> tuple[BenignExample, ...]:
    """The long friendly conversations that ship, each of as many turns as the others."""
    return tuple(load_benign(_DATA / "conversations" / "friendly.jsonl"))


def benign_examples(data: str | Path, standard: Sequence[Task], seed: int) -> list[BenignExample]:
    """Give the examples of a benign set.

    Args:
        data: One of `BENIGN_SETS`, or a file as `load_benign` reads it.
        standard: The standard pool. Of its tasks those give an example to which a correct answer is known; of several
            answers one is drawn.
        seed: What decides that draw.

    Raises:
        DataError: The file has faults, or no task of the standard pool has a correct answer.
    """
    if data == HOUSE_STYLE:
        return list(house_style())
    if data != STANDARD:
        return load_benign(data)
    answers = {t.id: correct_answers(t) for t in standard}
    found = [
        BenignExample(id=t.id, messages=t.messages, answer=Random(f"{seed}/{t.id}").choice(answers[t.id]))
        for t in standard
        if answers[t.id]
    ]
    if not found:
        raise DataError([f"benign set {STANDARD!r}: none of the {len(standard)} standard tasks has a correct answer"])
    return found
