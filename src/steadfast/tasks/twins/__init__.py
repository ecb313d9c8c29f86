"""Twins are pairs of tasks that differ in the fewest words that reverse the right answer, which a program checks.

The score of a pair is the product of its twins' scores. Whoever always says yes, always complies or always gives the
last number that he read is right on one twin and wrong on the other, and earns nothing.
"""

from steadfast.tasks.twins.family import FORMATS, Family, Format, family_of, read_family, shipped_families
from steadfast.tasks.twins.pairs import PAIRS_PER_CELL, Cell, make_pairs, pairs_at, twins_of
from steadfast.tasks.twins.rotations import rotations, trained_families

__all__ = [
    "FORMATS",
    "PAIRS_PER_CELL",
    "Cell",
    "Family",
    "Format",
    "family_of",
    "make_pairs",
    "pairs_at",
    "read_family",
    "rotations",
    "shipped_families",
    "trained_families",
    "twins_of",
]
