"""Where a command's errors end: as a sentence, with an exit code, and without a traceback.

Exit codes: 1 where something that was asked for could not be measured; 2 for what the user can mend; 70 for a bug of
ours; 130 and 143 for a command that was stopped by Ctrl-C or by SIGTERM.
"""

import errno
import signal
import sqlite3
import threading
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import NoReturn, ParamSpec, TypeVar

import typer
from pydantic import ValidationError

from steadfast.errors import SteadfastError
from steadfast.messages import printable
from steadfast.redaction import redacted

P = ParamSpec("P")
R = TypeVar("R")

debugging: ContextVar[bool] = ContextVar("debugging", default=False)
"""Whether bugs show their traceback: the option --debug, or STEADFAST_DEBUG=1."""

_BUG, _INTERRUPTED, _TERMINATED = 70, 130, 143


class Terminated(KeyboardInterrupt):
    """SIGTERM came; whatever cleans up after Ctrl-C cleans up after it."""


def user_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Let no error leave a command as a traceback."""
    return _bounded(command, "stopped")


def resumable(command: Callable[P, R]) -> Callable[P, R]:
    """The same as `user_errors`, for a command that goes on where it was when it is called again."""
    return _bounded(command, "stopped; the same command goes on where it was")


def _bounded(command: Callable[P, R], stopped: str) -> Callable[P, R]:
    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with _terminable():
                return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt as error:
            typer.echo(stopped, err=True)
            raise typer.Exit(_TERMINATED if isinstance(error, Terminated) else _INTERRUPTED) from error
        except Exception as error:
            if isinstance(error, BrokenPipeError):
                raise  # the reader of our output went away, such as `head`: Typer ends quietly
            _fail(error)

    return run


@contextmanager
def _terminable() -> Generator[None]:
    """Let SIGTERM interrupt the block as Ctrl-C does, so that locks are released and no half file is left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break off the cleaning up
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(error: Exception) -> NoReturn:
    """End with the error's sentence in red and its exit code."""
    first = _first_cause(error)
    sentence = _sentence(first)
    if sentence is None:
        if debugging.get():
            raise error
        _say(f"this is a bug: {_told(error)}; put --debug before the command for the traceback, and report it")
        raise typer.Exit(_BUG) from error
    _say(sentence)
    raise typer.Exit(2) from error


def _say(sentence: str) -> None:
    typer.secho(f"error: {printable(redacted(sentence))}", fg=typer.colors.RED, err=True)


def _sentence(error: BaseException) -> str | None:
    """What the user is told of an error that she can mend; None for a bug of ours."""
    from polars.exceptions import PolarsError

    match error:
        case SteadfastError():
            return str(error)
        case ValidationError():
            lines = (f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg']}" for e in error.errors())
            return f"{error.title} cannot be made of what was given: {'; '.join(lines)}"
        case UnicodeDecodeError():
            return f"a text that was read is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        case UnicodeError():
            return f"a text cannot be written as UTF-8 ({error}); take the broken characters out"
        case sqlite3.Error() if _disk_is_full(error):
            return "the disk is full, and the cache of grades cannot be written; free some room and run it again"
        case sqlite3.Error():
            return f"the cache of grades cannot be used ({error}); move it away, and what it held is graded anew"
        case PolarsError():
            return f"a table cannot be read or written ({_first_line(error)}); see that it is a results.parquet of ours"
        case OSError():
            names = [str(Path(name)) for name in (error.filename, error.filename2) if isinstance(name, str | Path)]
            hint = "; free some room and run the same command again" if _disk_is_full(error) else ""
            return ": ".join([*names[:1], f"{error.strerror or error}{hint}"])
        case MemoryError():
            return "the memory is full; take a smaller model, shorter answers or fewer at a time"
        case _ if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported for its name alone
            return f"the device's memory is full ({_first_line(error)}); take a smaller model, dtype or batch"
        case _:
            return None


def _first_cause(error: Exception) -> BaseException:
    """On a full disk the first thing that could not be written, not what failed while that was being cleared up."""
    chain: list[BaseException] = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and inner not in chain:
        chain.append(inner)
    if not any(map(_disk_is_full, chain)):
        return error
    told = [e for e in chain if isinstance(e, SteadfastError) or _disk_is_full(e)]
    wraps_last = len(told) > 1 and told[-2].__cause__ is told[-1] and isinstance(told[-2], SteadfastError)
    return told[-2] if wraps_last else told[-1]


def _disk_is_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, sqlite3.Error) and "full" in str(error)


def _told(error: Exception) -> str:
    """A bug in one line, with the place in the code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {_first_line(error)}{place}"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")[:300]
