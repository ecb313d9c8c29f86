"""Write files so that a kill or a full disk never leaves half of one, and read back what was written."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PanicException, PolarsError
from safetensors import SafetensorError

from steadfast.errors import SteadfastError

_TEMPORARY_FILE = re.compile(r"\..+\.(\d+)\.tmp")
_FRESH_DIRECTORY, _OLD_DIRECTORY = re.compile(r"\..+\.tmp"), re.compile(r"\.(.+)\.old")
"""`write_atomically` and `replace_directory` give these names to what is not in place yet, or no longer is."""

# torch and safetensors raise errors of their own where the system says that the disk is full.
_WRITE_ERRORS = (OSError, RuntimeError, SafetensorError)


def _cannot_write(path: Path, error: Exception) -> SteadfastError:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return SteadfastError(f"cannot write {path}: {reason}; nothing written before is lost")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place in one step.

    Raises:
        SteadfastError: The disk is full or not writable; what stood at `path` before still stands there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(path)
    except _WRITE_ERRORS as error:
        raise _cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda p: p.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def replace_directory(path: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` fill a fresh directory, then put it in the place of `path`.

    A kill between the two renames leaves the old directory as `.NAME.old`, which `recover_directory` puts back.
    """
    fresh, old = path.with_name(f".{path.name}.tmp"), path.with_name(f".{path.name}.old")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.mkdir()
        fill(fresh)
    except _WRITE_ERRORS as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise _cannot_write(path, error) from error
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
    fresh.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def recover_directory(path: Path) -> None:
    """Undo what a kill inside `replace_directory` may have left."""
    old = path.with_name(f".{path.name}.old")
    if not path.exists() and old.exists():
        old.rename(path)


def clear_leftovers(directory: Path) -> None:
    """Remove, or put back in place, what kills of earlier processes left anywhere in a directory.

    Temporary files and half-filled directories go. A directory that was set aside for a new one comes back where the
    new one never came. Temporary files of other processes that are alive stay.

    Args:
        directory: A directory that no other process writes to (see `steadfast.locking.sole_use`).

    Raises:
        SteadfastError: A file or a directory cannot be removed.
    """
    for place, folders, names in os.walk(directory):
        here = Path(place)
        try:
            for name in list(folders):
                old = _OLD_DIRECTORY.fullmatch(name)
                if old and not (here / old[1]).exists():
                    recover_directory(here / old[1])
                    folders[folders.index(name)] = old[1]
                elif old or _FRESH_DIRECTORY.fullmatch(name):
                    folders.remove(name)
                    shutil.rmtree(here / name)
            for name in names:
                if (temporary := _TEMPORARY_FILE.fullmatch(name)) and not _is_another_alive(int(temporary[1])):
                    (here / name).unlink(missing_ok=True)
        except OSError as error:
            raise SteadfastError(
                f"cannot clear {error.filename or here}, which an earlier run left: {error.strerror or error}"
            ) from error


def _is_another_alive(process: int) -> bool:
    """Return whether a process number belongs to a living process other than this one."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def read_json(path: Path) -> Any:
    """Return the content of a JSON file that Steadfast wrote.

    Raises:
        SteadfastError: The file is missing, unreadable or damaged; the message says what to do.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SteadfastError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SteadfastError(
            f"{path}: is damaged ({error}); put back a copy of it, or begin anew in another directory"
        ) from error


def read_parquet(path: Path) -> pl.DataFrame:
    """Return a table that Steadfast wrote.

    Raises:
        SteadfastError: The file is missing, unreadable or damaged; the message says what to do.
    """
    try:
        return pl.read_parquet(path)
    except (PolarsError, PanicException, OSError) as error:  # polars panics on some damaged pages
        line = next(iter(str(error).strip().splitlines()), "no reason given")
        raise SteadfastError(
            f"{path}: not a readable Parquet table ({line[:200]}); delete it and run the same command again to make "
            "it anew"
        ) from error


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSONL file of ours up to the first damaged line, such as one that a kill cut off.

    Raises:
        SteadfastError: The file exists and cannot be read.
    """
    if not path.is_file():
        return []
    records: list[dict[str, Any]] = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SteadfastError(f"{path}: cannot be read ({error}); delete it to go on without what it says") from error
    for line in lines:
        if not line:
            continue
        try:
            record = json.loads(line)
        except ValueError:
            break
        if not isinstance(record, dict):
            break
        records.append(record)
    return records


def write_json_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write a file of JSON lines atomically."""
    write_text(path, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))
