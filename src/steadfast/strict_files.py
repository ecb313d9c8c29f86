"""Read JSON lines and YAML as they were written, and accept nothing that a parser would pass over in silence."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from steadfast.errors import DataError
from steadfast.messages import printable

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_DEEPEST = 100
"""A YAML file may nest lists and mappings this deeply; libyaml ends the process on a hundred thousand levels."""

# PyYAML's constructors let errors of Python out as they are: a month 13, `!!bool abc`, an unhashable key.
_YAML_FAULTS = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


_LONGEST_NUMBER = 300
"""A number may have this many digits; the greatest float has 309, and no file of ours needs a tenth of them."""


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file; a byte order mark at its start is dropped.

    Raises:
        DataError: The file is missing, unreadable or not UTF-8.
    """
    if not path.exists():
        raise DataError([f"{path}: no such file"])
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        said = f"not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        raise DataError([f"{path}: {said}"]) from error
    except OSError as error:
        raise DataError([f"{path}: {error.strerror or error}"]) from error


def parse_json(text: str) -> Any:
    """Parse one JSON value, without the liberties that Python's parser takes.

    Raises:
        ValueError: The text is not JSON, a key stands twice in an object, a number is not a finite float, or a text
            holds half a surrogate pair, which no file can be written with.
    """
    refused: list[_Refused] = []

    def number(text: str, read: Callable[[str], float]) -> Any:
        if len(text) <= _LONGEST_NUMBER and math.isfinite(value := read(text)):
            return value
        shown = text if len(text) <= 40 else f"{text[:20]}..."
        refused.append(_Refused(f"the number {shown} is beyond what a float can hold"))
        return refused[-1]

    def constant(name: str) -> Any:
        refused.append(_Refused(f"{name} is not JSON; use a number or null"))
        return refused[-1]

    try:
        value = json.loads(
            text,
            object_pairs_hook=_with_each_key_once,
            parse_float=lambda text: number(text, float),
            parse_int=lambda text: number(text, int),
            parse_constant=constant,
        )
        if refused or "\\ud" in text.lower():
            for fault in _faults_in(value, ""):
                raise FieldError(fault)
        return value
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


class FieldError(ValueError):
    """The message of this fault begins with the field that it is in."""


@dataclass(frozen=True)
class _Refused:
    """A refused value stands in the parsed data until its place is known."""

    why: str


def _with_each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise FieldError(f"{printable(key)}: stands twice in one object; keep one of them")
        found[key] = value
    return found


def _faults_in(value: Any, place: str) -> Iterator[str]:
    """Yield what is not accepted in a parsed value, as `path: what is wrong`."""
    if isinstance(value, _Refused):
        yield f"{place}: {value.why}" if place else value.why
    elif isinstance(value, str) and not _encodable(value):
        yield f"{place or 'the text'}: holds half a surrogate pair, which is no text"
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        path = f"{place}.{printable(str(key))}".strip(".")
        if isinstance(key, str) and not _encodable(key):
            yield f"{path}: the field's name holds half a surrogate pair, which is no text"
        yield from _faults_in(inner, path)


def _encodable(text: str) -> bool:
    return text.isascii() or text.encode("utf-8", "replace").decode() == text


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file, read as `parse_yaml` reads it."""
    return parse_yaml(read_text(path), str(path))


def parse_yaml(text: str, where: str) -> Any:
    """Parse a YAML text.

    Args:
        text: The text.
        where: The name of the text's source, with which each fault begins.

    Raises:
        DataError: The text is not YAML, or a key stands twice; each fault is given with its line.
    """
    try:
        _refuse_deep_nesting(text)
        loader = _LOADER(text)
    except _YAML_FAULTS as error:  # among them characters that YAML does not know
        raise DataError([f"{where}:{_yaml_fault(error)}"]) from error
    try:
        node = loader.get_single_node()
        twice = [] if node is None else list(_doubled_keys(node, set()))
        content = None if node is None else loader.construct_document(node)
    except _YAML_FAULTS as error:
        raise DataError([f"{where}:{_yaml_fault(error)}"]) from error
    finally:
        loader.dispose()
    if twice:
        raise DataError([f"{where}:{fault}" for fault in twice])
    return content


def _refuse_deep_nesting(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"line {event.start_mark.line + 1}: nested more than {_DEEPEST} deep")


def _yaml_fault(error: Exception) -> str:
    """Return a parser's error as one line, which begins with the line of the text that it is in, if that is known."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        line, said = error.problem_mark.line + 1, error.problem or error.context
        return f"{line}: not valid YAML: {said}; text with signs of YAML must stand in quotes"
    return f" not valid YAML: {' '.join(str(error).split()) or type(error).__name__}"


def _doubled_keys(node: yaml.Node, seen: set[int]) -> Iterator[str]:
    """Yield the keys that stand twice in a mapping as it was written, before merges; each anchor is read once."""
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
            yield from _doubled_keys(inner, seen)


def finite(value: Any) -> Any:
    """Put null for every number in a JSON value that is not finite."""
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
