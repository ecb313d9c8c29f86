"""Traits, domains, scenarios with rubrics: what the trait data is, and the proof that its pools are disjoint."""

from steadfast.corpus.definitions import Domain, Trait, domains, traits
from steadfast.corpus.loading import (
    built_in_gold,
    built_in_scenarios,
    faults,
    load_scenarios,
    read_jsonl,
    read_jsonl_by_line,
    with_splits,
)
from steadfast.corpus.overlap import Overlap, find_overlaps, prove_disjoint
from steadfast.corpus.scenario import Criterion, GoldPair, Scenario

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
