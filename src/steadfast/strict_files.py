"""Reading JSON lines and YAML as they were written: nothing that a parser would pass over in silence is accepted."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from steadfast.errors import DataError

# PyYAML's constructors let errors of Python out as they are: a month 13, `!!bool abc`, brackets nested too deeply.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_YAML_FAULTS = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file; a byte order mark at its start is dropped.

    Raises:
        DataError: the file is missing, unreadable or not UTF-8.
    """
    if not path.exists():
        raise DataError([f"{path}: no such file"])
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError([f"{path}: not UTF-8 text ({error.reason} at byte {error.start})"]) from error
    except OSError as error:
        raise DataError([f"{path}: {error.strerror or error}"]) from error


def parse_json(text: str) -> Any:
    """One JSON value, without the liberties that Python's parser takes.

    Raises:
        ValueError: the text is not JSON, a key stands twice in an object, a number is no finite float, or a text holds
            half a surrogate pair, which no file can be written with.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_once, parse_float=_finite, parse_int=_bounded, parse_constant=_no_constant
        )
        if "\\ud" in text.lower() and (place := _half_a_pair(value)) is not None:
            raise FieldError(f"{place}: holds half a surrogate pair, which is no text")
        return value
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


class FieldError(ValueError):
    """A fault whose message begins with the field that it is in."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise FieldError(f"{key}: stands twice in one object; keep one of them")
        found[key] = value
    return found


def _half_a_pair(value: Any, place: str = "") -> str | None:
    """The path of the first text that cannot be written as UTF-8; None if there is none."""
    if isinstance(value, str):
        return None if value.isascii() or value.encode("utf-8", "replace").decode() == value else place
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    paths = (_half_a_pair(inner, f"{place}.{key}".strip(".")) for key, inner in items)
    return next((path for path in paths if path is not None), None)


def _finite(text: str) -> float:
    if math.isinf(value := float(text)):
        raise ValueError(f"the number {text[:40]} is beyond what a float can hold")
    return value


def _bounded(text: str) -> int:
    if len(text) > 300:
        raise ValueError(f"the number {text[:20]}... is beyond what a float can hold")
    return int(text)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON; use a number or null")


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        DataError: the file cannot be read, is not YAML, or a key stands twice; each fault with its line.
    """
    text = read_text(path)
    if _nests_too_deeply(text):
        raise DataError([f"{path}: not valid YAML: nested too deeply"])
    loader = _LOADER(text)
    try:
        node = loader.get_single_node()
        twice = [] if node is None else list(_keys_twice(node, set()))
        content = None if node is None else loader.construct_document(node)
    except _YAML_FAULTS as error:
        raise DataError([f"{path}: not valid YAML: {error}"]) from error
    finally:
        loader.dispose()
    if twice:
        raise DataError([f"{path}:{fault}" for fault in twice])
    return content


_DEEPEST = 200
"""Levels of nesting, beyond any file of a person's; the parser in C goes down without a bound and ends the process."""

_INDENTED = re.compile(rf"^[ \t?:-]{{{_DEEPEST},}}", re.MULTILINE)


def _nests_too_deeply(text: str) -> bool:
    """Whether a YAML text is nested beyond the bound; what cannot be so deep is told by its brackets and indents."""
    if text.count("[") + text.count("{") + text.count("- - ") < _DEEPEST and not _INDENTED.search(text):
        return False
    loader, depth = _LOADER(text), 0
    try:
        while loader.check_event() and depth <= _DEEPEST:
            event = loader.get_event()
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
    except _YAML_FAULTS:
        return False  # told by the reader itself, with its place
    finally:
        loader.dispose()
    return depth > _DEEPEST


def _keys_twice(node: yaml.Node, seen: set[int]) -> Iterator[str]:
    """Keys that stand twice in a mapping, as they were written: before merges, and each anchor's node once."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    first: dict[tuple[str, Any], yaml.Node] = {}
    for child in node.value:
        key = child[0] if isinstance(node, yaml.MappingNode) else None
        if isinstance(key, yaml.ScalarNode) and (before := first.setdefault((key.tag, key.value), key)) is not key:
            here, there = key.start_mark.line + 1, before.start_mark.line + 1
            yield f"{here}: {key.value}: is already on line {there}; keep one of them"
        for inner in child if isinstance(node, yaml.MappingNode) else [child]:
            yield from _keys_twice(inner, seen)
