"""Tasks, suites, traits, domains and rubrics say, as plain data, what a model is asked and what grades it."""

from steadfast.tasks.jsonl import faults, read_jsonl, read_jsonl_by_line
from steadfast.tasks.loading import built_in_gold, built_in_scenarios, load_gold, load_tasks, with_gold, with_splits
from steadfast.tasks.overlap import Overlap, find_overlaps, prove_disjoint
from steadfast.tasks.rubric import Criterion, rubric_score
from steadfast.tasks.suite import (
    HEALTH_DOMAINS,
    Suite,
    SuiteInfo,
    battery,
    catalogue,
    find_family,
    find_suite,
    shipped_suite,
)
from steadfast.tasks.task import GoldPair, ProgramGrader, References, RubricGrader, Task
from steadfast.tasks.traits import Domain, Taxonomy, Trait, domains, traits

__all__ = [
    "HEALTH_DOMAINS",
    "Criterion",
    "Domain",
    "GoldPair",
    "Overlap",
    "ProgramGrader",
    "References",
    "RubricGrader",
    "Suite",
    "SuiteInfo",
    "Task",
    "Taxonomy",
    "Trait",
    "battery",
    "built_in_gold",
    "built_in_scenarios",
    "catalogue",
    "domains",
    "faults",
    "find_family",
    "find_overlaps",
    "find_suite",
    "load_gold",
    "load_tasks",
    "prove_disjoint",
    "read_jsonl",
    "read_jsonl_by_line",
    "rubric_score",
    "shipped_suite",
    "traits",
    "with_gold",
    "with_splits",
]
