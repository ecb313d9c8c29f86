"""Reading JSONL: every fault of a file, by line and field, in one go."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from steadfast.errors import DataError
from steadfast.tasks.scenario import GoldPair, Scenario, Split

Record = TypeVar("Record", bound=BaseModel)

_HELD_OUT_SHARE = 0.25


def read_jsonl(path: Path, record: type[Record], *, key: str | None = None) -> list[Record]:
    """Records of a JSONL file, in its order; see `read_jsonl_by_line`."""
    return list(read_jsonl_by_line(path, record, key=key).values())


def read_jsonl_by_line(path: Path, record: type[Record], *, key: str | None = None) -> dict[int, Record]:
    """Records of a JSONL file by their line number, which starts at 1.

    Args:
        path: one JSON object a line; blank lines are passed over.
        record: what each line must be.
        key: a text field that must be unique, among faulty lines too.

    Raises:
        DataError: listing every fault as `file:line: field: what is wrong`.
    """
    records: dict[int, Record] = {}
    problems: list[str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            content = _parsed(line)
            value = content.get(key) if isinstance(content, dict) else None
            if isinstance(value, str) and seen.setdefault(value, number) != number:
                problems.append(f"{path}:{number}: {key}: {value!r} is already on line {seen[value]}")
            records[number] = record.model_validate(content, strict=False)
        except ValidationError as error:
            problems.extend(f"{path}:{number}: {fault}" for fault in faults(error))
        except ValueError as error:
            problems.append(f"{path}:{number}: not a JSON object: {error}")
    if not records and not problems:
        problems.append(f"{path}: the file holds no records")
    if problems:
        raise DataError(problems)
    return records


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError([f"{path}: no such file"])
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise DataError([f"{path}: not UTF-8 text ({error.reason} at byte {error.start})"]) from error
    except OSError as error:
        raise DataError([f"{path}: {error.strerror or error}"]) from error


def _parsed(line: str) -> Any:
    """One line's JSON; whatever the parser gives up on is a ValueError."""
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def faults(error: ValidationError) -> list[str]:
    """A pydantic error as `field: what is wrong`, one line each."""
    lines: list[str] = []
    for detail in error.errors():
        where = ".".join(str(part) for part in detail["loc"]) or "record"
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            message = "unknown field"
        prefix = "" if message.startswith(f"{where}:") or where == "record" else f"{where}: "
        lines.append(prefix + message)
    return lines


def load_scenarios(path: Path) -> list[Scenario]:
    """A user's scenarios.

    Raises:
        DataError: with every fault of the file.
    """
    return with_splits(read_jsonl(path, Scenario, key="id"))


def with_splits(scenarios: Iterable[Scenario]) -> list[Scenario]:
    """Scenarios whose split is decided: where none is given, by a hash of the id, a quarter held out."""
    return [s if s.split else s.model_copy(update={"split": _split_of(s.id)}) for s in scenarios]


def _split_of(scenario_id: str) -> Split:
    digest = hashlib.sha256(scenario_id.encode()).digest()
    return "held_out" if int.from_bytes(digest[:4]) / 2**32 < _HELD_OUT_SHARE else "train"


def built_in_scenarios() -> list[Scenario]:
    """The corpus that ships, ordered by file and line."""
    scenarios = [s for path in _data_files("scenarios") for s in read_jsonl(path, Scenario, key="id")]
    _unique_ids(scenarios)
    return scenarios


def built_in_gold() -> dict[str, GoldPair]:
    """Gold answer pairs of the corpus that ships, by scenario."""
    pairs = [pair for path in _data_files("gold") for pair in read_jsonl(path, GoldPair, key="scenario")]
    return {pair.scenario: pair for pair in pairs}


def _data_files(kind: str) -> list[Path]:
    return sorted(Path(str(files("steadfast.tasks") / "data" / kind)).glob("*.jsonl"))


def _unique_ids(scenarios: Sequence[Scenario]) -> None:
    seen: set[str] = set()
    double = sorted({s.id for s in scenarios if s.id in seen or seen.add(s.id)})
    if double:
        raise DataError([f"scenario id {i!r} stands in more than one file" for i in double])
