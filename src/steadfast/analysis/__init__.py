"""The statistics of a results table: arm against arm, evals against evals. Knows nothing of files or models."""

from steadfast.analysis.bootstrap import Interval, clustered_bootstrap, item_bootstrap
from steadfast.analysis.comparison import Comparison, EvalComparison, compare
from steadfast.analysis.multiplicity import benjamini_hochberg
from steadfast.analysis.permutation import paired_permutation_test
from steadfast.analysis.score_matrix import ScoreMatrix, score_matrix
from steadfast.analysis.structure import Structure, structure

__all__ = [
    "Comparison",
    "EvalComparison",
    "Interval",
    "ScoreMatrix",
    "Structure",
    "benjamini_hochberg",
    "clustered_bootstrap",
    "compare",
    "item_bootstrap",
    "paired_permutation_test",
    "score_matrix",
    "structure",
]
