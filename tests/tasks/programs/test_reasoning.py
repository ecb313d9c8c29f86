"""Every reasoning-gym task: its gold answer earns everything, a wrong one nothing."""

import json

import pytest
import reasoning_gym
from hypothesis import given, settings
from hypothesis import strategies as st

from steadfast.tasks import Task
from steadfast.tasks.programs import check_of
from steadfast.tasks.programs.reasoning import REASONING_TASKS, last_name, last_number

COUNT, SEED = 100, 11
BY_NAME = {t.name: t for t in REASONING_TASKS}


def scored(task, text):
    """The score by the program that the task names, after a way through JSON as in a file."""
    read = Task.model_validate(json.loads(json.dumps(task.row())))
    return check_of(read.grader.program)(text, read.grader.args)


def with_gold(task):
    """Tasks beside reasoning-gym's own entries of the same dataset."""
    data = reasoning_gym.create_dataset(task.dataset, size=COUNT, seed=SEED, **task.settings)
    return list(zip(task.tasks(COUNT, SEED), (data[i] for i in range(COUNT)), strict=True))


def test_there_are_at_least_six_reasoning_tasks_over_different_datasets():
    assert len({t.dataset for t in REASONING_TASKS}) == len(BY_NAME) >= 6


@pytest.mark.parametrize("name", BY_NAME)
def test_each_task_asks_the_question_of_its_entry(name):
    for task, entry in with_gold(BY_NAME[name]):
        assert [m.role for m in task.messages] == ["user"]
        assert task.messages[0].content.startswith(entry["question"].strip())


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("form", ["{}", "The answer is {}.", "Let me see, 3 and Anna. So it is\n\n{}\n"])
def test_the_gold_answer_scores_one_alone_and_at_the_end_of_a_sentence(name, form):
    for task, entry in with_gold(BY_NAME[name]):
        assert scored(task, form.format(entry["answer"])) == 1.0, entry["answer"]


@pytest.mark.parametrize("name", BY_NAME)
def test_a_wrong_answer_scores_nothing_even_if_it_is_near_or_names_the_gold_on_the_way(name):
    for task, entry in with_gold(BY_NAME[name]):
        gold = entry["answer"]
        wrong = "Nobody" if BY_NAME[name].extract == "name" else str(round(float(gold) + 1, 6))
        assert scored(task, wrong) == 0.0
        assert scored(task, f"{gold}? No: {wrong}") == 0.0
        assert scored(task, "") == 0.0
        assert scored(task, "I do not know") == 0.0


@pytest.mark.parametrize("name", BY_NAME)
def test_listing_every_candidate_of_the_question_is_not_the_answer(name):
    """Repeating the question back earns no more than its last number or name by luck."""
    won = sum(scored(task, task.messages[0].content) for task, _ in with_gold(BY_NAME[name]))
    assert won <= 0.6 * COUNT


@pytest.mark.parametrize("name", BY_NAME)
def test_a_seed_gives_the_same_tasks_and_another_seed_others(name):
    task = BY_NAME[name]
    first, again, other = ([i.messages for i in task.tasks(30, s)] for s in (1, 1, 2))
    assert first == again
    assert first != other
    assert not {i.id for i in task.tasks(30, 1)} & {i.id for i in task.tasks(30, 2)}


def test_the_last_number_is_read_with_sign_fraction_and_thousands():
    assert last_number("From 3 to 4, so -12.5") == "-12.5"
    assert last_number("about 1,234,567 people.") == "1234567"
    assert last_number("6.02e23") == "6.02e23"
    assert last_number("none") == ""


def test_the_last_name_is_read():
    assert last_name("It is neither Ann nor Kurtis-Jae.") == "Kurtis-Jae"
    assert last_name("nobody") == ""


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=100))
def test_any_text_earns_all_or_nothing(text):
    for task in REASONING_TASKS:
        assert scored(task.tasks(1, 0)[0], text) in (0.0, 1.0)
