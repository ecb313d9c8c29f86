"""Checks of a user's own: what they raise or return is told by name, and they change nothing of the task."""

import pytest

from steadfast.errors import DataError, SteadfastError
from steadfast.graders.program import grade_program
from steadfast.rollouts import Rollout
from steadfast.tasks import Task
from steadfast.tasks.programs import check_of

NO_FUNCTION = 3


def takes_its_words(text, args):
    return float(args["words"].pop() in text)


def fails(text, args):
    raise KeyError("words")


def seven(text, args):
    return 7


def not_a_number(text, args):
    return float("nan")


def nothing(text, args):
    return None


def rollout(program):
    task = {"id": "t", "messages": [{"role": "user", "content": "Say yes."}]}
    task["grader"] = {"kind": "program", "program": f"{__name__}:{program}", "args": {"words": ["yes"]}}
    return Rollout.of_text(Task.model_validate(task), "yes", True)


@pytest.mark.parametrize(
    ("program", "said"),
    [("fails", "failed: KeyError: 'words'"), ("seven", "gave 7"), ("not_a_number", "gave nan"), ("nothing", "None")],
)
def test_a_check_that_fails_or_gives_no_score_is_named_with_its_task(program, said):
    with pytest.raises(SteadfastError, match=rf"{program}' on task 't' .*{said}"):
        grade_program(rollout(program))


def test_a_check_that_changes_its_arguments_grades_the_next_answer_alike():
    asked = rollout("takes_its_words")
    assert [grade_program(asked).score for _ in range(2)] == [1.0, 1.0]
    assert asked.task.grader.args == {"words": ["yes"]}


def test_a_program_that_is_no_function_is_refused_by_name():
    with pytest.raises(DataError, match="NO_FUNCTION' is no function, but 3"):
        check_of(f"{__name__}:NO_FUNCTION")
