"""The program grader runs an exact check of the answer, which the task names in its data."""

from steadfast.graders.checking import run_check
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
    where = f"program {grader.program!r} on task {rollout.task.id!r}"
    return Grade(run_check(check_of(grader.program), rollout.text, grader.args, where), (), "program", grader.program)
