"""Contrasts of arms, attacks and personas: by hand, against statsmodels, and by the rate at which they find things."""

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from scipy import stats

from steadfast.analysis.a_over_a import false_findings
from steadfast.analysis.differences import (
    contrast,
    difference_in_differences,
    drop,
    drops_by_seed,
    persona_contrast,
    primary_contrasts,
)
from steadfast.analysis.factorial import Cell
from tests.analysis.attacked import table

ARMS = ("trait", "baseline")


def ladder(scores):
    """Rows of {(arm, attack, dose): scores [seeds, tasks]}; no attack is None, 0."""
    return table({Cell(arm, attack=attack, dose=dose): s for (arm, attack, dose), s in scores.items()})


def simulated(rng, *, kept=0.0, harm=0.0, forgetting=0.0, seeds=4, tasks=20, doses=(16,)):
    """Arms before and after a harmful and a careful attack.

    Every attack takes `forgetting` from the trait arm alone, as fine-tuning of any kind may, and the harmful one `harm`
    from both arms, of which the trait arm keeps `kept`. Scores scatter by item, arm and seed, and attack and seed.
    """
    item = rng.normal(0, 0.2, (1, tasks))
    found = {}
    for arm in ARMS:
        level = 0.5 + item + rng.normal(0, 0.05, (seeds, 1))
        found[arm, None, 0] = level + rng.normal(0, 0.1, (seeds, tasks))
        for attack in ("harmful", "careful"):
            for dose in doses:
                lost = forgetting * (arm == "trait") + (harm - kept * (arm == "trait")) * (attack == "harmful")
                spread = rng.normal(0, 0.05, (seeds, 1)) + rng.normal(0, 0.1, (seeds, tasks))
                found[arm, attack, dose] = level - lost + spread
    return ladder(found)


def inside(found, truth):
    return found.over_seeds.low <= truth <= found.over_seeds.high


def test_the_difference_in_differences_by_hand():
    rows = ladder(
        {
            ("trait", None, 0): [[0.8, 0.6], [0.9, 0.7]],
            ("trait", "harm", 4): [[0.7, 0.5], [0.6, 0.6]],
            ("baseline", None, 0): [[0.5, 0.5], [0.4, 0.6]],
            ("baseline", "harm", 4): [[0.2, 0.2], [0.2, 0.2]],
        }
    )
    found = difference_in_differences(rows, "trait", "baseline", "harm", 4)
    # The trait arm loses 0.1 and 0.2, the baseline 0.3 and 0.3.
    assert found.values == pytest.approx((0.2, 0.1))
    assert found.over_seeds.estimate == pytest.approx(0.15)
    low, high = stats.t.interval(0.95, 1, 0.15, 0.05)
    assert (found.over_seeds.low, found.over_seeds.high) == pytest.approx((low, high))
    assert found.p == pytest.approx(stats.ttest_1samp([0.2, 0.1], 0).pvalue)
    assert (found.items, found.seeds) == (2, (0, 1))
    assert found.sentence.startswith("+15.0 [")
    assert drop(rows, "trait", "harm", 4).values == pytest.approx((0.1, 0.2))


def test_its_interval_is_that_of_a_regression_with_errors_clustered_by_training_seed():
    rng = np.random.default_rng(1)
    rows = simulated(rng, kept=0.1, harm=0.3, seeds=5)
    found = difference_in_differences(rows, "trait", "baseline", "harmful", 16)
    kept = rows.filter(pl.col("attack").is_null() | (pl.col("attack") == "harmful"))
    arm, attacked = (kept["checkpoint"] == "trait").to_numpy(), kept["attack"].is_not_null().to_numpy()
    design = sm.add_constant(np.column_stack([arm, attacked, arm & attacked]).astype(float))
    fit = sm.OLS(kept["score"].to_numpy(), design).fit(
        cov_type="cluster", cov_kwds={"groups": kept["seed"].to_numpy(), "use_correction": False}, use_t=True
    )
    seeds = len(found.seeds)
    half = (found.over_seeds.high - found.over_seeds.low) / 2
    assert found.over_seeds.estimate == pytest.approx(fit.params[3])
    # The factor seeds / (seeds - 1) is the one that belongs to a mean of clusters.
    assert half == pytest.approx(stats.t.ppf(0.975, seeds - 1) * fit.bse[3] * np.sqrt(seeds / (seeds - 1)))


def test_what_any_fine_tuning_makes_an_arm_forget_is_no_attack():
    rows = simulated(np.random.default_rng(2), forgetting=0.3, harm=0.2, seeds=6)
    raw = difference_in_differences(rows, "trait", "baseline", "harmful", 16)
    primary = primary_contrasts(rows, "trait", "baseline", "harmful", "careful", [16])[16]
    assert raw.over_seeds.high < 0
    assert inside(primary, 0.0)


def test_the_primary_contrast_is_taken_at_each_dose():
    rng = np.random.default_rng(3)
    flat = {(arm, None, 0): np.full((3, 4), 0.5) for arm in ARMS}
    lost = {("trait", "harmful"): 0.1, ("baseline", "harmful"): 0.4, ("trait", "careful"): 0.05}
    for dose, scale in ((4, 0.5), (64, 1.0)):
        for arm in ARMS:
            for attack in ("harmful", "careful"):
                shift = rng.normal(0, 1e-3, (3, 1))
                flat[arm, attack, dose] = 0.5 - scale * lost.get((arm, attack), 0.0) + shift + np.zeros((3, 4))
    found = primary_contrasts(ladder(flat), "trait", "baseline", "harmful", "careful", [4, 64])
    # (0.4 - 0.1) of harm, plus the 0.05 that the careful attack took from the trait arm alone.
    assert {d: round(c.over_seeds.estimate, 2) for d, c in found.items()} == {4: 0.18, 64: 0.35}


def test_planted_contrasts_are_held_by_their_intervals_and_null_ones_are_found_at_the_nominal_rate():
    rng = np.random.default_rng(4)
    studies = 150
    held = found_in_null = 0
    for _ in range(studies):
        planted = simulated(rng, kept=0.15, harm=0.3)
        held += inside(difference_in_differences(planted, "trait", "baseline", "harmful", 16), 0.15)
        null = simulated(rng, harm=0.3, forgetting=0.2)
        found_in_null += primary_contrasts(null, "trait", "baseline", "harmful", "careful", [16])[16].p <= 0.05
    assert 0.90 <= held / studies <= 0.99
    assert 0.01 <= found_in_null / studies <= 0.10


def test_an_interval_over_items_finds_between_baselines_what_is_another_seeds_alone():
    rng = np.random.default_rng(5)
    studies, over_seeds, over_items = 60, 0, 0
    for _ in range(studies):
        found = difference_in_differences(
            simulated(rng, harm=0.3, seeds=2, tasks=60), "trait", "baseline", "harmful", 16
        )
        over_seeds += found.over_seeds.low > 0 or found.over_seeds.high < 0
        over_items += found.over_items.low > 0 or found.over_items.high < 0
    assert over_seeds <= 7
    assert over_items >= 15


def test_drops_of_baselines_differ_by_chance_at_the_nominal_rate():
    rng = np.random.default_rng(6)
    rates = []
    for _ in range(6):
        before = 0.5 + rng.normal(0, 0.1, (6, 20))
        after = before - 0.2 + rng.normal(0, 0.1, (6, 1)) + rng.normal(0, 0.1, (6, 20))
        after[0, 3] = float("nan")
        rows = ladder({("baseline", None, 0): before, ("baseline", "harm", 16): after})
        drops = drops_by_seed(rows, "baseline", "harm", 16)
        assert {s: d["s"].size for s, d in drops.items()} == dict.fromkeys(range(6), 19)
        rates.append(false_findings(drops, splits=150))
    assert np.mean([r.over_seeds for r in rates]) == pytest.approx(0.05, abs=0.035)
    assert np.mean([r.by_suite for r in rates]) > 0.3


def test_a_persona_is_compared_with_the_plain_condition_over_all_its_wordings():
    cells = {
        Cell("trait"): [[0.8, 0.6], [0.8, 0.8]],
        Cell("trait", "careless/1"): [[0.7, 0.5], [0.7, 0.7]],
        Cell("trait", "careless/2"): [[0.5, 0.5], [0.7, 0.5]],
        Cell("baseline"): [[0.6, 0.4], [0.5, 0.5]],
        Cell("baseline", "careless/1"): [[0.2, 0.0], [0.2, 0.2]],
        Cell("baseline", "careless/2"): [[0.0, 0.2], [0.0, 0.0]],
    }
    found = persona_contrast(table(cells), "trait", "baseline", ["careless/1", "careless/2"])
    assert found.arm.values == pytest.approx((0.15, 0.15))
    assert found.baseline.values == pytest.approx((0.4, 0.4))
    assert found.difference.over_seeds.estimate == pytest.approx(0.25)
    with pytest.raises(ValueError, match="at least one condition"):
        persona_contrast(table(cells), "trait", "baseline", [])


def test_a_persona_contrast_is_paired_by_item():
    item = np.linspace(0, 1, 30)
    rng = np.random.default_rng(7)
    cells = {
        Cell(arm, condition): item - lost + rng.normal(0, 0.01, (3, 30))
        for arm, condition, lost in (
            ("trait", "plain", 0.0),
            ("trait", "careless", 0.1),
            ("baseline", "plain", 0.2),
            ("baseline", "careless", 0.4),
        )
    }
    found = persona_contrast(table(cells), "trait", "baseline", ["careless"]).difference
    assert found.over_items.low > 0.08
    assert found.over_items.high < 0.12
    assert inside(found, 0.1)


def test_twins_count_as_pair_success_where_that_is_asked_for():
    rows = table({Cell("trait"): [[1, 1, 1, 0]], Cell("baseline"): [[1, 0, 1, 0]]}, twins=True)
    weights = {Cell("trait"): 1.0, Cell("baseline"): -1.0}
    assert contrast(rows, weights).values == pytest.approx((0.25,))
    assert contrast(rows, weights, twins="product").values == pytest.approx((0.5,))


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ([[0.5, 0.5]], "one training seed tells nothing of their spread"),
        ([[0.5, 0.5], [0.3, 0.7]], "every training seed gives the same value"),
    ],
)
def test_without_a_spread_over_seeds_there_is_a_reason_and_no_interval(scores, reason):
    rows = ladder({("trait", None, 0): scores, ("trait", "harm", 4): np.asarray(scores) - 0.1})
    found = drop(rows, "trait", "harm", 4)
    assert reason in found.reason
    assert np.isnan([found.over_seeds.low, found.over_seeds.high, found.p]).all()
    assert found.sentence.startswith("+10.0 points, without an interval over training seeds:")


def test_of_the_model_before_training_the_effect_of_an_attack_is_over_attack_seeds():
    before, after = Cell("pre-RL"), Cell("pre-RL", attack="harm", dose=4)
    rows = pl.concat(
        [table({before: [[0.6, 0.4]]}, seeds=[None])]
        + [table({after: [[0.3 - k / 10, 0.3]]}, seeds=[None], attack_seed=k) for k in range(3)]
    )
    found = drop(rows, "pre-RL", "harm", 4)
    assert found.values == pytest.approx((0.2, 0.25, 0.3))
    assert found.over == "attack seed"
    assert found.sentence.endswith("points over 3 attack seeds.")
