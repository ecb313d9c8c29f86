"""A suite is a named set of tasks that measure one construct. Some ship; a user's comes from a file or a function."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from steadfast.errors import DataError
from steadfast.strict_files import read_yaml
from steadfast.tasks.environment import Environment
from steadfast.tasks.environment_files import shipped_environments
from steadfast.tasks.jsonl import faults, read_jsonl
from steadfast.tasks.loading import load_tasks, tasks_of_rows, with_splits
from steadfast.tasks.rubric import Text
from steadfast.tasks.task import OutcomeGrader, References, Task
from steadfast.tasks.traits import Taxonomy
from steadfast.tasks.twins import Family, family_of, read_family, shipped_families, twins_of

Kind = Literal["eval", "twins", "trait", "capability", "chat", "public"]
"""A suite is an out-of-distribution eval, a family of twins that a program checks, tests the rewarded traits
themselves, holds standard tasks that show the cost or harmless everyday requests that show refusals, or is a public
benchmark."""

UNNAMED = "unnamed"
"""The construct of a suite that names none; a suite of one trait then measures that trait."""

HEALTH_DOMAINS = ("health", "mental-health")
"""Suites of these domains count as health."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SuiteInfo:
    """The description of a suite, without its tasks.

    Attributes:
        name: The suite's name in commands and files.
        title: Its name in reports.
        construct: The name of the construct that it measures.
        domain: The domain that its tasks are set in; "several" if each task names its own.
        measures: A sentence that says what it measures and in which format.
        source: The user's file or function, or "steadfast" for a suite that ships.
        kind: Its part in an experiment.
        group: Suites of one group are near to one another, and far from all others; empty for none.
    """

    name: Text
    title: str = ""
    construct: str = UNNAMED
    domain: str = "general"
    measures: str = ""
    source: str = "steadfast"
    kind: Kind = "eval"
    group: str = ""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Suite(SuiteInfo):
    """A suite with its tasks.

    Attributes:
        tasks: The tasks in their order. Each bears the suite's name.
    """

    tasks: tuple[Task, ...] = ()

    @property
    def paired(self) -> tuple[Task, ...]:
        """The tasks whose references can be compared by likelihood."""
        return tuple(t for t in self.tasks if t.references.paired)

    @property
    def answered(self) -> tuple[Task, ...]:
        """The tasks that a model answers or acts in, and whose rollouts are graded."""
        return tuple(t for t in self.tasks if t.grader.kind != "preference")

    def limited(self, limit: int | None) -> tuple[Task, ...]:
        """At most `limit` tasks: the first ones, with the twin of each, or of a family's twins evenly over all cells.

        Pairs stay whole, and where there are any, at least one is taken.
        """
        if limit is None or limit >= len(self.tasks):
            return self.tasks
        if self.kind != "twins":
            kept: set[str] = set()
            for task in self.tasks:
                both = {task.id} | ({task.pair} if task.pair is not None else set())
                if not kept or len(kept | both) <= limit:
                    kept |= both
            return tuple(t for t in self.tasks if t.id in kept)
        pairs, wanted = len(self.tasks) // 2, max(1, limit // 2)
        places = [k * pairs // wanted for k in range(wanted)]
        return tuple(self.tasks[2 * place + side] for place in places for side in (0, 1))

    def validated(self) -> "Suite":
        """Check the suite without a model, and give it back.

        Raises:
            DataError: A task names as its pair no task of the suite, or one that does not name it back.
        """
        by_id = {t.id: t for t in self.tasks}
        problems: list[str] = []
        for task in self.tasks:
            if task.pair is None:
                continue
            other = by_id.get(task.pair)
            if other is None:
                problems.append(f"{self.source}: {task.id}: pair: {task.pair!r} is no task of this suite")
            elif other.pair != task.id or other is task:
                problems.append(f"{self.source}: {task.id}: pair: {task.pair!r} does not name it back")
        if problems:
            raise DataError(problems)
        return self


@cache
def catalogue() -> tuple[SuiteInfo, ...]:
    """List the evals that ship, without their tasks, in the catalogue's order."""
    return TypeAdapter(tuple[SuiteInfo, ...]).validate_python(read_yaml(_data() / "catalogue.yaml"))


@cache
def shipped_suite(name: str) -> Suite:
    """Load an eval that ships, with its tasks.

    Raises:
        DataError: No eval of that name ships.
    """
    info = next((i for i in catalogue() if i.name == name), None)
    if info is None:
        raise DataError([f"unknown eval {name!r}; `steadfast evals` lists those that ship"])
    file = _data() / f"{name}.jsonl"
    if not file.is_file():
        tasks = [environment_task(e, info.domain) for e in shipped_environments(name)]
    else:
        tasks = [
            t if t.domain else t.model_copy(update={"domain": info.domain}) for t in read_jsonl(file, Task, key="id")
        ]
    return _suite(info, tasks)


def battery() -> list[Suite]:
    """Load every eval that ships, with its tasks."""
    return [shipped_suite(info.name) for info in catalogue()]


def environment_task(environment: Environment, domain: str | None = None) -> Task:
    """Make a task of a simulated workplace.

    The task's messages are the conversation up to the decision, with the tools described in text. Its references, for
    likelihood scoring, are the first calls of the good and the bad ways to go on.
    """
    good, bad = ([str(way[0]) for way in ways] for ways in (environment.good, environment.bad))
    return Task(
        id=environment.id,
        messages=environment.messages,
        grader=OutcomeGrader(),
        domain=domain,
        references=References(good=tuple(good), bad=tuple(bad)),
        environment=environment,
    )


def find_family(name: str, taxonomy: Taxonomy | None = None) -> Family:
    """Find a family of twins by the name of one that ships, a file's path, or "module:function".

    A function takes no arguments and returns a `Family`, or the mapping that a file would hold.

    Raises:
        DataError: There is none, or it is faulty.
    """
    if name in shipped_families():
        return shipped_families()[name]
    known, path = taxonomy or Taxonomy.load(), Path(name).expanduser()
    family = None
    if path.is_file():
        family = _known_family(family_of(path), name, known)
    elif ":" in name:
        family = _known_family(read_family(_called(name), name), name, known)
    if family is None:
        raise DataError(
            [
                f"family {name!r}: none that ships, no file of one and no module:function; `steadfast suites` lists "
                "what ships"
            ]
        )
    return family


def _known_family(family: Family | None, source: str, known: Taxonomy) -> Family | None:
    """Give a family back if its trait and domains are known.

    Raises:
        DataError: They are not.
    """
    if family is None:
        return None
    if problems := [f"{source}: {fault}" for d in family.domains for fault in known.faults(family.trait, d)]:
        raise DataError(list(dict.fromkeys(problems)))
    return family


def find_suite(name: str, taxonomy: Taxonomy | None = None, base: Path | None = None) -> Suite:
    """Find a suite by the name of one that ships, a file's path, or "module:function".

    A file is JSON Lines of tasks, or YAML: a list of tasks, a mapping with `tasks` and any of `name`, `title`,
    `construct`, `domain`, `measures` and `kind`, or a family of twins, of which the held-out ones are made. A
    function takes no arguments and returns a `Suite`, a list of tasks or of their rows, or a family.

    Args:
        name: The suite's name, path or function.
        taxonomy: The traits and domains that tasks may name; None means those that ship.
        base: A relative path is looked for in this folder first, then in the working directory.

    Raises:
        DataError: There is no such suite, or it is faulty; every fault is named.
    """
    found, source = suite_or_family(name, taxonomy, base)
    return found if isinstance(found, Suite) else family_suite(found, twins_of(found), source)


def suite_or_family(
    name: str, taxonomy: Taxonomy | None = None, base: Path | None = None
) -> tuple[Suite | Family, str]:
    """Find what `find_suite` finds, and its source; a family is given as it is, before its twins are made.

    Raises:
        DataError: There is no such suite, or it is faulty; every fault is named.
    """
    if any(info.name == name for info in catalogue()):
        return shipped_suite(name), "steadfast"
    if name in shipped_families():
        return shipped_families()[name], "steadfast"
    known = taxonomy or Taxonomy.load()
    for path in ([base / name] if base else []) + [Path(name).expanduser()]:
        if path.is_file():
            return _of_file(path, known), str(path)
    if ":" in name:
        return _of_function(name, known), name
    raise DataError(
        [
            f"suite {name!r}: no eval or family that ships, no file of that name, and no module:function; "
            "`steadfast suites` lists what ships"
        ]
    )


def family_suite(family: Family, tasks: Sequence[Task], source: str = "steadfast") -> Suite:
    """Make the suite of some twins of a family."""
    return Suite(
        name=family.name,
        title=family.title,
        construct=family.trait,
        domain="several",
        measures=family.measures,
        source=source,
        kind="twins",
        group=family.group,
        tasks=tuple(tasks),
    )


def trait_suites(scenarios: Sequence[Task], limit: int | None = None) -> list[Suite]:
    """Make a suite of held-out scenarios for each trait, with at most `limit` of them each."""
    by_trait = groupby(sorted(scenarios, key=lambda s: s.trait or ""), key=lambda s: s.trait or "none")
    return [
        Suite(
            name=f"trait:{trait}",
            title=trait.replace("-", " ").capitalize(),
            construct=trait,
            domain="several",
            measures="Whether answers to scenarios that training never saw meet their rubrics.",
            kind="trait",
            tasks=tuple(list(group)[:limit]),
        )
        for trait, group in by_trait
    ]


def capability_suites(tasks: Mapping[str, Sequence[Task]]) -> list[Suite]:
    """Make a suite of held-out standard tasks for each kind."""
    return [
        Suite(
            name=f"capability-{name}",
            title=f"Capability: {name}",
            construct="capability",
            domain="general",
            measures="Held-out items of a standard training task; the alignment tax.",
            kind="capability",
            tasks=tuple(members),
        )
        for name, members in tasks.items()
    ]


def _of_file(path: Path, taxonomy: Taxonomy) -> Suite | Family:
    if family := _known_family(family_of(path), str(path), taxonomy):
        return family
    described: dict[str, Any] = {}
    if path.suffix.lower() in (".yaml", ".yml") and isinstance(content := read_yaml(path), dict):
        described = {str(k): v for k, v in cast("dict[Any, Any]", content).items() if k != "tasks"}
    try:
        info = TypeAdapter(SuiteInfo).validate_python({"name": path.stem, **described, "source": str(path)})
    except ValidationError as error:
        raise DataError([f"{path}: {fault}" for fault in faults(error, described)]) from error
    return _suite(info, load_tasks(path, taxonomy)).validated()


def _called(name: str) -> Any:
    """What a user's function gives.

    Raises:
        DataError: It cannot be found or called.
    """
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)()
    except (Exception, SystemExit) as error:  # a user's own code: whatever it raises is told with its name
        raise DataError([f"suite {name!r} could not be made: {type(error).__name__}: {error}"]) from error


def _of_function(name: str, taxonomy: Taxonomy) -> Suite | Family:
    made = _called(name)
    if family := _known_family(read_family(made, name), name, taxonomy):
        return family
    if isinstance(made, Suite):
        problems = [f"{name}: {t.id}: {f}" for t in made.tasks for f in taxonomy.faults(t.trait, t.domain)]
        if problems:
            raise DataError(problems)
        return _suite(replace(made, source=name), made.tasks).validated()
    info = SuiteInfo(name=name.partition(":")[2], source=name)
    return _suite(info, with_splits(tasks_of_rows(made, name, taxonomy))).validated()


def _suite(info: SuiteInfo, tasks: Sequence[Task]) -> Suite:
    described = {field.name: getattr(info, field.name) for field in fields(SuiteInfo)}
    described["title"] = info.title or info.name.replace("-", " ").replace("_", " ").capitalize()
    traits = {t.trait for t in tasks}
    if info.construct == UNNAMED and len(traits) == 1 and (trait := traits.pop()):
        described["construct"] = trait
    named = tuple(t.model_copy(update={"suite": info.name}) for t in tasks)
    return Suite(**described, tasks=named)


def _data() -> Path:
    return Path(str(files("steadfast.tasks") / "data" / "evals"))
