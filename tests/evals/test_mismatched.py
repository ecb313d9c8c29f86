"""Which conversation is the mismatched one."""

import pytest

from steadfast.evals.mismatched import mismatched_tasks
from steadfast.tasks import Suite, Task, battery
from tests.evals.conftest import item, suite


def named(name: str, content: str, pair: str | None = None) -> Task:
    messages = [{"role": "user", "content": content}]
    return Task.model_validate({"id": name, "messages": messages, "good": ["No."], "bad": ["Yes."], "pair": pair})


def partners(*tasks: Task) -> dict[str, str | None]:
    return {k: v and v.id for k, v in mismatched_tasks(Suite(name="s", tasks=tasks)).items()}


@pytest.mark.parametrize("number", [2, 3, 7, 16])
def test_each_conversation_is_the_mismatched_one_of_exactly_one_other(number):
    found = mismatched_tasks(suite("s", *(item("s", i) for i in range(number))))
    assert all(other is not None and other.id != task for task, other in found.items())
    assert len({other.id for other in found.values() if other}) == number


def test_neither_the_own_twin_nor_the_same_conversation_again_is_taken():
    a, twin = named("a", "One?", "b"), named("b", "Two?", "a")
    same, other = named("c", "One?"), named("d", "Three?")
    assert partners(a, other, twin, same)["a"] == "d"
    assert partners(a, twin) == {"a": None, "b": None}
    assert partners(a, same) == {"a": None, "c": None}


def test_every_shipped_item_has_a_mismatched_conversation():
    for one in battery():
        for task, other in mismatched_tasks(one).items():
            assert other is not None
            assert other.id != task
