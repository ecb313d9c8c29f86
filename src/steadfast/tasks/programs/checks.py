"""The check that a program grader names: one that ships, or a user's own function.

A check takes the answer's text and the task's arguments and returns a score in [0, 1].
"""

import hashlib
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from steadfast.errors import DataError
from steadfast.tasks.programs import instructions, reasoning
from steadfast.tasks.task import ProgramGrader, Task
from steadfast.tasks.twins import check as twins

Check = Callable[[str, Mapping[str, Any]], float]

_SHIPPED: Mapping[str, Check] = {
    instructions.PROGRAM: instructions.check,
    reasoning.PROGRAM: reasoning.check,
    twins.PROGRAM: twins.check,
}


def check_of(program: str) -> Check:
    """Find the check that a task's grader names.

    Args:
        program: The name of a program that ships, or "module:function" for one of the user's.

    Raises:
        DataError: There is no such program.
    """
    if program in _SHIPPED:
        return _SHIPPED[program]
    module, colon, function = program.partition(":")
    if not colon:
        raise DataError(
            [f"unknown program {program!r}; those that ship: {', '.join(_SHIPPED)}; yours: module:function"]
        )
    try:
        found: Any = getattr(importlib.import_module(module), function)
    except (Exception, SystemExit) as error:  # a user's own code: whatever it raises is told with its name
        raise DataError([f"program {program!r} could not be loaded: {type(error).__name__}: {error}"]) from error
    if not callable(found):
        raise DataError([f"program {program!r} is no function, but {found!r}"])
    return cast("Check", found)


def source_hashes(tasks: Iterable[Task]) -> dict[str, str]:
    """The hash of the source file of each program of the user's own that grades a task, by its "module:function".

    An edited check grades otherwise under the same name, so the hash belongs to what decides a run's numbers. A check
    without a source file, such as one that is compiled, has an empty hash.
    """
    return program_hashes({t.grader.program for t in tasks if isinstance(t.grader, ProgramGrader)} - _SHIPPED.keys())


def program_hashes(programs: Iterable[str]) -> dict[str, str]:
    """The hash of the source file of each program of the user's own; see `source_hashes`."""
    found: dict[str, str] = {}
    for program in sorted(programs):
        try:
            source = Path(inspect.getfile(check_of(program))).read_bytes()
        except (TypeError, OSError):
            source = b""
        found[program] = hashlib.sha256(source).hexdigest()[:16] if source else ""
    return found
