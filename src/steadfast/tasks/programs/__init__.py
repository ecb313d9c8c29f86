"""Verifiable tasks are made by programs, and their answers are checked by programs that a task names in its data."""

from steadfast.tasks.programs.answers import correct_answers
from steadfast.tasks.programs.checks import check_of, program_hashes, source_hashes
from steadfast.tasks.programs.standard import TASK_NAMES, held_out_tasks, standard_tasks

__all__ = [
    "TASK_NAMES",
    "check_of",
    "correct_answers",
    "held_out_tasks",
    "program_hashes",
    "source_hashes",
    "standard_tasks",
]
