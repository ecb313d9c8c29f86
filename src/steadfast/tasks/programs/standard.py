"""The standard pool mixes all kinds of verifiable tasks; held-out tasks of each kind measure the alignment tax."""

from random import Random

from steadfast.tasks.programs.instructions import PROGRAM as INSTRUCTIONS
from steadfast.tasks.programs.instructions import instruction_tasks
from steadfast.tasks.programs.reasoning import REASONING_TASKS
from steadfast.tasks.task import Task

TASK_NAMES = (*(t.name for t in REASONING_TASKS), INSTRUCTIONS)

_HELD_OUT_SEED = 1_000_003
"""It is added to a run's seed for held-out tasks, which are also compared by text, because small tasks repeat."""


def standard_tasks(count: int, seed: int) -> list[Task]:
    """Draw `count` training tasks, of all kinds in equal parts, in a seeded order."""
    share = -(-count // len(TASK_NAMES))
    tasks = [task for kind in REASONING_TASKS for task in kind.tasks(share, seed)]
    tasks += instruction_tasks(share, seed)
    Random(seed).shuffle(tasks)
    return tasks[:count]


def held_out_tasks(per_kind: int, seed: int, training: list[Task]) -> dict[str, list[Task]]:
    """Draw `per_kind` tasks of each kind, none of whose conversations is among the training tasks.

    Args:
        per_kind: The number of tasks of each kind. A kind with few possible questions may give fewer; 0 gives none.
        seed: The run's seed.
        training: The tasks that the run trains on.
    """
    if per_kind == 0:
        return {}
    seen = {task.messages for task in training}
    chosen: dict[str, list[Task]] = {}
    for name in TASK_NAMES:
        fresh: dict[object, Task] = {}
        for task in _candidates(name, per_kind * 8, seed + _HELD_OUT_SEED):
            if task.messages not in seen:
                fresh.setdefault(task.messages, task)
        chosen[name] = list(fresh.values())[:per_kind]
    return chosen


def _candidates(name: str, count: int, seed: int) -> list[Task]:
    if name == INSTRUCTIONS:
        return instruction_tasks(count, seed)
    return next(t for t in REASONING_TASKS if t.name == name).tasks(count, seed)
