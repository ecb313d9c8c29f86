"""Directions: what is planted is found, what knows nothing is not, and intervals count pairs."""

import numpy as np
import pytest
from scipy import stats

from steadfast.probing.directions import (
    PairSet,
    areas_of,
    cosine,
    cosines,
    half_of,
    left_out_auc,
    length_direction,
    null_of,
    random_directions,
    separation,
    shuffled_directions,
    tried_on,
    turned,
    without,
)

WIDTH = 48


def planted(size, *, pairs=80, seed=0, length=0.0, spread=1.0):
    """Pairs whose good replies lie `size` farther along one direction, and longer ones along another."""
    rng = np.random.default_rng(seed)
    trait, long = np.linalg.qr(rng.standard_normal((WIDTH, 2)))[0].T
    topic = rng.standard_normal((pairs, WIDTH))
    good_tokens, bad_tokens = (rng.integers(20, 200, pairs).astype(float) for _ in range(2))

    def states(sign, tokens):
        noise = spread * rng.standard_normal((pairs, WIDTH))
        along = topic + noise + sign * size / 2 * trait + length * np.log(tokens)[:, None] * long
        return along[:, None].astype(np.float32)

    found = PairSet(
        "planted",
        tuple(f"task-{i}" for i in range(pairs)),
        states(1, good_tokens),
        states(-1, bad_tokens),
        good_tokens,
        bad_tokens,
    )
    return found, trait, long


def test_a_planted_direction_is_recovered_and_random_ones_are_not():
    pairs, trait, _ = planted(6.0)
    make, tried = pairs.half("make"), pairs.half("try")
    own = make.direction(0)
    found = tried_on(own, tried, 0)
    assert cosine(own, trait) > 0.9
    assert found.auc > 0.95
    assert found.low > 0.8
    random = null_of(random_directions(200, WIDTH, np.random.default_rng(0)), make, tried, 0, found.auc)
    assert random.p < 0.01
    assert 0.5 < random.mean < 0.85, "turned by the other half, random directions catch a part of what is planted"


def test_without_a_difference_nothing_is_found_and_p_values_are_even():
    p, auc = [], []
    for seed in range(40):
        pairs, _, _ = planted(0.0, seed=seed, pairs=40)
        make, tried = pairs.half("make"), pairs.half("try")
        found = tried_on(make.direction(0), tried, 0)
        shuffled = shuffled_directions(make, 0, 99, np.random.default_rng(seed))
        p.append(null_of(shuffled, make, tried, 0, found.auc).p)
        auc.append(found.auc)
    assert abs(np.mean(auc) - 0.5) < 0.06
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_directions_of_shuffled_labels_carry_nothing_of_a_difference_that_is_large():
    pairs, trait, _ = planted(40.0, pairs=80)
    for kept in (80, 79):
        made = shuffled_directions(pairs.at(range(kept)), 0, 200, np.random.default_rng(0))
        assert np.abs(made @ trait).mean() < 0.25
    assert np.linalg.norm(made, axis=1) == pytest.approx(np.ones(200))


def test_what_is_length_alone_is_named_by_the_length_direction_and_gone_without_it():
    pairs, _, long = planted(0.0, length=4.0, spread=0.3, pairs=200)
    longer = PairSet(
        "long",
        pairs.units,
        np.where((pairs.good_tokens_N > pairs.bad_tokens_N)[:, None, None], pairs.good_NLD, pairs.bad_NLD),
        np.where((pairs.good_tokens_N > pairs.bad_tokens_N)[:, None, None], pairs.bad_NLD, pairs.good_NLD),
        np.maximum(pairs.good_tokens_N, pairs.bad_tokens_N),
        np.minimum(pairs.good_tokens_N, pairs.bad_tokens_N),
    )
    make, tried = longer.half("make"), longer.half("try")
    own, length = make.direction(0), length_direction(make, 0)
    assert abs(cosine(length, long)) > 0.95
    assert tried_on(own, tried, 0).auc > 0.7
    assert tried_on(turned(length, make, 0), tried, 0).auc > 0.7
    assert tried_on(without(own, [length]), tried, 0).auc < 0.65


def test_equal_lengths_have_no_length_direction():
    pairs, _, _ = planted(1.0)
    same = np.full(len(pairs.units), 30.0)
    level = PairSet("level", pairs.units, pairs.good_NLD, pairs.bad_NLD, same, same)
    assert not length_direction(level, 0).any()
    assert (without(np.ones(WIDTH), [np.zeros(WIDTH)]) == 1).all()


def test_the_area_is_the_mann_whitney_statistic_with_ties_as_halves():
    rng = np.random.default_rng(1)
    good, bad = (rng.integers(0, 5, 30).astype(float) for _ in range(2))
    expected = stats.mannwhitneyu(good, bad).statistic / 900
    assert separation(good, bad, [str(i) for i in range(30)]).auc == pytest.approx(expected)
    assert areas_of(good[:, None], bad[:, None])[0] == pytest.approx(expected)


def test_the_interval_counts_clusters_and_not_copies():
    rng = np.random.default_rng(2)
    good, bad = rng.normal(0.8, 1, 20), rng.normal(0, 1, 20)
    alone = separation(good, bad, [f"{i}" for i in range(20)])
    copied = separation(np.repeat(good, 5), np.repeat(bad, 5), [f"{i // 5}" for i in range(100)])
    assert copied.auc == pytest.approx(alone.auc)
    assert copied.low == pytest.approx(alone.low, abs=0.02)
    assert copied.high == pytest.approx(alone.high, abs=0.02)


def test_the_interval_holds_the_true_area_about_as_often_as_it_says():
    rng, held = np.random.default_rng(3), 0
    truth = stats.norm.cdf(1 / 2)  # good and bad of different pairs differ by 1, with a variance of 4
    for seed in range(120):
        topic = rng.normal(0, 1, 25)
        good, bad = topic + rng.normal(1, 1, 25), topic + rng.normal(0, 1, 25)
        found = separation(good, bad, [str(i) for i in range(25)], seed=seed)
        held += found.low <= truth <= found.high
    assert 0.88 <= held / 120 <= 1.0


def test_perfect_separation_of_few_pairs_is_no_certainty():
    found = separation(np.array([3.0, 4.0, 5.0]), np.array([0.0, 1.0, 2.0]), ["a", "b", "c"])
    assert (found.auc, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(stats.binomtest(3, 3).proportion_ci().low)
    one = separation(np.array([1.0]), np.array([0.0]), ["a"])
    assert np.isnan(one.low)


def test_halves_are_by_pair_and_about_even():
    units = [f"task-{i}" for i in range(400)]
    assert 160 < sum(half_of(u) == "try" for u in units) < 240
    pairs, _, _ = planted(1.0)
    assert not set(pairs.half("make").units) & set(pairs.half("try").units)


def test_the_layer_is_judged_without_the_pair_that_is_judged():
    nothing = [left_out_auc(planted(0.0, seed=s, pairs=16)[0], 0) for s in range(30)]
    assert np.mean(nothing) < 0.55, "a direction tried on its own pairs would tell them apart"
    assert left_out_auc(planted(8.0)[0], 0) > 0.95
    assert np.isnan(left_out_auc(planted(1.0, pairs=1)[0], 0))


def test_cosines_of_directions_that_are_zero_are_unknown():
    found = cosines(np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]))
    assert found[0, 1] == 0
    assert found[1, 1] == pytest.approx(1)
    assert np.isnan(found[2]).all()
    assert np.isnan(cosine(np.zeros(2), np.ones(2)))
