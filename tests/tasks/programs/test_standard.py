from collections import Counter

import pytest

from steadfast.tasks.programs import TASK_NAMES, held_out_items, standard_items


def shown(items):
    return [(i.id, i.task, i.messages) for i in items]


def test_a_seed_gives_the_same_items_in_the_same_order_and_another_seed_others():
    assert shown(standard_items(70, 3)) == shown(standard_items(70, 3))
    assert {i.messages for i in standard_items(70, 3)} != {i.messages for i in standard_items(70, 4)}


def test_the_pool_holds_every_task_in_equal_parts_and_mixed():
    items = standard_items(10 * len(TASK_NAMES), 0)
    assert Counter(i.task for i in items) == dict.fromkeys(TASK_NAMES, 10)
    assert len({i.task for i in items[:12]}) > 3


@pytest.mark.parametrize("count", [1, 6, 50])
def test_the_pool_has_the_size_asked_for(count):
    items = standard_items(count, 0)
    assert len(items) == count
    assert len({i.id for i in items}) == count


def test_every_reward_lies_between_zero_and_one():
    for item in standard_items(70, 1):
        for text in ("", "7", "The answer is 12.", "First, ask Anna because she knows!", item.messages[0].content):
            assert 0.0 <= item.score(text) <= 1.0


@pytest.mark.parametrize("seed", [0, 7, 1_000_003])
def test_held_out_questions_are_never_training_questions(seed):
    training = standard_items(700, seed)
    held_out = held_out_items(16, seed, training)
    assert set(held_out) == set(TASK_NAMES)
    assert not {i.messages for items in held_out.values() for i in items} & {i.messages for i in training}


def test_a_held_out_question_drops_out_once_it_is_trained_on():
    """Fails without the comparison by text: the same seed would draw the same items again."""
    before = held_out_items(4, 0, [])
    trained = [i for items in before.values() for i in items]
    after = held_out_items(4, 0, trained)
    assert not {i.messages for items in after.values() for i in items} & {i.messages for i in trained}


def test_held_out_questions_are_asked_once_and_belong_to_their_task():
    held_out = held_out_items(16, 0, standard_items(700, 0))
    for name, items in held_out.items():
        assert 1 <= len(items) <= 16
        assert len({i.messages for i in items}) == len(items)
        assert {i.task for i in items} == {name}


def test_held_out_items_are_the_same_each_time():
    training = standard_items(70, 0)
    first, again = ([shown(v) for v in held_out_items(5, 2, training).values()] for _ in range(2))
    assert first == again
