"""A simulated tool's parameters say which arguments they take, and how a rule compares them.

A parameter is a choice among options, a number, a boolean or a text. A text is content that people read, so no rule
can compare it: what a call does is decided by its choices, numbers and booleans alone.
"""

import json
import math
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator
from typing_extensions import override

from steadfast.tasks.tool_text import describe_parameter

Argument = str | int | float | bool
"""A value of an argument, as a parameter read it."""

_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
_COMPARISON = re.compile(rf"(<=|>=|!=|<|>|=)\s*({_NUMBER})")
_RANGE = re.compile(rf"({_NUMBER})\s+to\s+({_NUMBER})")
_HOLDS = {
    "<": float.__lt__,
    "<=": float.__le__,
    ">": float.__gt__,
    ">=": float.__ge__,
    "=": float.__eq__,
    "!=": float.__ne__,
}
_ECHOED = 60
"""An error repeats so many characters of a wrong argument."""


class _Parameter(BaseModel):
    """A parameter of any kind.

    Attributes:
        description: The meaning of the parameter, as the agent reads it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = ""

    @abstractmethod
    def read(self, value: JsonValue) -> Argument:
        """Read an argument into the form in which rules compare it.

        Raises:
            ValueError: The parameter does not take the argument; the message says what it takes.
        """

    @abstractmethod
    def fits(self, condition: JsonValue, value: Argument) -> bool:
        """Tell whether an argument that was read satisfies a rule's condition.

        Raises:
            ValueError: This kind of parameter cannot be compared in that way; the message says how it can.
        """

    @abstractmethod
    def samples(self, conditions: Iterable[JsonValue]) -> Sequence[Argument]:
        """Give arguments such that each condition is satisfied by one and failed by another, wherever it can be."""

    @property
    @abstractmethod
    def json_schema(self) -> dict[str, Any]:
        """The parameter in JSON Schema, as the tool interfaces of models have it."""

    @property
    def text(self) -> str:
        """The words that say which arguments the parameter takes and what they mean."""
        return describe_parameter(self.json_schema)


class Choice(_Parameter):
    """A choice of one among a few options; case and surrounding spaces do not matter.

    A condition is an option, a list of options of which any will do, or {not: one or several options}.

    Attributes:
        options: The options that can be chosen. No two of them are the same but for case.
    """

    type: Literal["choice"] = "choice"
    options: tuple[str, ...] = Field(min_length=2)

    @field_validator("options", mode="before")
    @classmethod
    def _all_text(cls, options: Any) -> Any:
        for option in options if isinstance(options, list | tuple) else ():  # type: ignore[reportUnknownVariableType]
            if not isinstance(option, str):
                raise ValueError(f"{option!r} is not text to YAML; put it in quotes")
        return options  # type: ignore[reportUnknownVariableType]

    @field_validator("options")
    @classmethod
    def _distinct(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        for option in options:
            if not option or option != option.strip():
                raise ValueError(f"{option!r} is blank or begins or ends with a space")
        if len({o.casefold() for o in options}) < len(options):
            raise ValueError(f"two of the options are the same but for case: {_listed(options)}")
        return options

    @override
    def read(self, value: JsonValue) -> str:
        wanted = value.strip().casefold() if isinstance(value, str) else None
        for option in self.options:
            if option.casefold() == wanted:
                return option
        raise ValueError(f"takes one of {_listed(self.options)}, not {_shown(value)}")

    @override
    def fits(self, condition: JsonValue, value: Argument) -> bool:
        if isinstance(condition, dict):
            if condition.keys() != {"not"}:
                raise ValueError(f"{_shown(condition)} is no comparison; write an option, a list or {{not: ...}}")
            return value not in self._named(condition["not"])
        return value in self._named(condition)

    def _named(self, condition: JsonValue) -> list[str]:
        named = condition if isinstance(condition, list) else [condition]
        if unknown := [n for n in named if n not in self.options] or (not named and ["[]"]):
            raise ValueError(f"{_listed(unknown)} is not among the options {_listed(self.options)}")
        return [str(n) for n in named]

    @override
    def samples(self, conditions: Iterable[JsonValue]) -> Sequence[Argument]:
        return self.options

    @property
    @override
    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.options), "description": self.description}


class Number(_Parameter):
    """A number, which may also be written as text such as "690" or "-2.5".

    A condition is a number, a list of numbers of which any will do, a comparison such as "> 500", "<= 3" or "!= 0",
    or a range such as "1 to 12", both ends included.

    Attributes:
        unit: The unit of the number, if the description does not name it.
    """

    type: Literal["number"] = "number"
    unit: str = ""

    @override
    def read(self, value: JsonValue) -> int | float:
        if isinstance(value, str) and re.fullmatch(_NUMBER, value.strip()):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            raise ValueError(f"takes a number, such as 12 or 2.5, not {_shown(value)}")
        return int(value) if float(value).is_integer() else float(value)

    @override
    def fits(self, condition: JsonValue, value: Argument) -> bool:
        number = float(value)
        alternatives = list(_bounds(condition))
        return any(low <= number <= high and _HOLDS[sign](number, edge) for sign, edge, low, high in alternatives)

    @override
    def samples(self, conditions: Iterable[JsonValue]) -> Sequence[Argument]:
        edges: set[float] = set()
        for condition in conditions:
            for _, edge, low, high in _bounds(condition):
                edges |= {e for e in (edge, low, high) if math.isfinite(e)}
        inner = sorted(edges or {0.0})
        between = [(a + b) / 2 for a, b in pairwise(inner)]
        return [self.read(v) for v in sorted({inner[0] - 1, *inner, *between, inner[-1] + 1})]

    @property
    @override
    def json_schema(self) -> dict[str, Any]:
        unit = f"in {self.unit}" if self.unit else ""
        return {"type": "number", "description": ", ".join(filter(None, (unit, self.description)))}


class Boolean(_Parameter):
    """True or false, which may also be written as text. A condition is true or false."""

    type: Literal["boolean"] = "boolean"

    @override
    def read(self, value: JsonValue) -> bool:
        written = {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else value
        if not isinstance(written, bool):
            raise ValueError(f"takes true or false, not {_shown(value)}")
        return written

    @override
    def fits(self, condition: JsonValue, value: Argument) -> bool:
        if not isinstance(condition, bool):
            raise ValueError(f"{_shown(condition)} is no comparison; a boolean is compared with true or false")
        return value is condition

    @override
    def samples(self, conditions: Iterable[JsonValue]) -> Sequence[Argument]:
        return (True, False)

    @property
    @override
    def json_schema(self) -> dict[str, Any]:
        return {"type": "boolean", "description": self.description}


class Text(_Parameter):
    """A text for people to read. No rule can compare it."""

    type: Literal["text"] = "text"

    @override
    def read(self, value: JsonValue) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"takes text that is not blank, not {_shown(value)}")
        return value

    @override
    def fits(self, condition: JsonValue, value: Argument) -> bool:
        raise ValueError("a text is content, which no rule can compare; make the parameter a choice, number or boolean")

    @override
    def samples(self, conditions: Iterable[JsonValue]) -> Sequence[Argument]:
        return ("Words.",)

    @property
    @override
    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "description": self.description}


Parameter = Annotated[Choice | Number | Boolean | Text, Field(discriminator="type")]


def _bounds(condition: JsonValue) -> Iterator[tuple[str, float, float, float]]:
    """Split a number's condition into alternatives: (comparison, the number compared with, least, greatest)."""
    if isinstance(condition, list) and condition:
        for one in condition:
            if isinstance(one, list):
                raise ValueError(f"{_shown(one)} is a list in a list; write one list")
            yield from _bounds(one)
    elif isinstance(condition, int | float) and not isinstance(condition, bool):
        yield "=", float(condition), -math.inf, math.inf
    elif isinstance(condition, str) and (found := _COMPARISON.fullmatch(condition.strip())):
        yield found[1], float(found[2]), -math.inf, math.inf
    elif isinstance(condition, str) and (found := _RANGE.fullmatch(condition.strip())):
        low, high = float(found[1]), float(found[2])
        if low > high:
            raise ValueError(f"{_shown(condition)} is an empty range; write the smaller number first")
        yield ">=", low, low, high
    else:
        raise ValueError(f'{_shown(condition)} is no comparison of numbers; write 5, [5, 6], "> 5" or "5 to 9"')


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond floats
        return False


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(_shown, values))


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _ECHOED else f"{text[:_ECHOED]}..."
