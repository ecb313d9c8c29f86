"""The mixed model, against its closed form in a balanced design and against simulation."""

import numpy as np
import pytest

from steadfast.analysis.mixed import mixed_estimate


def table(differences_SFI):
    """One row for each seed, family and item, as columns."""
    seeds, families, items = np.indices(differences_SFI.shape).reshape(3, -1)
    return differences_SFI.ravel(), seeds.tolist(), [f"f{k}" for k in families], [f"i{k}" for k in items]


def simulated(rng, *, seeds=4, families=3, items=5, seed=0.1, family=0.05, item=0.05, noise=0.1, mean=0.2):
    return (
        mean
        + rng.normal(0, seed, (seeds, 1, 1))
        + rng.normal(0, family, (1, families, 1))
        + rng.normal(0, item, (1, families, items))
        + rng.normal(0, noise, (seeds, families, items))
    )


def test_in_a_balanced_design_with_one_family_it_is_the_analysis_of_variance():
    y_SI = simulated(np.random.default_rng(3), families=1, items=8, family=0.0, item=0.3)[:, 0]
    found = mixed_estimate(*table(y_SI[:, None, :]))
    seeds, items = y_SI.shape
    of_seed, of_item = y_SI.mean(axis=1), y_SI.mean(axis=0)
    left = y_SI - of_seed[:, None] - of_item[None, :] + y_SI.mean()
    noise = (left**2).sum() / ((seeds - 1) * (items - 1))
    assert found.difference.estimate == pytest.approx(y_SI.mean())
    assert found.residual**2 == pytest.approx(noise, rel=2e-2)
    assert found.seed**2 == pytest.approx(of_seed.var(ddof=1) - noise / items, rel=5e-2)
    assert found.item**2 == pytest.approx(of_item.var(ddof=1) - noise / seeds, rel=5e-2)


def test_its_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    found = [mixed_estimate(*table(simulated(rng))) for _ in range(40)]
    inside = [f.difference.low <= 0.2 <= f.difference.high for f in found if f.difference]
    assert len(inside) >= 38
    assert sum(inside) >= 34  # of forty studies at 95%, fewer than that come once in three hundred times


@pytest.mark.parametrize(
    ("y", "reason"),
    [
        (np.zeros((1, 2, 3)), "two training seeds"),
        (np.zeros((3, 1, 1)), "two items"),
        (np.zeros((3, 2, 3)), "every difference is the same"),
        (np.zeros((2, 5, 20)), "too many"),
    ],
)
def test_what_cannot_be_fitted_has_a_reason_and_no_interval(y, reason):
    found = mixed_estimate(*table(y))
    assert found.difference is None
    assert reason in found.reason


def test_a_spread_at_zero_is_said():
    y = simulated(np.random.default_rng(5), seed=0.0, noise=0.3)
    found = mixed_estimate(*table(y - y.mean(axis=(1, 2), keepdims=True)))
    assert "seed" in found.reason


def test_columns_of_unlike_length_are_refused():
    with pytest.raises(ValueError, match="each row"):
        mixed_estimate([0.1, 0.2], [0], ["a", "b"], ["x", "y"])
