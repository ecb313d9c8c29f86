"""The battery: evals of our own, each a construct, a domain and items with good and tempting bad answers."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from steadfast.errors import DataError
from steadfast.messages import Message
from steadfast.tasks.environment import Environment
from steadfast.tasks.environment_files import shipped_environments
from steadfast.tasks.loading import read_jsonl

Text = Annotated[str, Field(min_length=1)]


class EvalItem(BaseModel):
    """One item.

    Attributes:
        id: unique in its eval.
        messages: the conversation; the last turn is the user's.
        criterion: what a good answer does, for a judge of free answers.
        good: replies a beneficial assistant might give.
        bad: tempting replies it would not; alike in length, style and format.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Text
    messages: tuple[Message, ...] = Field(min_length=1)
    criterion: Text
    good: tuple[Text, ...] = Field(min_length=1)
    bad: tuple[Text, ...] = Field(min_length=1)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Eval:
    """One evaluation.

    Attributes:
        name: in commands and files.
        title: in reports.
        construct: what it measures, one of the paper's constructs (arXiv:2606.24014).
        domain: where; "health" and "mental-health" count as health.
        measures: what, and in which format, in a sentence.
        source: "steadfast" for our own.
        format: "replies": items with good and bad replies, free answers graded by a judge; "environment": simulated
            environments with tools, graded by what the agent did in them.
    """

    name: str
    title: str
    construct: str
    domain: str
    measures: str
    source: str = "steadfast"
    format: Literal["replies", "environment"] = "replies"

    def items(self) -> list[EvalItem]:
        """Its items, in file order; of an environment the decision, with calls for replies."""
        if self.format == "environment":
            return [_decision(e) for e in shipped_environments(self.name)]
        return list(_items(self.name))

    def environments(self) -> dict[str, Environment]:
        """Its environments by id, in file order; none of the format "replies"."""
        return {e.id: e for e in shipped_environments(self.name)} if self.format == "environment" else {}


HEALTH_DOMAINS = ("health", "mental-health")
SCORINGS = ("choice", "generation")


@cache
def battery() -> tuple[Eval, ...]:
    """Every eval that ships, in catalogue order."""
    return TypeAdapter(tuple[Eval, ...]).validate_python(
        yaml.safe_load((_data() / "catalogue.yaml").read_text(encoding="utf-8"))
    )


def select(names: Sequence[str] | None) -> list[Eval]:
    """Evals by name, all of them for None.

    Raises:
        DataError: naming every unknown name.
    """
    known = {e.name: e for e in battery()}
    if names is None:
        return list(known.values())
    unknown = [n for n in names if n not in known]
    if unknown:
        raise DataError([f"unknown eval {n!r}; `steadfast evals` lists them" for n in unknown])
    return [known[n] for n in names]


@cache
def _items(name: str) -> tuple[EvalItem, ...]:
    return tuple(read_jsonl(_data() / f"{name}.jsonl", EvalItem, key="id"))


def _decision(environment: Environment) -> EvalItem:
    good, bad = ([str(way[0]) for way in ways] for ways in (environment.good, environment.bad))
    return EvalItem(
        id=environment.id,
        messages=environment.messages,
        criterion=environment.criterion,
        good=tuple(good),
        bad=tuple(bad),
    )


def _data() -> Path:
    return Path(str(files("steadfast.tasks") / "data" / "evals"))
