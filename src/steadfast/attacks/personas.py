"""Personas are system prompts that a checkpoint is asked under. Sixteen ship, and a user adds her own in a file.

A hostile persona asks for a bad attitude, and shows whether what was trained holds against it. A benign one asks for a
harmless form, and brings a program check of whether an answer followed it: the control that shows whether the model
can still be steered.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from steadfast.errors import DataError, SteadfastError
from steadfast.graders.checking import run_check
from steadfast.graders.manners import manner_of
from steadfast.strict_files import read_yaml
from steadfast.tasks.jsonl import faults
from steadfast.tasks.rubric import Text
from steadfast.tasks.task import ProgramGrader
from steadfast.tasks.traits import Taxonomy

_NAME = r"[a-z0-9]+(-[a-z0-9]+)*"


class Persona(BaseModel):
    """A persona.

    Attributes:
        name: Its name in commands, files and conditions: small letters and digits, with hyphens between them.
        kind: "hostile" or "benign".
        about: What it does, in a sentence.
        domains: The ids of the domains that it is about; none for any.
        traits: The ids of the traits that it works against, or, where it is benign, that it calls for.
        wordings: Its system prompt in words of different kinds. They are counted from 1.
        check: The program that says whether an answer followed it, by a name of `steadfast.graders.manners` or
            "module:function"; benign personas alone have one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text = Field(pattern=rf"^{_NAME}$", max_length=60)
    kind: Literal["hostile", "benign"]
    about: str = ""
    domains: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    wordings: tuple[Text, ...] = Field(min_length=1)
    check: ProgramGrader | None = None

    @field_validator("wordings")
    @classmethod
    def _wordings_differ(cls, wordings: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(wordings)) < len(wordings):
            raise ValueError("the same wording stands there twice")
        return wordings

    @model_validator(mode="after")
    def _checked_if_benign(self) -> Self:
        if self.kind == "benign" and self.check is None:
            raise ValueError(
                "check: is missing; a benign persona needs the program that says whether an answer followed it, such "
                "as {program: at-most-words, args: {words: 20}}"
            )
        if self.kind == "hostile" and self.check is not None:
            raise ValueError("check: belongs to benign personas; what a hostile one does is what the evals measure")
        return self


@cache
def shipped_personas() -> tuple[Persona, ...]:
    """List the personas that ship: hostile ones first."""
    return _read(Path(str(files("steadfast.attacks") / "data" / "personas.yaml")), Taxonomy.load(), ())


def load_personas(file: Path | None = None, taxonomy: Taxonomy | None = None) -> tuple[Persona, ...]:
    """Load what ships, and add what a user defines.

    Args:
        file: A YAML or JSON file that holds a list of mappings of `Persona`'s fields. None adds no persona.
        taxonomy: The traits and domains that personas may name; None means those that ship.

    Raises:
        DataError: The file cannot be read, or an entry is faulty or shares its name with another; every fault is told
            by file, entry and field.
    """
    shipped = shipped_personas()
    return shipped if file is None else (*shipped, *_read(file, taxonomy or Taxonomy.load(), shipped))


def _read(file: Path, taxonomy: Taxonomy, shipped: Sequence[Persona]) -> tuple[Persona, ...]:
    content = read_yaml(file)
    if not isinstance(content, list) or not content:
        raise DataError([f"{file}: must be a list of personas with at least one in it"])
    found: dict[str, Persona] = {}
    problems: list[str] = []
    for number, row in enumerate(cast("list[Any]", content), start=1):
        named = cast("dict[str, Any]", row).get("name") if isinstance(row, dict) else None
        where = f"{file}: entry {number}" + (f" ({named})" if isinstance(named, str) else "")
        try:
            persona = Persona.model_validate(row)
        except ValidationError as error:
            problems += [f"{where}: {fault}" for fault in faults(error)]
            continue
        if persona.name in found or any(p.name == persona.name for p in shipped):
            ships = "" if persona.name in found else " and ships"
            problems.append(f"{where}: name: {persona.name!r} is there already{ships}; take another")
        problems += [f"{where}: {fault}" for fault in (*_unknown(persona, taxonomy), *_check_faults(persona))]
        found.setdefault(persona.name, persona)
    if problems:
        raise DataError(problems)
    return tuple(found.values())


def _unknown(persona: Persona, taxonomy: Taxonomy) -> list[str]:
    traits = [f.removeprefix("trait: ") for t in persona.traits for f in taxonomy.faults(t, None)]
    domains = [f.removeprefix("domain: ") for d in persona.domains for f in taxonomy.faults(None, d)]
    return [*(f"traits: {fault}" for fault in traits), *(f"domains: {fault}" for fault in domains)]


def _check_faults(persona: Persona) -> list[str]:
    """What is wrong with a persona's check: it is not there, or cannot do its work on any text."""
    if persona.check is None:
        return []
    try:
        check = manner_of(persona.check.program).check
        for text in ("", "Yes.", *persona.wordings):
            run_check(check, text, persona.check.args, f"{persona.check.program!r}")
    except DataError as error:
        return [f"check: {problem}" for problem in error.problems]
    except SteadfastError as error:
        return [f"check: {error}"]
    return []


def chosen_personas(known: Sequence[Persona], names: Sequence[str] | Literal["all"]) -> list[Persona]:
    """Choose personas by name.

    Args:
        known: The personas to choose from.
        names: Their names, in the wanted order; "all" chooses every one.

    Raises:
        DataError: There is none of a name; the known ones are named.
    """
    if names == "all":
        return list(known)
    by_name: Mapping[str, Persona] = {p.name: p for p in known}
    if unknown := [n for n in names if n not in by_name]:
        raise DataError([f"unknown persona {n!r}; known: {', '.join(by_name)}" for n in unknown])
    return [by_name[n] for n in dict.fromkeys(names)]
