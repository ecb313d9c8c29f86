"""Standard RL data: verifiable tasks with their rewards."""

from steadfast.tasks.item import TaskItem
from steadfast.tasks.standard import TASK_NAMES, held_out_items, standard_items

__all__ = ["TASK_NAMES", "TaskItem", "held_out_items", "standard_items"]
