"""Is alignment one thing? How evals move together over checkpoints, beside what chance would give.

The correlations are Spearman's, over checkpoints, between every two evals. The null distribution shuffles each eval's
scores over the checkpoints, independently of the other evals: it keeps how many checkpoints there are, how many evals,
and every tie. What few checkpoints do by themselves (with five of them the first component takes a large share of
anything) is in the null as well, so a share or a mean is read beside its null and never alone.

Components are those of the ranks, standardized: the eigenvalues of the Spearman matrix over the number of evals. A
single collapsed checkpoint cannot make the first component by its distance, and the shares with and without the control
for capability can be compared. The share of the standardized scores themselves is kept beside it.

The control regresses each eval's ranks on the ranks of mean capability; correlations of the residuals are partial
Spearman correlations. Its null shuffles residuals and regresses again, or the shuffled columns would have one dimension
more than the observed ones (Freedman & Lane 1983).

Read the control in one direction only. A mean that falls into its null is explained by capability; one that stays above
may still be capability, since ranks forget the distances between checkpoints and every eval inherits the same residue.
Simulated, 12 evals independent given capability, 300 studies a cell; mean partial correlation, share with p <= 0.05:

    checkpoints   no dependence   slope 1        slope 5        exp, slope 1   exp, slope 5
    8             0.00   0.05     0.05   0.22    0.14   0.73    0.11   0.50    0.14   0.71
    12            0.00   0.03     0.04   0.22    0.16   0.82    0.10   0.64    0.15   0.83
    30            0.00   0.06     0.03   0.31    0.11   0.89    0.10   0.90    0.11   0.93

Noise has standard deviation 1, as has capability. Residuals of a straight line through the scores are exact where the
dependence is one and far worse where it is not (exp, slope 1, 12 checkpoints: 0.30 and 0.83), which is why ranks stay.
Capability is itself measured with error, which leaves more.

Sources:
    Horn 1965, "A rationale and test for the number of factors in factor analysis", Psychometrika 30(2).
    Freedman & Lane 1983, "A Nonstochastic Interpretation of Reported Significance Levels", J. Bus. Econ. Stat. 1(4).
    Phipson & Smyth 2010, "Permutation P-values Should Never Be Zero", Stat. Appl. Genet. Mol. Biol. 9(1).
"""

# scipy ships no types: what it leaves unknown is not ours to annotate.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations as orders
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FEWEST_CHECKPOINTS = 4
"""Below this no structure can be told from chance."""
COMPONENTS = 10
"""Components kept, as far as there are that many."""

_BATCH = 250
_ROUNDING = 1e-9
_ENUMERATED = 8
_SHARES = 3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NullTest:
    """A statistic beside its null distribution.

    Attributes:
        value: observed; NaN where there is nothing to take it from.
        low: 2.5% quantile of the null distribution.
        high: 97.5% quantile.
        p: one-sided: how often chance gives as much or more, the observed arrangement counted among the shuffles.
    """

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Structure:
    """How evals move together.

    Attributes:
        checkpoints: how many.
        columns: index into the matrix's columns of each eval kept [E].
        constant: index of each column left out because it does not vary, or not beyond capability.
        correlations_EE: Spearman, or partial Spearman with capability controlled.
        mean: of the correlations off the diagonal.
        within: mean over pairs of the same construct; NaN without such a pair.
        between: mean over pairs of different constructs; NaN without such a pair.
        contrast: within minus between; its null shuffles the constructs over the evals.
        shares: of the variance of the ranks, the largest components first.
        scores_share: the first component's share of the standardized scores; None with capability controlled.
        detectable: a correlation between two given evals reaches p = 0.05 (two-sided) from this size on; NaN if none
            does.
        permutations: of each null.
        controlled: whether capability is.
    """

    checkpoints: int
    columns: tuple[int, ...]
    constant: tuple[int, ...]
    correlations_EE: Array
    mean: NullTest
    within: NullTest
    between: NullTest
    contrast: NullTest
    shares: tuple[NullTest, ...]
    scores_share: NullTest | None
    detectable: float
    permutations: int
    controlled: bool


def structure(
    scores_CE: Array,
    constructs: Sequence[str],
    *,
    capability_C: Array | None = None,
    permutations: int = 2_000,
    seed: int = 0,
) -> Structure:
    """Correlations between evals over checkpoints, their mean and their principal components, each beside its null.

    Nothing depends on the checkpoints' order. All but `scores_share` depends on ranks alone.

    Args:
        scores_CE: mean scores [checkpoints, evals], all finite.
        constructs: of each eval [E].
        capability_C: mean capability [C], to be controlled for; None controls for nothing.
        permutations: of each null distribution.
        seed: of the permutations.

    Raises:
        ValueError: shapes that do not fit, a score that is not finite, fewer than four checkpoints or than two evals
            that vary, no permutation, or capability that does not vary.
    """
    _check(scores_CE, constructs, capability_C, permutations)
    checkpoints = scores_CE.shape[0]
    nuisance = None if capability_C is None else _unit(stats.rankdata(capability_C))
    order = np.arange(checkpoints) if capability_C is None else np.argsort(capability_C, kind="stable")
    ranks = _residuals(_unit(stats.rankdata(scores_CE, axis=0)), nuisance)
    varies = np.linalg.norm(ranks, axis=0) > _ROUNDING
    if varies.sum() < 2:
        beyond = "" if nuisance is None else " beyond what capability explains"
        raise ValueError(f"fewer than two evals vary over the checkpoints{beyond}: nothing to correlate")
    kept = np.flatnonzero(varies)
    labels = np.unique(np.array(constructs)[kept], return_inverse=True)[1]
    columns = _unit(ranks[:, kept], centre=False)[order]
    nuisance = None if nuisance is None else nuisance[order]
    rng = np.random.default_rng(seed)
    observed = _statistics(columns[None], labels, nuisance)[0]
    null = _null(columns, nuisance, labels, permutations, rng)
    correlations = np.clip(columns.T @ columns, -1, 1)
    mean, within, between, *shares = (_null_test(value, drawn) for value, drawn in zip(observed, null.T, strict=True))
    scores_share = None
    if nuisance is None:
        standardized = _unit(scores_CE[:, kept])
        first = _statistics(standardized[None], labels, None)[0][_SHARES]
        scores_share = _null_test(first, _null(standardized, None, labels, permutations, rng)[:, _SHARES])
    return Structure(
        checkpoints=checkpoints,
        columns=tuple(kept.tolist()),
        constant=tuple(np.flatnonzero(~varies).tolist()),
        correlations_EE=correlations,
        mean=mean,
        within=within,
        between=between,
        contrast=_contrast(correlations, labels, permutations, rng),
        shares=tuple(shares),
        scores_share=scores_share,
        detectable=critical_correlation(checkpoints - (nuisance is not None)),
        permutations=permutations,
        controlled=nuisance is not None,
    )


@cache
def critical_correlation(checkpoints: int, level: float = 0.05) -> float:
    """The smallest Spearman correlation of two evals that a two-sided test at that level calls significant.

    Up to eight checkpoints the null distribution without ties is enumerated; beyond, Student's t with n - 2 degrees of
    freedom stands for it, too lenient by 0.02 at nine and by less from there on.

    Returns:
        The correlation; NaN where even a perfect one is not significant, as with four checkpoints.
    """
    n = checkpoints
    if n < 3:
        return float("nan")
    if n > _ENUMERATED:
        t = float(stats.t.ppf(1 - level / 2, n - 2))
        return t / sqrt(t * t + n - 2)
    ranks = np.arange(n)
    squares = ((np.array(list(orders(range(n)))) - ranks) ** 2).sum(axis=1)
    rho = np.abs(1 - 6 * squares / (n * (n * n - 1)))
    sizes = np.unique(rho.round(9))
    significant = [r for r in sizes if (rho >= r - _ROUNDING).mean() <= level]
    return float(significant[0]) if significant else float("nan")


def _check(scores: Array, constructs: Sequence[str], capability: Array | None, permutations: int) -> None:
    if scores.ndim != 2 or scores.shape[1] != len(constructs):
        raise ValueError(f"scores must be [checkpoints, evals] with a construct an eval, not shape {scores.shape}")
    if not np.isfinite(scores).all() or (capability is not None and not np.isfinite(capability).all()):
        raise ValueError("a score is not finite; leave out what was not graded on every checkpoint")
    if scores.shape[0] < FEWEST_CHECKPOINTS:
        raise ValueError(
            f"{scores.shape[0]} checkpoints are too few: correlations over checkpoints need {FEWEST_CHECKPOINTS} "
            "at the very least, and ten to say much"
        )
    if permutations < 1:
        raise ValueError(f"permutations must be 1 or more, not {permutations}")
    if capability is None:
        return
    if capability.shape != scores.shape[:1]:
        raise ValueError(f"capability must be [checkpoints] = {scores.shape[:1]}, not shape {capability.shape}")
    if np.ptp(capability) <= _ROUNDING:
        raise ValueError("capability is the same on every checkpoint: there is nothing to control for")


def _unit(columns: Array, *, centre: bool = True) -> Array:
    """Columns along the next to last axis (or the only one) to length one, so that products are correlations."""
    axis = 0 if columns.ndim == 1 else -2
    centred = columns - columns.mean(axis=axis, keepdims=True) if centre else columns
    length = np.linalg.norm(centred, axis=axis, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > _ROUNDING)


def _residuals(columns: Array, nuisance_C: Array | None) -> Array:
    if nuisance_C is None:
        return columns
    return columns - nuisance_C[:, None] * (nuisance_C @ columns)[..., None, :]


def _null(
    columns_CE: Array, nuisance_C: Array | None, labels: NDArray[np.intp], n: int, rng: np.random.Generator
) -> Array:
    # Sorted first: shuffles then start from the same place however the checkpoints are ordered.
    start = np.sort(columns_CE, axis=0)
    found: list[Array] = []
    for done in range(0, n, _BATCH):
        batch = np.broadcast_to(start, (min(_BATCH, n - done), *start.shape))
        shuffled = rng.permuted(batch, axis=1)
        if nuisance_C is not None:
            shuffled = _unit(_residuals(shuffled, nuisance_C), centre=False)
        found.append(_statistics(shuffled, labels, nuisance_C))
    return np.concatenate(found)


def _statistics(columns_BCE: Array, labels: NDArray[np.intp], nuisance_C: Array | None) -> Array:
    """Mean, within-construct mean, between-construct mean and shares [B, 3 + components] of unit columns.

    The sum of all correlations among some columns is the squared length of their sum, so no matrix is needed.
    """
    _, checkpoints, evals = columns_BCE.shape
    members = np.eye(labels.max() + 1)[labels]
    sizes = members.sum(axis=0)
    pairs, pairs_within = evals * (evals - 1), float((sizes * (sizes - 1)).sum())
    total = (columns_BCE.sum(axis=2) ** 2).sum(axis=1) - evals
    within = ((columns_BCE @ members) ** 2).sum(axis=(1, 2)) - evals
    between = pairs - pairs_within
    # A mean over no pairs would be rounding over zero.
    means = [total / pairs, within / (pairs_within or np.nan), (total - within) / (between or np.nan)]
    transposed = columns_BCE.transpose(0, 2, 1)
    gram = columns_BCE @ transposed if checkpoints < evals else transposed @ columns_BCE
    # Centring takes one dimension and the control another: no more components than what is left have any variance.
    most = min(checkpoints - 1 - (nuisance_C is not None), evals, COMPONENTS)
    shares = np.linalg.eigvalsh(gram)[:, ::-1][:, :most].clip(0) / evals
    return np.column_stack([*means, shares])


def _contrast(correlations: Array, labels: NDArray[np.intp], n: int, rng: np.random.Generator) -> NullTest:
    off = ~np.eye(len(labels), dtype=bool)

    def contrast(labels_BE: NDArray[np.intp]) -> Array:
        same = (labels_BE[:, :, None] == labels_BE[:, None, :]) & off
        other = ~same & off
        with np.errstate(invalid="ignore", divide="ignore"):
            within, between = ((m * correlations).sum(axis=(1, 2)) / m.sum(axis=(1, 2)) for m in (same, other))
            return within - between

    observed = float(contrast(labels[None])[0])
    null: list[Array] = []
    for done in range(0, n, _BATCH):
        null.append(contrast(rng.permuted(np.tile(labels, (min(_BATCH, n - done), 1)), axis=1)))
    return _null_test(observed, np.concatenate(null))


def _null_test(value: float, null: Array) -> NullTest:
    if np.isnan(value):
        return NullTest(*[float("nan")] * 4)
    low, high = np.quantile(null, (0.025, 0.975))
    p = (1 + int((null >= value - _ROUNDING).sum())) / (1 + null.size)
    return NullTest(float(value), float(low), float(high), p)
