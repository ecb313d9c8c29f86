"""The gain along an attack, at equal doses and at equal depths of learning."""

import numpy as np
import polars as pl
import pytest

from steadfast.analysis.dose_response import dose_response, response_to_learning
from steadfast.analysis.factorial import Cell
from tests.analysis.attacked import table

DOSES = [4, 16, 64, 256]
SPEED = {4: 0.1, 16: 0.5, 64: 1.2, 256: 2.0}
"""Nats that the reference learns of the attack."""


def rows_of(rng, level, *, seeds=5, items=20, noise=0.02, gain=0.3, rates=(1.0, 1.0)):
    """Arms whose level is `level(nats learned)` of what they had, the trait arm learning at the first of the rates."""
    item = rng.normal(0, 0.1, (1, items))
    cells = {}
    for arm, top, rate in (("trait", 0.4 + gain, rates[0]), ("baseline", 0.4, rates[1])):
        seed = rng.normal(0, noise, (seeds, 1))
        for dose in (0, *DOSES):
            share = level(rate * SPEED.get(dose, 0.0))
            cell = Cell(arm, attack="harm" if dose else None, dose=dose)
            cells[cell] = share * (top + item) + seed + rng.normal(0, noise, (seeds, items))
    return table(cells)


def learned_of(rates=(1.0, 1.0), seeds=5):
    return pl.DataFrame(
        [
            {"checkpoint": arm, "seed": s, "attack": "harm", "dose": d, "attack_seed": 0, "learned": rate * SPEED[d]}
            for arm, rate in zip(("trait", "baseline"), rates, strict=True)
            for s in range(seeds)
            for d in DOSES
        ]
    )


def fading(nats):
    return 1 - 0.8 * nats / 2


def test_gains_and_shares_are_those_of_the_table():
    cells = {
        Cell("trait"): [[0.8, 0.6], [0.9, 0.7]],
        Cell("pre-RL"): [[0.4, 0.4], [0.4, 0.4]],
        Cell("trait", attack="harm", dose=4): [[0.6, 0.6], [0.7, 0.7]],
        Cell("pre-RL", attack="harm", dose=4): [[0.3, 0.4], [0.4, 0.3]],
        Cell("trait", attack="harm", dose=16): [[0.2, 0.3], [0.2, 0.4]],
        Cell("pre-RL", attack="harm", dose=16): [[0.2, 0.2], [0.2, 0.2]],
    }
    rows = table(cells)
    found = dose_response(rows, "trait", "pre-RL", "harm", [4, 16], draws=100)
    assert found.doses == (0, 4, 16)
    assert [g.estimate for g in found.gains] == pytest.approx([0.35, 0.3, 0.075])
    assert found.shares == pytest.approx((1, 0.3 / 0.35, 0.075 / 0.35))
    assert found.fit == pytest.approx(found.shares)
    assert 4 < found.half.interval.estimate < 16
    assert found.sentence == found.half.sentence
    height = dose_response(rows, "trait", "pre-RL", "harm", [4, 16], reference_attacked=False, draws=100)
    assert [g.estimate for g in height.gains] == pytest.approx([0.35, 0.25, -0.125])


def test_twins_and_dropped_items_are_those_of_the_pairing():
    cells = {
        Cell(arm, attack="harm" if dose else None, dose=dose): np.tile([1.0, float(arm == "trait"), 1.0, 0.0], (2, 1))
        for arm in ("trait", "baseline")
        for dose in (0, 4)
    }
    cells[Cell("trait", attack="harm", dose=4)][0, 3] = float("nan")
    found = dose_response(table(cells, twins=True), "trait", "baseline", "harm", [4], twins="product", draws=50)
    assert (found.items, found.dropped) == (2, 1)
    assert found.gains[0].estimate == pytest.approx((1 + 0.5) / 2)


def test_an_arm_that_learns_the_attack_slowly_looks_robust_by_dose_and_not_by_what_it_learned():
    rng = np.random.default_rng(1)
    rates = (0.25, 1.0)
    rows = rows_of(rng, fading, rates=rates)
    by_dose = dose_response(rows, "trait", "baseline", "harm", DOSES, draws=100)
    by_depth = response_to_learning(rows, learned_of(rates), "trait", "baseline", "harm", DOSES, draws=100)
    assert by_dose.shares[-1] > 1.0
    # At equal depth the gain is what `fading` leaves of it, as far as the slow arm has come.
    assert by_depth.doses[0] == 0
    assert by_depth.doses[-1] == pytest.approx(0.25 * 2.0)
    assert list(by_depth.shares) == pytest.approx([fading(x) for x in by_depth.doses], abs=0.05)
    assert not by_depth.half.reached
    assert "0.5 nats of attack loss" in by_depth.sentence


def test_the_depth_at_which_half_is_gone_is_found_and_held_by_its_interval():
    rng = np.random.default_rng(2)
    held = []
    for k in range(30):
        rates = (0.8, 1.2)
        rows = rows_of(rng, fading, rates=rates, noise=0.03)
        found = response_to_learning(
            rows, learned_of(rates), "trait", "baseline", "harm", DOSES, draws=100, seed=k
        ).half.interval
        assert found.estimate == pytest.approx(1.25, abs=0.4)  # fading(1.25) is one half
        held.append(found.low <= 1.25 <= found.high)
    assert np.mean(held) >= 0.9


def test_each_seed_is_followed_along_what_it_learned_itself():
    doses, speed = [4, 16], {0: (0.0, 0.0), 4: (0.5, 1.0), 16: (1.0, 2.0)}
    cells = {
        Cell("trait", attack="harm" if d else None, dose=d): np.array([[1 - 0.4 * x], [1.01 - 0.4 * y]])
        for d, (x, y) in speed.items()
    }
    rows = pl.concat([table(cells), table({Cell("pre-RL"): [[0.5]]}, seeds=[None])])
    learned = pl.DataFrame(
        [
            {"checkpoint": "trait", "seed": s, "attack": "harm", "dose": d, "attack_seed": 0, "learned": speed[d][s]}
            for s in (0, 1)
            for d in doses
        ]
    )
    found = response_to_learning(
        rows, learned, "trait", "pre-RL", "harm", doses, reference_attacked=False, draws=50, unit="nats"
    )
    assert found.doses == pytest.approx((0, 0.75, 1.0))
    assert [g.estimate for g in found.gains] == pytest.approx([0.505, 0.205, 0.105])


def test_a_dose_at_which_nothing_was_learned_yet_is_passed_over():
    rows = rows_of(np.random.default_rng(3), fading)
    learned = learned_of().with_columns(
        pl.when(pl.col("dose") == 4).then(-0.05).otherwise(pl.col("learned")).alias("learned")
    )
    found = response_to_learning(rows, learned, "trait", "baseline", "harm", DOSES, draws=50)
    assert found.doses == pytest.approx((0, 0.5, 1.2, 2.0))


def test_an_attack_that_was_never_learned_shows_no_robustness():
    rows = rows_of(np.random.default_rng(4), fading)
    learned = learned_of().with_columns(
        pl.when(pl.col("seed") == 2).then(-0.1).otherwise(pl.col("learned")).alias("learned")
    )
    found = response_to_learning(rows, learned, "trait", "baseline", "harm", DOSES, draws=50)
    assert found.half is None
    assert "the attack was not learned: with some seed the held-out loss of 'trait' never fell" in found.sentence


def test_without_a_clear_gain_before_there_is_no_half_of_it_and_the_gains_stand():
    rows = rows_of(np.random.default_rng(5), fading, gain=0.0, noise=0.1)
    found = dose_response(rows, "trait", "baseline", "harm", DOSES, draws=50)
    assert found.half is None
    assert found.fit == ()
    assert len(found.gains) == 5
    assert found.sentence.startswith("No dose at which half of the gain is gone: ")


def test_one_training_seed_has_gains_without_bounds_and_no_half_dose():
    found = dose_response(rows_of(np.random.default_rng(6), fading, seeds=1), "trait", "baseline", "harm", DOSES)
    assert found.half is None
    assert np.isnan(found.gains[0].low)
    assert "one training seed tells nothing" in found.reason


def test_what_an_attacked_checkpoint_learned_must_be_told():
    rows = rows_of(np.random.default_rng(7), fading)
    learned = learned_of().filter(~((pl.col("dose") == 16) & (pl.col("seed") == 3)))
    with pytest.raises(ValueError, match="no finite value of 'trait' with seed 3 after 16 updates of 'harm'"):
        response_to_learning(rows, learned, "trait", "baseline", "harm", DOSES)


@pytest.mark.parametrize("doses", [[], [0, 4], [16, 4]])
def test_doses_grow_from_above_zero(doses):
    with pytest.raises(ValueError, match="must grow from above zero"):
        dose_response(rows_of(np.random.default_rng(8), fading), "trait", "baseline", "harm", doses)
