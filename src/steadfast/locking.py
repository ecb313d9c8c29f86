"""Only one process at a time uses a run directory or an output file."""

import os
import platform
import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from steadfast.errors import SteadfastError


@contextmanager
def sole_use(path: Path) -> Generator[None]:
    """Keep other processes off a directory or a file while the block runs.

    The lock is the operating system's and ends with the process, so a killed one leaves nothing to clear away.

    Args:
        path: A directory that exists, which is locked by a hidden file in it, or a file, which is locked by one beside
            it.

    Raises:
        SteadfastError: Another process uses it, and the message gives its number and command; or no lock can be made
            there.
    """
    lock = path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")
    holder = lock.with_name(f"{lock.name}.holder")  # apart, since a system may forbid others to read what it locks
    held = FileLock(lock)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held.acquire(timeout=0)
    except Timeout as error:
        raise SteadfastError(
            f"{path} is in use by {_described(holder)}; wait until that ends, or give another --out"
        ) from error
    except OSError as error:
        raise SteadfastError(f"cannot write to {path}: {error.strerror or error}") from error
    try:
        with suppress(OSError):  # a full disk is told by what is written next
            holder.write_text(_this_process(), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        held.release()


def _this_process() -> str:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    began = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return f"process {os.getpid()} on {platform.node()} since {began} ({command})"


def _described(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8") or "another process"
    except OSError:
        return "another process"
