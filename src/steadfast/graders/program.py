"""The program grader runs an exact check of the answer, which the task names in its data."""

from copy import deepcopy
from numbers import Real
from typing import Any

from steadfast.errors import SteadfastError
from steadfast.graders.grade import Grade
from steadfast.rollouts import Rollout
from steadfast.tasks.programs import check_of
from steadfast.tasks.task import ProgramGrader


def grade_program(rollout: Rollout) -> Grade:
    """Give the check's score. An answer that the token limit cut off earns nothing.

    Raises:
        DataError: There is no such program.
        SteadfastError: The check, which may be a user's own code, raised something or gave no score in [0, 1].
    """
    grader = rollout.task.grader
    assert isinstance(grader, ProgramGrader)
    if not rollout.finished:
        return Grade(0.0, (), "program", grader.program, gate="truncated")
    check = check_of(grader.program)
    where = f"program {grader.program!r} on task {rollout.task.id!r}"
    try:
        score: Any = check(rollout.text, deepcopy(grader.args))  # a check that changes them would change the task
    except Exception as error:  # a user's own code: whatever it raises is told with its name
        raise SteadfastError(f"{where} failed: {type(error).__name__}: {error}; mend it, or the task's args") from error
    if not isinstance(score, Real) or not 0.0 <= float(score) <= 1.0:
        raise SteadfastError(f"{where} gave {score!r}; a check returns a number in [0, 1]")
    return Grade(float(score), (), "program", grader.program)
