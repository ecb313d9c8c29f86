"""Which other conversation of its eval an item's replies are tried after."""

from collections.abc import Mapping

from steadfast.messages import Message
from steadfast.tasks.suite import Suite
from steadfast.tasks.task import Task

GREETING = (Message(role="user", content="Hello."),)
"""A conversation that says nothing of any matter."""


def mismatched_tasks(suite: Suite) -> Mapping[str, Task | None]:
    """Choose the mismatched conversation of each task whose references are compared, by the task's id.

    It is the conversation of the task half the suite away, or of the first one after that which is another
    conversation and not the task's own twin: between twins the difference would be the same number twice. It depends
    on the whole suite alone, so an item has the same one in every run, at every checkpoint and under every limit.

    Returns:
        A task for each id; None where the suite has no other conversation, and a greeting takes its place.
    """
    tasks = suite.paired
    found: dict[str, Task | None] = {}
    for place, task in enumerate(tasks):
        start = place + len(tasks) // 2
        others = (tasks[(start + k) % len(tasks)] for k in range(len(tasks)))
        found[task.id] = next((o for o in others if _differs(o, task)), None)
    return found


def _differs(other: Task, task: Task) -> bool:
    return other.id not in (task.id, task.pair) and other.messages != task.messages
