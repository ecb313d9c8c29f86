"""The correct answers to a task, as far as the task's own data give them."""

from collections.abc import Mapping
from typing import Any

from steadfast.tasks.programs import reasoning
from steadfast.tasks.task import ProgramGrader, Task


def correct_answers(task: Task) -> tuple[str, ...]:
    """Return the answers to a task that its own data call right; there are none where nobody wrote one down.

    They are the task's good references. A task without any that a program checks gives the answer that the program
    compares with: the letter or the field of a twin, the result of a reasoning task. An instruction task has none,
    since its program checks the form of an answer and knows no answer, and neither has a task in which the model acts.
    """
    if task.environment is not None:
        return ()
    if task.references.good or not isinstance(task.grader, ProgramGrader):
        return task.references.good
    args = task.grader.args
    found = _result(args) if task.grader.program == reasoning.PROGRAM else args.get("letter", args.get("right"))
    return () if found is None else (str(found),)


def _result(args: Mapping[str, Any]) -> str:
    """The result of a reasoning task; a number without the digits that are rounding errors alone."""
    answer = str(args["entry"]["answer"])
    return format(float(answer), ".10g") if args["extract"] == "number" else answer
