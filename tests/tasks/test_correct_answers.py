"""The correct answers that tasks know of: they earn everything, and where there are none nothing is made up."""

import pytest

from steadfast.graders.program import grade_program
from steadfast.rollouts import Rollout
from steadfast.tasks import Task
from steadfast.tasks.programs import TASK_NAMES, correct_answers, standard_tasks
from steadfast.tasks.suite import environment_task
from steadfast.tasks.twins import FORMATS, shipped_families, twins_of
from tests.tasks.environments import disk


@pytest.mark.parametrize("kind", [name for name in TASK_NAMES if name != "instructions"])
def test_the_answer_of_every_reasoning_task_earns_everything_and_is_short(kind):
    tasks = [t for t in standard_tasks(700, 3) if t.suite == kind]
    assert len(tasks) == 100
    for task in tasks:
        (answer,) = correct_answers(task)
        assert grade_program(Rollout.of_text(task, answer)).score == 1, (task.text, answer)
        assert kind == "lookup" or len(answer) <= 10, "a number is given without its rounding errors"


@pytest.mark.parametrize("form", FORMATS)
def test_the_answer_of_every_twin_earns_everything_and_its_twins_nothing(form):
    for family in shipped_families().values():
        tasks = {t.id: t for t in twins_of(family, formats=[form], pairs=2, split="train")}
        for task in tasks.values():
            (answer,) = correct_answers(task)
            (opposite,) = correct_answers(tasks[task.pair])
            assert grade_program(Rollout.of_text(task, answer)).score == 1
            assert grade_program(Rollout.of_text(task, opposite)).score < 1


def test_an_instruction_and_a_workplace_have_no_written_answer():
    instruction = next(t for t in standard_tasks(14, 0) if t.suite == "instructions")
    assert correct_answers(instruction) == ()
    assert correct_answers(environment_task(disk())) == ()


def test_good_references_are_the_answers_whatever_grades_the_task():
    row = {"id": "t", "messages": [{"role": "user", "content": "Hi"}], "references": {"good": ["a", "b"]}}
    rubric = Task.model_validate(row | {"rubric": [{"criterion": "Is kind.", "points": 1}]})
    program = Task.model_validate(row | {"grader": {"kind": "program", "program": "twin", "args": {"right": "c"}}})
    assert correct_answers(rubric) == correct_answers(program) == ("a", "b")
