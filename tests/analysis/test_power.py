"""The smallest effect that seeds and pairs can show, against simulation."""

import numpy as np
import pytest
from scipy import stats

from steadfast.analysis.power import Spread, detectable, spread_of


def simulated(rng, spread, *, seeds, pairs, effect=0.0):
    """Differences [seeds, pairs] with a seed's own part, a pair's own part that all seeds share, and noise."""
    shared = rng.normal(0, 0.3, pairs)
    return (
        effect
        + rng.normal(0, spread.seed, (seeds, 1))
        + shared
        - shared.mean()
        + rng.normal(0, spread.pair, (seeds, pairs))
    )


@pytest.mark.parametrize(("seeds", "pairs"), [(3, 20), (5, 100)])
def test_the_detectable_effect_is_found_four_times_in_five(seeds, pairs):
    rng, spread = np.random.default_rng(0), Spread(seed=0.08, pair=0.4)
    effect = detectable(spread, seeds=seeds, pairs=pairs)
    found = [
        stats.ttest_1samp(simulated(rng, spread, seeds=seeds, pairs=pairs, effect=effect).mean(axis=1), 0).pvalue < 0.05
        for _ in range(3_000)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.025)


def test_the_spread_is_found_again_and_a_pairs_own_difficulty_is_no_part_of_it():
    rng, spread = np.random.default_rng(1), Spread(seed=0.1, pair=0.5)
    found = [spread_of(simulated(rng, spread, seeds=6, pairs=40)) for _ in range(300)]
    assert np.mean([f.seed**2 for f in found]) == pytest.approx(0.1**2, rel=0.15)
    assert np.mean([f.pair**2 for f in found]) == pytest.approx(0.5**2, rel=0.05)


def test_more_pairs_help_until_the_runs_themselves_differ_too_much():
    spread = Spread(seed=0.1, pair=0.5)
    few, many, endless = (detectable(spread, seeds=3, pairs=n) for n in (10, 1_000, 10**9))
    assert few > many > endless > 0.2
    assert detectable(spread, seeds=10, pairs=10) < endless


@pytest.mark.parametrize("shape", [(1, 5), (5, 1)])
def test_one_seed_or_one_pair_has_no_spread(shape):
    with pytest.raises(ValueError, match="two seeds and two pairs"):
        spread_of(np.zeros(shape))
