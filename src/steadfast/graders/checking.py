"""A check, which may be a user's own code, is run so that whatever it does is a score or a sentence."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from numbers import Real
from typing import Any

from steadfast.errors import SteadfastError


def run_check(
    check: Callable[[str, Mapping[str, Any]], float], text: str, args: Mapping[str, Any], where: str
) -> float:
    """Run a check on an answer's text, and return its score in [0, 1].

    Args:
        check: The check.
        text: The answer.
        args: What the check reads besides the answer.
        where: The check's name and what it is run for, with which an error begins.

    Raises:
        SteadfastError: The check raised something, or gave no score in [0, 1].
    """
    try:
        score: Any = check(text, _copied(args))  # a check that changes them would change the task
    except Exception as error:  # a user's own code: whatever it raises is told with its name
        raise SteadfastError(f"{where} failed: {type(error).__name__}: {error}; mend it, or its args") from error
    if not isinstance(score, Real) or not 0.0 <= float(score) <= 1.0:
        raise SteadfastError(f"{where} gave {score!r}; a check returns a number in [0, 1]")
    return float(score)


def _copied(args: Mapping[str, Any]) -> Mapping[str, Any]:
    flat = all(isinstance(value, str | int | float | None) for value in args.values())
    return dict(args) if flat else deepcopy(args)
