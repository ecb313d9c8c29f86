"""The statistics of a results table: arm against arm, paired by item. Knows nothing of files or models."""

from steadfast.analysis.bootstrap import Interval, clustered_bootstrap, item_bootstrap
from steadfast.analysis.comparison import Comparison, EvalComparison, compare
from steadfast.analysis.multiplicity import benjamini_hochberg
from steadfast.analysis.paired_test import paired_permutation_test

__all__ = [
    "Comparison",
    "EvalComparison",
    "Interval",
    "benjamini_hochberg",
    "clustered_bootstrap",
    "compare",
    "item_bootstrap",
    "paired_permutation_test",
]
