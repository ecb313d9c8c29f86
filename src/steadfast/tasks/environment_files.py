"""This module reads environments, a YAML document each, and tells every fault by file, tool, rule and field."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from steadfast.errors import DataError
from steadfast.strict_files import read_yaml
from steadfast.tasks.environment import Environment


def load_environment(path: Path) -> Environment:
    """Load the environment of a YAML document.

    Args:
        path: The file, in UTF-8 with or without a byte order mark.

    Raises:
        DataError: The document has faults; each is told as `file: tool NAME: rule NUMBER: field: what is wrong`.
    """
    content = read_yaml(path)
    try:
        return Environment.model_validate(content)
    except ValidationError as error:
        raise DataError([f"{path}: {fault}" for fault in _faults(error, content)]) from error


def load_environments(directory: Path) -> tuple[Environment, ...]:
    """Load the environments of a directory, a YAML document each, ordered by file name.

    Raises:
        DataError: Some documents have faults; each is told, also an id that two documents share.
    """
    found: dict[str, Environment] = {}
    problems: list[str] = []
    for path in sorted(directory.glob("*.yaml")):
        try:
            environment = load_environment(path)
        except DataError as error:
            problems += error.problems
            continue
        if environment.id in found:
            problems.append(f"{path}: id: {environment.id!r} is already the id of another document in {directory}")
        found[environment.id] = environment
    if not found and not problems:
        problems.append(f"{directory}: no environments; each is a document named ID.yaml")
    if problems:
        raise DataError(problems)
    return tuple(found.values())


@cache
def shipped_environments(eval_name: str) -> tuple[Environment, ...]:
    """Load the environments that ship for an agentic eval, ordered by id."""
    return load_environments(Path(str(files("steadfast.tasks") / "data" / "environments" / eval_name)))


def _faults(error: ValidationError, content: Any) -> list[str]:
    details = error.errors()
    # A list with a faulty entry is also told to be too short, as if the entry were not there.
    echoes = {d["loc"][:length] for d in details for length in range(len(d["loc"]))}
    told = [d for d in details if d["type"] != "too_short" or d["loc"] not in echoes]
    return [_place(d["loc"], content) + d["msg"].removeprefix("Value error, ") for d in told]


def _place(where: Sequence[int | str], content: Any) -> str:
    """Say where in a document a fault is, ending in a colon. Tools are named, rules and calls are numbered."""
    parts: list[str] = []
    fields: list[str] = []
    value = content
    for key in where:
        held, value = value, _held(value, key)
        if isinstance(key, int):
            kind = fields.pop().removesuffix("s") if fields else "entry"
            parts += [".".join(fields), f"{kind} {_name(value) if kind == 'tool' else key + 1}"]
            fields = []
        elif value is None and isinstance(held, dict) and held.get("type") == key:  # type: ignore[reportUnknownMemberType]
            value = held  # type: ignore[reportUnknownVariableType] (pydantic names a parameter's kind like a field)
        else:
            fields.append(key)
    return "".join(f"{part}: " for part in [*parts, ".".join(fields)] if part)


def _held(value: Any, key: int | str) -> Any:
    try:
        return value[key]
    except (LookupError, TypeError):
        return None


def _name(tool: Any) -> Any:
    return tool.get("name") if isinstance(tool, dict) else tool  # type: ignore[reportUnknownMemberType]
