"""The standard pool: a fair mixture of all verifiable tasks, and its held-out twin that measures the alignment tax."""

from random import Random

from steadfast.tasks.programs.instructions import TASK, instruction_items
from steadfast.tasks.programs.item import TaskItem
from steadfast.tasks.programs.reasoning import REASONING_TASKS

TASK_NAMES = (*(t.name for t in REASONING_TASKS), TASK)

_HELD_OUT_SEED = 1_000_003
"""Added to a run's seed for held-out items; items are compared by text as well, because small tasks repeat."""


def standard_items(count: int, seed: int) -> list[TaskItem]:
    """`count` training items, the tasks in equal parts, in a seeded order."""
    share = -(-count // len(TASK_NAMES))
    items = [item for task in REASONING_TASKS for item in task.items(share, seed)]
    items += instruction_items(share, seed)
    Random(seed).shuffle(items)
    return items[:count]


def held_out_items(per_task: int, seed: int, training: list[TaskItem]) -> dict[str, list[TaskItem]]:
    """`per_task` items of each task, none of whose questions stands among the training items.

    Args:
        per_task: items wanted of each task; a task with few possible questions may give fewer.
        seed: the run's.
        training: what the run trains on.
    """
    seen = {item.messages for item in training}
    chosen: dict[str, list[TaskItem]] = {}
    for name in TASK_NAMES:
        fresh: dict[object, TaskItem] = {}
        for item in _candidates(name, per_task * 8, seed + _HELD_OUT_SEED):
            if item.messages not in seen:
                fresh.setdefault(item.messages, item)
        chosen[name] = list(fresh.values())[:per_task]
    return chosen


def _candidates(name: str, count: int, seed: int) -> list[TaskItem]:
    if name == TASK:
        return instruction_items(count, seed)
    return next(t for t in REASONING_TASKS if t.name == name).items(count, seed)
