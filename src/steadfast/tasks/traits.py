"""Fifteen traits and twelve domains ship, and a user adds her own in files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from steadfast.errors import DataError
from steadfast.strict_files import read_yaml
from steadfast.tasks.rubric import Text


class Trait(BaseModel):
    """A beneficial trait.

    Attributes:
        id: The trait's name in data files.
        name: Its name in reports.
        starred: Whether it is one of the seven of the paper's held-out trait evaluation.
        definition: What the trait is, in one sentence.
        good: What it looks like under pressure. The text is empty if the user did not say.
        failure: What giving in looks like. The text is empty if the user did not say.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Text
    name: Text
    definition: Text
    starred: bool = False
    good: str = ""
    failure: str = ""


class Domain(BaseModel):
    """A field of life that tasks are set in.

    Attributes:
        id: The domain's name in data files.
        name: Its name in reports.
        covers: What belongs to the domain.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Text
    name: Text
    covers: Text


Entry = TypeVar("Entry", Trait, Domain)


@cache
def traits() -> tuple[Trait, ...]:
    """List the traits that ship, in the paper's order."""
    return TypeAdapter(tuple[Trait, ...]).validate_python(read_yaml(_data("traits.yaml")))


@cache
def domains() -> tuple[Domain, ...]:
    """List the domains that ship, in the paper's order."""
    return TypeAdapter(tuple[Domain, ...]).validate_python(read_yaml(_data("domains.yaml")))


@dataclass(frozen=True)
class Taxonomy:
    """The traits and domains that tasks may name.

    Attributes:
        traits: The traits. Those that ship stand first.
        domains: The domains. Those that ship stand first.
    """

    traits: tuple[Trait, ...]
    domains: tuple[Domain, ...]

    @classmethod
    def load(cls, traits_file: Path | None = None, domains_file: Path | None = None) -> "Taxonomy":
        """Load what ships, and add what a user defines.

        Args:
            traits_file: A YAML or JSON file, or a folder of them. A file holds a mapping from each id to its
                description or to a mapping of `Trait`'s fields, or a list of such mappings. None adds no trait.
            domains_file: The same for domains.

        Raises:
            DataError: A file cannot be read, or an entry is faulty or shares its id with one that ships.
        """
        return cls(
            (*traits(), *_added(traits_file, Trait, "definition", {t.id for t in traits()})),
            (*domains(), *_added(domains_file, Domain, "covers", {d.id for d in domains()})),
        )

    @property
    def trait_ids(self) -> tuple[str, ...]:
        """The ids of the traits."""
        return tuple(t.id for t in self.traits)

    @property
    def domain_ids(self) -> tuple[str, ...]:
        """The ids of the domains."""
        return tuple(d.id for d in self.domains)

    def faults(self, trait: str | None, domain: str | None) -> list[str]:
        """List the faults of the trait and the domain that a task names, each as `field: what is wrong`."""
        found: list[str] = []
        for kind, value, known in (("trait", trait, self.trait_ids), ("domain", domain, self.domain_ids)):
            if value is not None and value not in known:
                found.append(
                    f"{kind}: unknown {kind} {value!r}; known: {', '.join(known)}. Define your own in a file, "
                    f"a mapping of id to description, and give it as --{kind}s FILE (in a recipe, {kind}s: FILE)"
                )
        return found


def _added(path: Path | None, entry: type[Entry], described: str, shipped: set[str]) -> list[Entry]:
    if path is None:
        return []
    files_here = (
        sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml", ".json")) if path.is_dir() else [path]
    )
    if not files_here:
        raise DataError([f"{path}: the folder holds no .yaml or .json file"])
    problems: list[str] = []
    found: dict[str, Entry] = {}
    for file in files_here:
        for fields in _rows(read_yaml(file), file, described):
            where = f"{file}: {fields.get('id', 'an entry')}"
            try:
                one = entry.model_validate(fields)
            except ValidationError as error:
                problems += [f"{where}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
                continue
            if one.id in shipped or one.id in found:
                problems.append(f"{where}: is defined already{' and ships' * (one.id in shipped)}; take another id")
            found[one.id] = one
    if problems:
        raise DataError(problems)
    return list(found.values())


def _rows(content: Any, file: Path, described: str) -> list[dict[str, Any]]:
    """Give each entry's fields, whichever of the three ways they are written in."""
    if isinstance(content, Mapping):
        rows: list[dict[str, Any]] = []
        for name, value in cast("Mapping[Any, Any]", content).items():
            fields: dict[str, Any] = dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else {}
            if not fields:
                fields = {described: value}
            rows.append({"id": str(name), "name": _title(str(name)), **fields})
        return rows
    if isinstance(content, Sequence) and not isinstance(content, str):
        entries = cast("Sequence[Any]", content)
        if all(isinstance(e, Mapping) for e in entries):
            return [{"name": _title(str(e.get("id", ""))), **e} for e in cast("Sequence[Mapping[str, Any]]", entries)]
    raise DataError([f"{file}: must be a mapping of id to description, or a list of entries with id and {described}"])


def _title(identifier: str) -> str:
    return identifier.replace("-", " ").replace("_", " ").capitalize()


def _data(name: str) -> Path:
    return Path(str(files("steadfast.tasks") / "data" / name))
