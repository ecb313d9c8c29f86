"""The program grader runs an exact check of the answer, which the task names in its data."""

from steadfast.graders.grade import Grade
from steadfast.rollouts import Rollout
from steadfast.tasks.programs import check_of
from steadfast.tasks.task import ProgramGrader


def grade_program(rollout: Rollout) -> Grade:
    """Give the check's score. An answer that the token limit cut off earns nothing.

    Raises:
        DataError: There is no such program.
        ValueError: The check gave something other than a score in [0, 1].
    """
    grader = rollout.task.grader
    assert isinstance(grader, ProgramGrader)
    if not rollout.finished:
        return Grade(0.0, (), "program", grader.program, gate="truncated")
    score = float(check_of(grader.program)(rollout.text, grader.args))
    if not 0.0 <= score <= 1.0:
        raise ValueError(f"program {grader.program!r} gave {score} on task {rollout.task.id!r}; scores lie in [0, 1]")
    return Grade(score, (), "program", grader.program)
