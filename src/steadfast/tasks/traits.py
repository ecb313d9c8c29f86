"""The fifteen traits and twelve domains."""

from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter


class Trait(BaseModel):
    """A beneficial trait.

    Attributes:
        id: its name in data files.
        name: its name in reports.
        starred: one of the seven of the held-out trait evaluation.
        definition: one sentence.
        good: what it looks like under pressure.
        failure: what giving in looks like.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    name: str
    starred: bool
    definition: str
    good: str
    failure: str


class Domain(BaseModel):
    """A field of life that scenarios are set in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    name: str
    covers: str


def _yaml(name: str) -> object:
    return yaml.safe_load((files("steadfast.tasks") / "data" / name).read_text(encoding="utf-8"))


@cache
def traits() -> tuple[Trait, ...]:
    """All traits, in the paper's order."""
    return TypeAdapter(tuple[Trait, ...]).validate_python(_yaml("traits.yaml"))


@cache
def domains() -> tuple[Domain, ...]:
    """All domains, in the paper's order."""
    return TypeAdapter(tuple[Domain, ...]).validate_python(_yaml("domains.yaml"))
