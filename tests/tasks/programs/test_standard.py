import re
from collections import Counter

import pytest

from steadfast.errors import DataError
from steadfast.tasks.programs import TASK_NAMES, check_of, held_out_tasks, standard_tasks


def shown(tasks):
    return [(i.id, i.suite, i.messages) for i in tasks]


def test_a_seed_gives_the_same_tasks_in_the_same_order_and_another_seed_others():
    assert shown(standard_tasks(70, 3)) == shown(standard_tasks(70, 3))
    assert {i.messages for i in standard_tasks(70, 3)} != {i.messages for i in standard_tasks(70, 4)}


def test_the_pool_holds_every_task_in_equal_parts_and_mixed():
    tasks = standard_tasks(10 * len(TASK_NAMES), 0)
    assert Counter(i.suite for i in tasks) == dict.fromkeys(TASK_NAMES, 10)
    assert len({i.suite for i in tasks[:12]}) > 3


@pytest.mark.parametrize("count", [1, 6, 50])
def test_the_pool_has_the_size_asked_for(count):
    tasks = standard_tasks(count, 0)
    assert len(tasks) == count
    assert len({i.id for i in tasks}) == count


def test_every_reward_lies_between_zero_and_one():
    for task in standard_tasks(70, 1):
        for text in ("", "7", "The answer is 12.", "First, ask Anna because she knows!", task.messages[0].content):
            assert 0.0 <= check_of(task.grader.program)(text, task.grader.args) <= 1.0


@pytest.mark.parametrize("seed", [0, 7, 1_000_003])
def test_held_out_questions_are_never_training_questions(seed):
    training = standard_tasks(700, seed)
    held_out = held_out_tasks(16, seed, training)
    assert set(held_out) == set(TASK_NAMES)
    assert not {i.messages for tasks in held_out.values() for i in tasks} & {i.messages for i in training}


def test_a_held_out_question_drops_out_once_it_is_trained_on():
    """Fails without the comparison by text: the same seed would draw the same tasks again."""
    before = held_out_tasks(4, 0, [])
    trained = [i for tasks in before.values() for i in tasks]
    after = held_out_tasks(4, 0, trained)
    assert not {i.messages for tasks in after.values() for i in tasks} & {i.messages for i in trained}


def test_held_out_questions_are_asked_once_and_belong_to_their_task():
    held_out = held_out_tasks(16, 0, standard_tasks(700, 0))
    for name, tasks in held_out.items():
        assert 1 <= len(tasks) <= 16
        assert len({i.messages for i in tasks}) == len(tasks)
        assert {i.suite for i in tasks} == {name}


def test_held_out_tasks_are_the_same_each_time():
    training = standard_tasks(70, 0)
    first, again = ([shown(v) for v in held_out_tasks(5, 2, training).values()] for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("telepathy", "unknown program 'telepathy'; those that ship: instructions, reasoning"),
        ("no.such.module:check", "could not be loaded: ModuleNotFoundError"),
        ("tests.tasks.programs.test_standard:nothing", "could not be loaded: AttributeError"),
    ],
)
def test_a_program_that_is_not_there_is_named(program, said):
    with pytest.raises(DataError, match=re.escape(said)):
        check_of(program)


def shouts(text, args):
    """A user's own check."""
    return float(text == args["word"].upper())


def test_a_program_of_the_users_is_found_by_module_and_function():
    check = check_of("tests.tasks.programs.test_standard:shouts")
    assert [check(t, {"word": "yes"}) for t in ("YES", "yes")] == [1.0, 0.0]


def test_no_held_out_tasks_are_wanted_and_none_are_made():
    assert held_out_tasks(0, 0, []) == {}
