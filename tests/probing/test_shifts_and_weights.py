"""How far a checkpoint moved, and what its adapter's matrices say."""

import numpy as np
import pytest

from steadfast.probing.directions import random_directions
from steadfast.probing.shifts import projection
from steadfast.probing.weights import LowRank, overlap


def low_rank(out=20, into=30, rank=4, seed=0):
    rng = np.random.default_rng(seed)
    return LowRank(rng.standard_normal((out, rank)), rng.standard_normal((rank, into)))


def test_a_shift_of_one_gap_along_the_direction_is_one_with_an_interval_over_tasks():
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(40) * 3
    moved = direction + 0.1 * rng.standard_normal((60, 40))
    nothing = random_directions(200, 40, rng)
    found = projection(moved, direction, nothing, norm=10.0, groups=[f"t{i // 2}" for i in range(60)])
    assert found.gaps == pytest.approx(1, abs=0.02)
    assert found.low < 1.01
    assert found.high > 0.99
    assert found.cosine > 0.99
    assert found.chance < 0.5
    assert found.length == pytest.approx(np.linalg.norm(direction) / 10, rel=0.01)


def test_a_checkpoint_that_did_not_move_has_no_cosine():
    found = projection(
        np.zeros((4, 8)), np.ones(8), random_directions(30, 8, np.random.default_rng(0)), 1.0, list("aabb")
    )
    assert found.gaps == 0
    assert np.isnan(found.cosine)
    assert np.isnan(found.chance)


def test_norm_and_singular_values_are_those_of_the_product():
    change = low_rank()
    whole = change.out_OR @ change.into_RI
    assert change.norm == pytest.approx(np.linalg.norm(whole))
    assert change.singular_values == pytest.approx(np.linalg.svd(whole, compute_uv=False)[:4])


def test_the_change_since_a_warm_start_is_the_difference_of_the_products():
    arm, start = low_rank(seed=1), low_rank(seed=2)
    expected = arm.out_OR @ arm.into_RI - start.out_OR @ start.into_RI
    assert arm.minus(start).norm == pytest.approx(np.linalg.norm(expected))
    assert arm.minus(arm).norm < 1e-10


def test_effective_rank_counts_equal_directions_and_is_zero_for_no_change():
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 4)))[0]
    assert LowRank(q, q.T).effective_rank == pytest.approx(4)
    assert LowRank(q * [1, 1e-9, 1e-9, 1e-9], q.T).effective_rank == pytest.approx(1, abs=1e-5)
    assert LowRank(np.zeros((20, 4)), q.T).effective_rank == 0


def test_overlap_is_one_with_itself_zero_across_and_chance_between_random_changes():
    one = low_rank(out=64, into=64)
    itself = overlap(one, one)
    assert itself.written == pytest.approx(1)
    assert itself.cosine == pytest.approx(1)
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((64, 8)))[0]
    across = overlap(LowRank(q[:, :4], q[:, :4].T), LowRank(q[:, 4:], q[:, 4:].T))
    assert across.written == pytest.approx(0, abs=1e-12)
    random = [overlap(low_rank(64, 64, seed=2 * i), low_rank(64, 64, seed=2 * i + 1)) for i in range(60)]
    assert np.mean([o.written for o in random]) == pytest.approx(random[0].written_by_chance, rel=0.15)
    assert random[0].written_by_chance == 4 / 64
    assert overlap(one, LowRank(np.zeros((64, 4)), one.into_RI)) is None
