"""Arms from the same start: the choice, what it is measured on, and the analysis of covariance beside it."""

import numpy as np
import polars as pl
import pytest
import statsmodels.formula.api as smf

from steadfast.analysis.factorial import Cell
from steadfast.analysis.matched_start import analysis_of_covariance, at_matched_start, choose_start, half_of
from tests.analysis.attacked import table

HALVES = ["choose", "choose", "choose", "measure", "choose", "choose"]
STEPS = ("trait@20", "trait@40", "trait@60", "trait")


def attacked(name):
    return Cell(name, attack="harm", dose=16)


def study(rng, *, kept=0.0, seeds=4, items=60, noise=0.05):
    """A baseline at 0.5, an arm that rises from 0.4 to 0.7; the attack leaves half, and what the arm keeps beside."""
    item = rng.normal(0, 0.1, (1, items))
    cells = {}
    for name, level in (*zip(STEPS, (0.4, 0.51, 0.6, 0.7), strict=True), ("baseline", 0.5)):
        before = level + item + rng.normal(0, 0.01, (seeds, 1)) + rng.normal(0, noise, (seeds, items))
        spread = rng.normal(0, 0.02, (seeds, 1)) + rng.normal(0, noise, (seeds, items))
        cells[Cell(name)] = before
        cells[attacked(name)] = 0.5 * (level + item) + kept * (name != "baseline") + spread
    return table(cells)


def test_the_nearest_checkpoint_is_chosen_on_the_choosing_half_alone():
    rows = study(np.random.default_rng(0))
    start = choose_start(rows, STEPS, "baseline")
    assert start.checkpoint == "trait@40"
    assert set(start.levels) == set(STEPS)
    assert start.gap == pytest.approx(0.01, abs=0.02)
    measured = pl.col("task").map_elements(lambda t: half_of(t) == "measure", return_dtype=pl.Boolean)
    other = rows.with_columns(pl.when(measured).then(0.0).otherwise(pl.col("score")).alias("score"))
    assert choose_start(other, STEPS, "baseline") == start
    assert choose_start(rows.filter(pl.col("attack").is_null()), STEPS, "baseline") == start


def test_what_is_measured_does_not_come_from_the_items_that_chose():
    rows = study(np.random.default_rng(1), kept=0.1)
    start = choose_start(rows, STEPS, "baseline")
    found = at_matched_start(rows, start, "baseline", "harm", 16)
    chose = pl.col("task").map_elements(lambda t: half_of(t) == "choose", return_dtype=pl.Boolean)
    other = rows.with_columns(pl.when(chose).then(0.0).otherwise(pl.col("score")).alias("score"))
    assert at_matched_start(other, start, "baseline", "harm", 16) == found
    assert found.difference.items + choose_items(rows) == 60


def choose_items(rows):
    return sum(half_of(t) == "choose" for t in rows["task"].unique())


def test_halves_are_of_like_size_and_twins_are_in_the_same_one():
    halves = [half_of(f"family/{k}") for k in range(2_000)]
    assert halves.count("choose") / 2_000 == pytest.approx(0.5, abs=0.04)
    # The same halves for everybody, whatever the version of Python.
    assert [half_of(name) for name in ("a", "b", "c", "d", "e", "f")] == HALVES
    cells = {Cell(name): np.ones((2, 200)) for name in ("trait", "baseline")} | {
        attacked(name): np.ones((2, 200)) * 0.5 for name in ("trait", "baseline")
    }
    rows = table(cells, twins=True)
    found = at_matched_start(rows, choose_start(rows, ["trait"], "baseline"), "baseline", "harm", 16, twins="product")
    assert found.difference.dropped == 0
    assert 30 < found.difference.items < 70


def test_luck_that_made_a_checkpoint_the_nearest_does_not_count_on_the_other_half():
    rng = np.random.default_rng(2)
    candidates = [f"trait@{k}" for k in range(8)]
    chosen, measured = [], []
    for _ in range(40):
        # All candidates stand five points above the baseline; some seem nearer on the items that choose.
        cells = {Cell(name): 0.55 + rng.normal(0, 0.3, (2, 40)) for name in candidates}
        cells[Cell("baseline")] = 0.5 + rng.normal(0, 0.3, (2, 40))
        cells |= {attacked(name): rng.normal(0.3, 0.1, (2, 40)) for name in (*candidates, "baseline")}
        rows = table(cells)
        start = choose_start(rows, candidates, "baseline")
        chosen.append(start.gap)
        found = at_matched_start(rows, start, "baseline", "harm", 16)
        measured.append(found.before.over_seeds.estimate)
    assert abs(np.mean(chosen)) < 0.025
    assert np.mean(measured) == pytest.approx(0.05, abs=0.025)


def test_a_stronger_start_looks_like_a_larger_drop_and_at_a_matched_one_it_does_not():
    rng = np.random.default_rng(3)
    held = []
    for _ in range(50):
        rows = study(rng)
        found = at_matched_start(rows, choose_start(rows, STEPS, "baseline"), "baseline", "harm", 16)
        held.append(found.difference.over_seeds.low <= -0.005 <= found.difference.over_seeds.high)
    assert np.mean(held) >= 0.88
    raw = at_matched_start(rows, choose_start(rows, ["trait"], "baseline"), "baseline", "harm", 16)
    assert raw.difference.over_seeds.high < 0
    assert raw.match.verdict == "different"
    assert raw.sentence.startswith("'trait' does not start at the same level on items that did not choose it:")


def test_what_the_arm_keeps_is_found_from_the_same_start():
    rows = study(np.random.default_rng(4), kept=0.1, seeds=6, noise=0.02)
    found = at_matched_start(rows, choose_start(rows, STEPS, "baseline"), "baseline", "harm", 16)
    assert found.match.verdict == "equivalent"
    assert found.difference.over_seeds.low > 0.05
    assert found.sentence.startswith("'trait@40' starts at the same level on items that did not choose it:")


def test_one_seed_leaves_the_match_unknown():
    rows = study(np.random.default_rng(5), seeds=1)
    found = at_matched_start(rows, choose_start(rows, STEPS, "baseline"), "baseline", "harm", 16)
    assert found.match.verdict is None
    assert "with a gap of unknown spread" in found.sentence
    assert "one training seed tells nothing" in found.sentence


def test_a_start_needs_candidates_that_were_measured():
    rows = study(np.random.default_rng(6))
    with pytest.raises(ValueError, match="one checkpoint at least"):
        choose_start(rows, [], "baseline")
    with pytest.raises(ValueError, match="no rows of 'trait@99'"):
        choose_start(rows, ["trait@99"], "baseline")


def test_a_half_into_which_no_item_falls_is_told():
    rows = study(np.random.default_rng(6))
    start = choose_start(rows, STEPS, "baseline")
    chooses = pl.col("task").map_elements(lambda t: half_of(t) == "choose", return_dtype=pl.Boolean)
    with pytest.raises(ValueError, match="none falls into the half that is to choose, so more are needed"):
        choose_start(rows.filter(~chooses), STEPS, "baseline")
    with pytest.raises(ValueError, match="none falls into the half that is to measure, so more are needed"):
        at_matched_start(rows.filter(chooses), start, "baseline", "harm", 16)


def several_suites(rng, *, effect=0.0, start=0.1, seeds=5, suites=4, items=100):
    """Arms that start apart on suites of unlike level; the attack leaves half of the level."""
    frames = []
    of_arm = {arm: rng.normal(0, 0.05, (seeds, 1)) for arm in ("trait", "baseline")}
    for k in range(suites):
        cells = {}
        for arm, more in (("trait", 1), ("baseline", 0)):
            level = 0.3 + 0.08 * k + start * more + of_arm[arm] + rng.normal(0, 0.02, (seeds, 1))
            cells[Cell(arm)] = level + rng.normal(0, 0.05, (seeds, items))
            after = 0.1 + 0.5 * level + effect * more + rng.normal(0, 0.03, (seeds, 1))
            cells[attacked(arm)] = after + rng.normal(0, 0.05, (seeds, items))
        frames.append(table(cells, suite=f"suite-{k}"))
    return pl.concat(frames)


def test_the_analysis_of_covariance_is_the_regression_of_statsmodels():
    rows = several_suites(np.random.default_rng(7), effect=0.08)
    found = analysis_of_covariance(rows, "trait", "baseline", "harm", 16)
    key = ["checkpoint", "seed", "suite"]
    sides = [
        rows.filter(pl.col("attack").is_null() == before).group_by(key).agg(pl.col("score").mean())
        for before in (True, False)
    ]
    levels = sides[0].join(sides[1], on=key, suffix="_after").to_pandas(use_pyarrow_extension_array=False)
    fit = smf.ols("score_after ~ score + C(checkpoint)", levels).fit(
        cov_type="cluster", cov_kwds={"groups": levels["seed"]}, use_t=True
    )
    arm = "C(checkpoint)[T.trait]"
    assert found.difference.estimate == pytest.approx(fit.params[arm])
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(fit.conf_int().loc[arm]))
    assert found.slope == pytest.approx(fit.params["score"])
    assert found.overlap
    assert "this is an extrapolation" not in found.sentence


def test_its_intervals_hold_the_adjusted_difference_as_often_as_is_claimed():
    rng = np.random.default_rng(8)
    effect = 0.08  # any other shifts every estimate alike
    found = [
        analysis_of_covariance(several_suites(rng, effect=effect, items=30), "trait", "baseline", "harm", 16).difference
        for _ in range(120)
    ]
    assert 0.88 <= np.mean([f.low <= effect <= f.high for f in found]) <= 0.99
    assert np.mean([f.estimate for f in found]) == pytest.approx(effect, abs=0.01)


def test_arms_whose_levels_do_not_overlap_are_compared_by_extrapolation_and_it_is_said():
    rows = several_suites(np.random.default_rng(9), start=0.6)
    found = analysis_of_covariance(rows, "trait", "baseline", "harm", 16)
    assert not found.overlap
    assert found.sentence.endswith("the arms' levels before do not overlap, so this is an extrapolation.")


def test_without_three_seeds_or_a_spread_of_levels_there_is_a_reason_and_no_difference():
    few = analysis_of_covariance(several_suites(np.random.default_rng(10), seeds=2), "trait", "baseline", "harm", 16)
    assert few.difference is None
    assert few.sentence == "No analysis of covariance: it needs 3 training seeds, not 2."
    flat = {Cell(arm): np.full((4, 5), level) for arm, level in (("trait", 0.6), ("baseline", 0.5))}
    flat |= {attacked(arm): np.random.default_rng(11).normal(0.3, 0.1, (4, 5)) for arm in ("trait", "baseline")}
    found = analysis_of_covariance(table(flat), "trait", "baseline", "harm", 16)
    assert "do not vary within the arms" in found.sentence


def test_before_after_and_difference_are_over_the_same_items_and_add_up():
    rows = study(np.random.default_rng(12))
    measured = sorted(t for t in rows["task"].unique() if half_of(t) == "measure")
    ungraded = (pl.col("task") == measured[0]) & (pl.col("attack") == "harm") & (pl.col("checkpoint") == "baseline")
    rows = rows.with_columns(pl.when(ungraded).then(None).otherwise(pl.col("score")).alias("score"))
    found = at_matched_start(rows, choose_start(rows, STEPS, "baseline"), "baseline", "harm", 16)
    assert found.before.items == found.after.items == len(measured) - 1
    assert found.difference.values == pytest.approx(np.subtract(found.after.values, found.before.values))
