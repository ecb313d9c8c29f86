"""Traits, domains, scenarios with rubrics, verifiable tasks and evals: what a model is asked, and what grades it."""

from steadfast.tasks.loading import (
    built_in_gold,
    built_in_scenarios,
    faults,
    load_scenarios,
    read_jsonl,
    read_jsonl_by_line,
    with_splits,
)
from steadfast.tasks.overlap import Overlap, find_overlaps, prove_disjoint
from steadfast.tasks.scenario import Criterion, GoldPair, Scenario
from steadfast.tasks.traits import Domain, Trait, domains, traits

__all__ = [
    "Criterion",
    "Domain",
    "GoldPair",
    "Overlap",
    "Scenario",
    "Trait",
    "built_in_gold",
    "built_in_scenarios",
    "domains",
    "faults",
    "find_overlaps",
    "load_scenarios",
    "prove_disjoint",
    "read_jsonl",
    "read_jsonl_by_line",
    "traits",
    "with_splits",
]
