"""Verifiable tasks: their items, and the programs that check an answer."""

from steadfast.tasks.programs.item import TaskItem
from steadfast.tasks.programs.standard import TASK_NAMES, held_out_items, standard_items

__all__ = ["TASK_NAMES", "TaskItem", "held_out_items", "standard_items"]
