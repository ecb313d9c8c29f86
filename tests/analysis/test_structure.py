import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from steadfast.analysis.structure import COMPONENTS, Structure, critical_correlation, structure

OFF = ~np.eye(12, dtype=bool)


def constructs(evals: int, each: int = 2) -> list[str]:
    return [f"construct {i // each}" for i in range(evals)]


def one_factor(checkpoints: int, evals: int, loading: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return loading * rng.normal(size=(checkpoints, 1)) + rng.normal(size=(checkpoints, evals))


def observed(s: Structure) -> list[float]:
    return [s.mean.value, s.within.value, s.between.value, s.contrast.value, *(t.value for t in s.shares)]


def test_correlations_are_scipy_s_spearman_ties_included():
    scores = np.random.default_rng(0).integers(0, 5, size=(9, 12)).astype(float)
    found = structure(scores, constructs(12), permutations=20)
    expected = stats.spearmanr(scores).statistic
    assert found.correlations_EE == pytest.approx(expected)
    assert found.mean.value == pytest.approx(expected[OFF].mean())


def test_means_within_and_between_constructs_are_those_of_their_pairs():
    scores = one_factor(9, 12, 0.5, 1)
    labels = [*["a"] * 5, *["b"] * 3, *["c"] * 4]
    found = structure(scores, labels, permutations=20)
    expected = stats.spearmanr(scores).statistic
    same = np.array(labels)[:, None] == np.array(labels)
    assert found.within.value == pytest.approx(expected[same & OFF].mean())
    assert found.between.value == pytest.approx(expected[~same].mean())
    assert found.contrast.value == pytest.approx(found.within.value - found.between.value)


@pytest.mark.parametrize("checkpoints", [6, 40])
def test_shares_are_the_eigenvalues_of_the_correlations(checkpoints: int):
    scores = one_factor(checkpoints, 12, 0.8, 2)
    found = structure(scores, constructs(12), permutations=20)
    eigenvalues = np.linalg.eigvalsh(stats.spearmanr(scores).statistic)[::-1] / 12
    shares = [t.value for t in found.shares]
    assert shares == pytest.approx(eigenvalues[: len(shares)])
    assert len(shares) == min(COMPONENTS, checkpoints - 1)
    assert found.scores_share is not None
    assert found.scores_share.value == pytest.approx(np.linalg.eigvalsh(np.corrcoef(scores.T))[-1] / 12)


def test_with_capability_controlled_correlations_are_partial_spearman():
    rng = np.random.default_rng(3)
    capability = rng.normal(size=10)
    scores = one_factor(10, 12, 0.5, 3) + capability[:, None]
    found = structure(scores, constructs(12), capability_C=capability, permutations=20)
    whole = stats.spearmanr(np.column_stack([scores, capability])).statistic
    r, c = whole[:-1, :-1], whole[:-1, -1]
    expected = (r - np.outer(c, c)) / np.sqrt(np.outer(1 - c**2, 1 - c**2))
    assert found.correlations_EE[OFF] == pytest.approx(expected[OFF])
    assert found.controlled
    assert found.scores_share is None
    assert len(found.shares) == 8


def test_one_factor_is_recovered():
    found = structure(one_factor(20, 30, 1.0, 4), constructs(30), permutations=500)
    assert found.mean.value == pytest.approx(0.5, abs=0.2)
    assert found.mean.low < 0 < found.mean.high < 0.1 < found.mean.value
    assert found.mean.p == pytest.approx(1 / 501)
    assert found.shares[0].value > found.shares[0].high
    assert all(t.value < t.high for t in found.shares[1:4])


def test_a_factor_that_is_capability_and_nothing_else_is_much_smaller_once_controlled():
    capability = np.random.default_rng(5).normal(size=30)
    scores = capability[:, None] + np.random.default_rng(6).normal(size=(30, 20))
    plain = structure(scores, constructs(20), permutations=200)
    controlled = structure(scores, constructs(20), capability_C=capability, permutations=200)
    assert plain.mean.value > 0.3
    assert abs(controlled.mean.value) < 0.1


def test_constructs_that_hold_together_are_found_where_no_factor_is_common():
    rng = np.random.default_rng(7)
    scores = np.repeat(rng.normal(size=(12, 10)), 3, axis=1) + 0.5 * rng.normal(size=(12, 30))
    found = structure(scores, constructs(30, each=3), permutations=500)
    assert found.within.value > 0.5 > abs(found.between.value)
    assert found.contrast.p == pytest.approx(1 / 501)
    assert found.within.p < 0.01 < found.between.p


def false_positives(checkpoints: int, studies: int = 400, *, control: bool = False) -> np.ndarray:
    """Share of studies of 12 independent evals with p at most 0.05: mean, contrast, first share."""
    rng = np.random.default_rng(checkpoints)
    called = []
    for study in range(studies):
        scores, capability = rng.normal(size=(checkpoints, 12)), rng.normal(size=checkpoints)
        found = structure(
            scores,
            constructs(12),
            capability_C=capability if control else None,
            permutations=99,
            seed=study,
        )
        called.append([t.p <= 0.05 for t in (found.mean, found.contrast, found.shares[0])])
    return np.mean(called, axis=0)


# The Monte Carlo standard error at 400 studies is 0.011.
@pytest.mark.parametrize("checkpoints", [4, 6, 14])
def test_independent_evals_are_called_related_in_about_one_study_of_twenty(checkpoints: int):
    assert false_positives(checkpoints) == pytest.approx([0.05] * 3, abs=0.03)


def test_independent_evals_are_called_related_no_more_often_with_capability_controlled():
    assert false_positives(8, control=True) == pytest.approx([0.05] * 3, abs=0.03)


def test_p_values_of_independent_evals_are_uniform():
    rng = np.random.default_rng(8)
    p = [structure(rng.normal(size=(8, 12)), constructs(12), permutations=99, seed=i).mean.p for i in range(400)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


finite_scores = arrays(np.float64, (7, 5), elements=st.integers(0, 6).map(float))


@settings(max_examples=40, deadline=None)
@given(finite_scores, st.permutations(range(7)))
def test_the_order_of_checkpoints_does_not_matter(scores: np.ndarray, order: list[int]):
    if (np.ptp(scores, axis=0) > 0).sum() < 2:
        return
    plain, moved = (structure(s, constructs(5), permutations=50) for s in (scores, scores[order]))
    assert moved.columns == plain.columns
    assert observed(moved) == pytest.approx(observed(plain), nan_ok=True, abs=1e-9)
    assert (moved.mean.low, moved.mean.high) == pytest.approx((plain.mean.low, plain.mean.high), abs=1e-9)
    assert moved.mean.p == plain.mean.p


@settings(max_examples=40, deadline=None)
@given(finite_scores, st.integers(0, 4))
def test_a_monotone_transform_of_a_column_changes_nothing_but_the_share_of_scores(scores: np.ndarray, column: int):
    if (np.ptp(scores, axis=0) > 0).sum() < 2:
        return
    bent = scores.copy()
    bent[:, column] = np.exp(3 * bent[:, column]) - 7
    plain, moved = (structure(s, constructs(5), permutations=50) for s in (scores, bent))
    assert (moved.mean, moved.shares, moved.constant) == (plain.mean, plain.shares, plain.constant)


def test_the_order_of_checkpoints_does_not_matter_with_capability_controlled():
    scores, capability = one_factor(9, 12, 0.5, 9), np.random.default_rng(10).normal(size=9)
    order = np.random.default_rng(11).permutation(9)
    plain = structure(scores, constructs(12), capability_C=capability, permutations=50)
    moved = structure(scores[order], constructs(12), capability_C=capability[order], permutations=50)
    assert observed(moved) == pytest.approx(observed(plain))
    assert (moved.mean.low, moved.mean.p) == pytest.approx((plain.mean.low, plain.mean.p))


def test_one_collapsed_checkpoint_makes_the_first_component_of_scores_and_not_of_ranks():
    scores = np.random.default_rng(12).normal(size=(12, 20))
    scores[0] -= 50
    found = structure(scores, constructs(20), permutations=200)
    assert found.scores_share is not None
    assert found.scores_share.value > 0.9
    assert found.shares[0].value < 0.5


def test_columns_without_variance_are_left_out_and_named():
    scores = one_factor(8, 5, 1.0, 13)
    scores[:, 2] = 0.5
    found = structure(scores, constructs(5), permutations=20)
    assert (found.constant, found.columns) == ((2,), (0, 1, 3, 4))
    assert found.correlations_EE.shape == (4, 4)


def test_an_eval_in_exact_order_of_capability_is_left_out_where_that_is_controlled():
    scores, capability = one_factor(8, 5, 1.0, 14), np.arange(8.0)
    scores[:, 1] = capability**3
    found = structure(scores, constructs(5), capability_C=capability, permutations=20)
    assert found.constant == (1,)


def test_a_pair_that_is_not_there_has_no_mean():
    scores = one_factor(8, 4, 1.0, 15)
    alone = structure(scores, ["a", "b", "c", "d"], permutations=20)
    together = structure(scores, ["a"] * 4, permutations=20)
    assert np.isnan([alone.within.value, alone.contrast.p, together.between.value, together.contrast.value]).all()
    assert alone.between.value == pytest.approx(alone.mean.value) == pytest.approx(together.within.value)


def test_same_seed_gives_the_same_null_and_another_seed_another():
    scores = one_factor(8, 12, 0.3, 16)
    a, b, c = (structure(scores, constructs(12), permutations=100, seed=s).mean for s in (1, 1, 2))
    assert a == b != c


# Tables of Spearman's rho, two-sided 0.05 (Zar 1984, table B.20): exact.
@pytest.mark.parametrize(("checkpoints", "rho"), [(5, 1.0), (6, 0.886), (7, 0.786), (8, 0.738)])
def test_critical_correlations_are_the_published_ones(checkpoints: int, rho: float):
    assert critical_correlation(checkpoints) == pytest.approx(rho, abs=5e-4)


@pytest.mark.parametrize(("checkpoints", "rho"), [(9, 0.700), (10, 0.648), (12, 0.587), (20, 0.447), (30, 0.362)])
def test_critical_correlations_beyond_enumeration_are_near_the_published_ones(checkpoints: int, rho: float):
    assert critical_correlation(checkpoints) == pytest.approx(rho, abs=0.035)
    assert critical_correlation(checkpoints) <= rho + 5e-3


def test_with_four_checkpoints_no_single_correlation_is_significant():
    assert np.isnan(critical_correlation(4))
    assert np.isnan(structure(one_factor(4, 5, 1.0, 17), constructs(5), permutations=20).detectable)


@pytest.mark.parametrize(
    ("scores", "extra", "message"),
    [
        (np.ones((3, 4)), {}, "3 checkpoints are too few.*need 4"),
        (np.ones((6, 4)), {}, "fewer than two evals vary"),
        (np.ones((6, 3)), {}, "a construct an eval"),
        (np.full((6, 4), np.nan), {}, "not finite"),
        (one_factor(6, 4, 1.0, 0), {"capability_C": np.ones(6)}, "capability is the same"),
        (one_factor(6, 4, 1.0, 0), {"capability_C": np.ones(5)}, "capability must be"),
        (one_factor(6, 4, 1.0, 0), {"permutations": 0}, "permutations"),
    ],
)
def test_what_cannot_be_analysed_is_an_error(scores: np.ndarray, extra: dict, message: str):
    with pytest.raises(ValueError, match=message):
        structure(scores, constructs(4), **extra)
