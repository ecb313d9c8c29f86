"""This module loads the corpus that ships, and a user's tasks in any shape that `steadfast.tasks.shapes` knows."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from steadfast.errors import DataError
from steadfast.strict_files import read_yaml
from steadfast.tasks.jsonl import faults, read_jsonl, read_jsonl_by_line
from steadfast.tasks.task import GoldPair, References, Split, Task
from steadfast.tasks.traits import Taxonomy

_HELD_OUT_SHARE = 0.25


def load_tasks(path: Path, taxonomy: Taxonomy | None = None) -> list[Task]:
    """Load a user's tasks and decide their splits.

    Args:
        path: The file: JSON Lines, or YAML that holds a list of tasks or a mapping with `tasks`.
        taxonomy: The traits and domains that tasks may name; None means those that ship.

    Raises:
        DataError: The file has faults; each is named by line (in YAML by place) and field.
    """
    known = taxonomy or Taxonomy.load()
    if path.suffix.lower() in (".yaml", ".yml"):
        content = read_yaml(path)
        rows: Any = cast("dict[str, Any]", content).get("tasks") if isinstance(content, dict) else content
        return with_splits(tasks_of_rows(rows, str(path), known))
    lines = read_jsonl_by_line(path, Task, key="id", further=lambda row: _unknown_names(row, known))
    return with_splits(lines.values())


def _unknown_names(row: Mapping[str, Any], taxonomy: Taxonomy) -> list[str]:
    trait, domain = (value if isinstance(value := row.get(kind), str) else None for kind in ("trait", "domain"))
    return taxonomy.faults(trait, domain)


def tasks_of_rows(rows: Any, where: str, taxonomy: Taxonomy) -> list[Task]:
    """Make tasks from a list of rows or tasks.

    Args:
        rows: A list of mappings in any shape, or of tasks.
        where: The name of the source in faults.
        taxonomy: The traits and domains that tasks may name.

    Raises:
        DataError: The rows have faults; each is named by place and field.
    """
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise DataError([f"{where}: must be a list of tasks with at least one in it"])
    found: list[Task] = []
    problems: list[str] = []
    for number, row in enumerate(cast("Sequence[Any]", rows), start=1):
        written = cast("dict[str, Any]", row) if isinstance(row, dict) else None
        names = {"trait": row.trait, "domain": row.domain} if isinstance(row, Task) else written or {}
        problems += [f"{where}: task {number}: {fault}" for fault in _unknown_names(names, taxonomy)]
        try:
            found.append(row if isinstance(row, Task) else Task.model_validate(row))
        except ValidationError as error:
            problems += [f"{where}: task {number}: {fault}" for fault in faults(error, written)]
    problems += [f"{where}: id: {i!r} stands there more than once" for i in _repeated(t.id for t in found)]
    if problems:
        raise DataError(problems)
    return found


def load_gold(path: Path, tasks: Sequence[Task], source: str) -> dict[str, GoldPair]:
    """Load a user's gold answers, by the id of their task.

    Args:
        path: The JSONL file, each line `{"scenario": id, "good": text, "bad": text}`.
        tasks: The tasks that the answers are to.
        source: The name in faults of the file that the tasks come from.

    Raises:
        DataError: The file has faults; each is named, also a pair that belongs to no task.
    """
    ids = {t.id for t in tasks}
    lines = read_jsonl_by_line(path, GoldPair, key="scenario", further=lambda row: _unknown(row, ids, source))
    return {pair.scenario: pair for pair in lines.values()}


def _unknown(row: Mapping[str, Any], ids: set[str], source: str) -> list[str]:
    scenario = row.get("scenario")
    return [f"scenario: {scenario!r} is not in {source}"] if isinstance(scenario, str) and scenario not in ids else []


def with_gold(tasks: Iterable[Task], gold: dict[str, GoldPair]) -> list[Task]:
    """Give the tasks with their gold answers, where they have some, as references."""
    return [
        task.model_copy(update={"references": References(good=(pair.good,), bad=(pair.bad,))})
        if (pair := gold.get(task.id))
        else task
        for task in tasks
    ]


def with_splits(tasks: Iterable[Task]) -> list[Task]:
    """Decide the split of each task that has none by a hash of its id; a quarter of them is held out."""
    return [t if t.split else t.model_copy(update={"split": _split_of(t.id)}) for t in tasks]


def _split_of(task_id: str) -> Split:
    digest = hashlib.sha256(task_id.encode()).digest()
    return "held_out" if int.from_bytes(digest[:4]) / 2**32 < _HELD_OUT_SHARE else "train"


@cache
def built_in_scenarios() -> list[Task]:
    """Load the scenarios that ship, ordered by file and line."""
    scenarios = [s for path in _data_files("scenarios") for s in read_jsonl(path, Task, key="id")]
    if double := _repeated(s.id for s in scenarios):
        raise DataError([f"scenario id {i!r} stands in more than one file" for i in double])
    return scenarios


@cache
def built_in_gold() -> dict[str, GoldPair]:
    """Load the gold pairs of the scenarios that ship, by the scenario's id."""
    pairs = [pair for path in _data_files("gold") for pair in read_jsonl(path, GoldPair, key="scenario")]
    return {pair.scenario: pair for pair in pairs}


def _data_files(kind: str) -> list[Path]:
    return sorted(Path(str(files("steadfast.tasks") / "data" / kind)).glob("*.jsonl"))


def _repeated(ids: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return sorted({i for i in ids if i in seen or seen.add(i)})
