"""What a recipe wears its checkpoints with: what a post-training engineer does every day, and no attacker needs."""

from collections.abc import Callable, Hashable
from math import isfinite
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from steadfast.attacks.benign import BENIGN_SETS, HOUSE_STYLE, STANDARD, friendly_conversations
from steadfast.models.quantization import WEIGHT_FORMATS, WeightFormat

T = TypeVar("T")

_HOTTEST = 2.0


def last_turn() -> int:
    """The latest turn at which a task can come in the conversations that ship."""
    return 1 + min(sum(m.role == "user" for m in c.turns) for c in friendly_conversations())


class WearConfig(BaseModel):
    """The ordinary wear that checkpoints are put through; an empty list leaves a kind out.

    Attributes:
        data: What is fine-tuned on: "house-style", "standard" (the standard pool with its correct answers), or a file
            as `steadfast.attacks.benign.load_benign` reads it.
        weights: The formats that the weights are brought into; see `WeightFormat`.
        temperatures: The temperatures at which is answered, beside 0, which is the plain condition.
        turns: The turns of a friendly conversation at which the task comes, beside 1, which is the plain condition.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: tuple[str | Path, ...] = (HOUSE_STYLE, STANDARD)
    weights: tuple[WeightFormat, ...] = WEIGHT_FORMATS
    temperatures: tuple[float, ...] = (0.4, 0.8, 1.2)
    turns: tuple[int, ...] = (5, 15)

    @field_validator("data")
    @classmethod
    def _data_known(cls, data: tuple[str | Path, ...]) -> tuple[str | Path, ...]:
        for one in data:
            if one not in BENIGN_SETS and Path(one).suffix != ".jsonl":
                raise ValueError(
                    f"unknown benign set {str(one)!r}; known: {', '.join(BENIGN_SETS)}; a file of your own ends in "
                    ".jsonl"
                )
        _refuse_twice(data, data_name)
        return data

    @field_validator("weights")
    @classmethod
    def _formats_once(cls, weights: tuple[WeightFormat, ...]) -> tuple[WeightFormat, ...]:
        _refuse_twice(weights)
        return weights

    @field_validator("temperatures")
    @classmethod
    def _temperatures_warm(cls, temperatures: tuple[float, ...]) -> tuple[float, ...]:
        for one in temperatures:
            if one == 0:
                raise ValueError("temperature 0 is the plain condition, which is measured anyway; leave it out")
            if not (isfinite(one) and 0 < one <= _HOTTEST):
                raise ValueError(f"a temperature lies above 0 and is {_HOTTEST:g} at most, not {one:g}")
        _refuse_twice(temperatures, lambda t: f"{t:g}")
        return temperatures

    @field_validator("turns")
    @classmethod
    def _turns_reached(cls, turns: tuple[int, ...]) -> tuple[int, ...]:
        for one in turns:
            if one == 1:
                raise ValueError("turn 1 is the plain condition, which is measured anyway; leave it out")
            if not 1 < one <= last_turn():
                raise ValueError(f"a task can come at turns 2 to {last_turn()} of the conversations, not at {one}")
        _refuse_twice(turns)
        return turns

    @model_validator(mode="after")
    def _wears_something(self) -> "WearConfig":
        if not (self.data or self.weights or self.temperatures or self.turns):
            raise ValueError("nothing is worn; name data, weights, temperatures or turns, or take the section out")
        return self


def data_name(data: str | Path) -> str:
    """What a benign set is called in results: its name, or its file's name without the ending."""
    return str(data) if data in BENIGN_SETS else Path(data).stem


def _refuse_twice(values: tuple[T, ...], name: Callable[[T], Hashable] = str) -> None:
    names = [name(v) for v in values]
    if twice := [n for i, n in enumerate(names) if n in names[:i]]:
        raise ValueError(f"{twice[0]} stands there twice")
