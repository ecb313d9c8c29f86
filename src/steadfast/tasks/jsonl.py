"""This module reads JSON Lines as typed records and finds every fault of a file, by line and field, in one pass."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from steadfast.errors import DataError
from steadfast.strict_files import FieldError, parse_json, read_text

Record = TypeVar("Record", bound=BaseModel)

Faults = Callable[[Mapping[str, Any]], list[str]]
"""A function that finds further faults of a row as it is written, each as `field: what is wrong`."""


def read_jsonl(path: Path, record: type[Record], *, key: str | None = None) -> list[Record]:
    """Read the records of a JSONL file, in its order; see `read_jsonl_by_line`."""
    return list(read_jsonl_by_line(path, record, key=key).values())


def read_jsonl_by_line(
    path: Path, record: type[Record], *, key: str | None = None, further: Faults = lambda _: []
) -> dict[int, Record]:
    """Read the records of a JSONL file by their line number, which starts at 1.

    Args:
        path: The file. Each line holds one JSON object; blank lines and a byte order mark are passed over.
        record: The type that each line must have.
        key: The name of a text field that must be unique in the file; None checks none.
        further: It finds faults that the record's own validation cannot know, also in rows that have other faults.

    Raises:
        DataError: The file has faults; each is told as `file:line: field: what is wrong`.
    """
    records: dict[int, Record] = {}
    problems: list[str] = []
    seen: dict[str, int] = {}
    text = read_text(path)
    if _is_one_array(text):
        first = text[: len(text) - len(text.lstrip())].count("\n") + 1
        raise DataError([f"{path}:{first}: the file is one JSON array; write JSON Lines instead, one object a line"])
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        row: Any = None
        try:
            row = parse_json(line)
            if not isinstance(row, dict):
                raise ValueError(f"it is a JSON {type(row).__name__}; write one object a line")
            fields = cast("dict[str, Any]", row)
            problems += [
                f"{path}:{number}: {fault}" for fault in _repeated_key(fields, key, number, seen) + further(fields)
            ]
            records[number] = record.model_validate(fields)
        except ValidationError as error:
            problems += [f"{path}:{number}: {fault}" for fault in faults(error, cast("dict[str, Any]", row))]
        except ValueError as error:
            problems.append(f"{path}:{number}: {_unreadable(error)}")
    if not records and not problems:
        problems.append(f"{path}: the file holds no records")
    if problems:
        raise DataError(problems)
    return records


def _is_one_array(text: str) -> bool:
    """Whether a file is one array, and not lines of which the first happens to be a list."""
    first, _, rest = text.strip().partition("\n")
    if not first.startswith("[") or not rest:
        return first.startswith("[")
    try:
        parse_json(first)
    except ValueError:
        return True
    return False


def _repeated_key(row: Mapping[str, Any], key: str | None, number: int, seen: dict[str, int]) -> list[str]:
    if key is None:
        return []
    name = key if key in row else "prompt_id" if key == "id" else key
    value = row.get(name)
    if isinstance(value, str) and seen.setdefault(value, number) != number:
        return [f"{name}: {value!r} is already on line {seen[value]}"]
    return []


def _unreadable(error: ValueError) -> str:
    return str(error) if isinstance(error, FieldError) else f"not a JSON object: {error}"


_IN_PLAIN_WORDS = {
    "extra_forbidden": "unknown field",
    "unexpected_keyword_argument": "unknown field",
    "tuple_type": "must be a list",
    "too_short": "the list is empty",
}
"""What pydantic says in the words of its types, by the type of the fault."""


def faults(error: ValidationError, row: Mapping[str, Any] | None = None) -> list[str]:
    """Tell a pydantic error in lines, each `field: what is wrong`.

    Args:
        error: The error of the validation.
        row: The row as it was written. A field is named as it is there, not as the task calls it.
    """
    lines: list[str] = []
    details = error.errors()
    for detail in details:
        inside = [d for d in details if d["loc"][: len(detail["loc"])] == detail["loc"] and d is not detail]
        if detail["type"] == "too_short" and inside:
            continue  # the list is short only because its faulty entries were left out
        where = ".".join(_as_written([str(part) for part in detail["loc"]], row or {})) or "record"
        message = _IN_PLAIN_WORDS.get(detail["type"]) or detail["msg"].removeprefix("Value error, ")
        prefix = "" if message.startswith(f"{where}:") or where == "record" else f"{where}: "
        lines.append(prefix + message)
    return list(dict.fromkeys(lines))


def _as_written(parts: list[str], row: Mapping[str, Any]) -> list[str]:
    """Give the path of a fault as the row was written: with its rubric, not the grader that it became."""
    if parts[:3] == ["grader", "rubric", "criteria"] and "grader" not in row:
        if "criterion" in row:
            inner = {"met": "good", "unmet": "bad"}
            return [inner.get(p, p) for p in parts[4:]] or ["criterion"]
        return ["rubrics" if "rubrics" in row else "rubric", *parts[3:]]
    if parts[:1] == ["references"] and "references" not in row:
        return parts[1:]
    if parts[:1] == ["messages"] and "messages" not in row and "prompt" in row:
        return ["prompt", *parts[1:]]
    return parts
