"""The transfer ladder and its verdict, on tables with planted effects."""

from dataclasses import replace
from math import isnan
from types import SimpleNamespace

import polars as pl
import pytest
from scipy import stats

from steadfast.report.ladder import ladders
from steadfast.report.ladder_figure import mark_of
from steadfast.report.ladder_words import ladder_context, primary_picture, primary_sentence
from steadfast.study import Recipe
from steadfast.study.rungs import RUNGS, TrainedTwins, rung_of

TRAINED = TrainedTwins(
    families=("updated-record",), groups=("records",), domains=("health", "law"), formats=("chat",), wordings=(0,)
)
CELLS = {
    "new values": ("updated-record", "records", "health", "chat", 0),
    "new wording": ("updated-record", "records", "health", "chat", 3),
    "new domain": ("updated-record", "records", "law", "chat", 3),
    "new format": ("updated-record", "records", "law", "form", 0),
    "near family": ("pushback", "records", "law", "form", 0),
    "far family": ("may-share", "permissions", "health", "chat", 0),
}
ARMS = ("baseline", "health-only", "shuffled")


def recipe(seeds=(0, 1, 2), arms=ARMS, primary=None):
    return Recipe.model_validate(
        {
            "name": "ladder",
            "seeds": list(seeds),
            "arms": list(arms),
            "primary": primary or {"rung": "new domain", "arm": "health-only"},
            "data": {"train_on": ["twins"], "twins": {"families": ["updated-record"]}},
            "training": {"advantage": "centered"},
            "evaluation": {"twins": {"pairs": 1}},
        }
    )


def run(sides, **changes):
    """A run in which each (arm, seed) has these shares of right first and second twins, on every rung.

    Of ten pairs the first `one` have a right first twin, and the first `other` a right second one.
    """
    made = recipe(**changes)
    rows = [
        {"checkpoint": arm, "seed": seed, "condition": "plain", "kind": "twins", "grader": "program",
         "task": f"{rung}-{i}{side}",
         "pair": f"{rung}-{i}{'ab'['ba'.index(side)]}", "score": float(i < count),
         **dict(zip(("suite", "group", "domain", "format", "wording"), cell, strict=True))}
        for (arm, seed), counts in sides.items()
        for rung, cell in CELLS.items()
        for side, count in zip("ab", counts, strict=True)
        for i in range(10)
    ]  # fmt: skip
    return SimpleNamespace(
        recipe=made,
        results=pl.DataFrame(rows, infer_schema_length=None),
        treatments=made.treatments,
        checkpoints=("pre-RL", *made.arm_names),
        trained_twins=TRAINED,
    )


def planted(arm=((8, 6), (9, 7), (8, 8)), shuffled=((3, 0),) * 3, baseline=((2, 1), (2, 2), (1, 1)), **changes):
    sides = {("pre-RL", None): (4, 0)}
    for name, found in (("health-only", arm), ("baseline", baseline), ("shuffled", shuffled)):
        sides |= {(name, seed): counts for seed, counts in enumerate(found)}
    return run(sides, **changes)


@pytest.mark.parametrize("rung", RUNGS)
def test_a_twin_stands_on_the_rung_of_the_farthest_thing_that_is_new(rung):
    made = recipe()
    table = pl.DataFrame([CELLS[rung]], schema=["suite", "group", "domain", "format", "wording"], orient="row")
    assert table.select(rung_of(made.arm("health-only"), TRAINED)).item() == rung


def test_levels_and_intervals_are_those_of_the_seeds():
    (ladder,) = ladders(planted())
    assert ladder.rungs == RUNGS
    result = ladder.result("health-only", "new domain")
    assert (result.by_seed, result.pairs) == ((0.6, 0.7, 0.8), 10)
    assert (result.one, result.other) == pytest.approx((25 / 30, 0.7))
    contrast = ladder.contrast("baseline", "new domain")
    differences = [0.6 - 0.1, 0.7 - 0.2, 0.8 - 0.1]
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert contrast.difference.estimate == pytest.approx(sum(differences) / 3)
    assert (contrast.difference.low, contrast.difference.high) == pytest.approx((low, high))


def test_the_pre_rl_model_is_held_against_every_seed():
    (ladder,) = ladders(planted())
    assert ladder.contrast("pre-RL", "far family").difference.estimate == pytest.approx(0.7)


def sentence(made):
    return primary_sentence(made, ladders(made))


def test_the_claim_holds_above_baseline_and_shuffled():
    found = sentence(planted())
    assert found.startswith("The claim holds.")
    assert "against the baseline" in found
    assert "against the shuffled arm" in found


def test_a_gain_that_a_shuffled_reward_gives_too_is_no_claim():
    assert sentence(planted(shuffled=((8, 7), (9, 7), (8, 7)))).startswith("The claim is not shown.")


def test_a_gain_of_one_side_at_the_others_cost_is_not_claimed():
    made = planted(arm=((9, 4), (9, 4), (9, 5)), baseline=((1, 5), (1, 5), (1, 6)))
    (ladder,) = ladders(made)
    assert ladder.contrast("baseline", "new domain").one_sided
    assert sentence(made).startswith("Not claimed: one side rose and the other fell.")


def test_the_same_gain_with_every_seed_has_no_spread_and_is_not_claimed():
    made = planted(arm=((7, 7), (7, 7), (7, 7)), baseline=((2, 2), (2, 2), (2, 2)), shuffled=((1, 1), (2, 2), (1, 1)))
    assert sentence(made).startswith("Every training run gives the same difference, which tells nothing of others")
    assert "+50.0 points [no spread] against the baseline" in sentence(made)
    (ladder,) = ladders(made)
    assert ladder.contrast("baseline", "new domain").detectable is None
    (shown,) = ladder_context(made, [ladder])
    assert [c["way"] for row in shown["rows"] if row["rung"] == "new domain" for c in row["cells"]][1] == 0
    assert {f["words"] for f in shown["families"]} == {"no spread"}


def test_one_training_run_claims_nothing():
    found = sentence(planted(arm=((9, 9),), shuffled=((0, 0),), baseline=((0, 0),), seeds=(0,)))
    assert found.startswith("One training run, so nothing is claimed.")
    assert "[one training run]" in found


def test_a_null_says_what_size_the_seeds_would_have_found():
    found = sentence(planted(arm=((2, 2), (1, 1), (3, 3)), shuffled=((2, 2), (2, 2), (1, 1))))
    assert found.startswith("The claim is not shown.")
    assert "points four times in five" in found


def test_without_a_shuffled_control_the_sentence_says_so():
    made = planted(arms=("baseline", "health-only"), shuffled=())
    assert sentence(made).startswith("Above the baseline; no shuffled control was trained.")


def test_the_tables_first_column_is_the_arm_and_the_baseline_comes_next():
    made = planted()
    (shown,) = ladder_context(made, ladders(made))
    assert shown["arms"] == ["health-only", "baseline", "shuffled", "pre-RL"]
    assert [row["rung"] for row in shown["rows"]] == list(RUNGS)
    assert shown["rows"][0]["cells"][0]["level"] == pytest.approx(0.7)


def test_the_primary_measure_is_tested_family_by_family_and_corrected_over_families_alone():
    made = planted()
    (ladder,) = ladders(made)
    (one,) = ladder.families
    differences = [0.6 - 0.1, 0.7 - 0.2, 0.8 - 0.1]
    assert (one.family, one.pairs) == ("updated-record", 10)
    assert one.p == one.q == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert one.found
    (shown,) = ladder_context(made, [ladder])
    assert shown["families"][0]["words"] == "stands"
    assert len(shown["mixed"]) == 2


def test_the_sentence_names_the_families_in_which_the_primary_measure_stands():
    made = planted()
    (ladder,) = ladders(made)
    (one,) = ladder.families
    other = replace(one, family="missing-figure", q=0.4)
    found = primary_sentence(made, [replace(ladder, families=(one, other))])
    assert found.endswith("Against the baseline it stands in 1 of 2 families: updated-record (+56.7).")
    assert "it stands in" not in primary_sentence(made, [ladder])


def test_the_first_picture_is_of_the_primary_measure_and_marks_tell_all_checkpoints_apart():
    made = planted()
    picture = primary_picture(made, ladders(made))
    assert picture is not None
    assert "health-only 70, baseline 13, shuffled 0, pre-RL 0" in picture.narrow
    made.recipe = made.recipe.model_copy(update={"primary": None})
    assert primary_picture(made, ladders(made)) is None
    assert len({mark_of(place) for place in range(25)}) == 25


def test_every_other_rung_is_told_family_by_family_without_a_p_value():
    made = planted()
    (ladder,) = ladders(made)
    assert set(ladder.elsewhere) == set(RUNGS) - {"new domain"}
    (near,) = ladder.elsewhere["near family"]
    assert (near.family, near.pairs, near.seeds) == ("pushback", 10, 3)
    assert (near.level, near.control) == pytest.approx((0.7, 4 / 30))
    contrast = ladder.contrast("baseline", "near family").difference
    assert (near.difference.estimate, near.difference.low) == pytest.approx((contrast.estimate, contrast.low))
    (shown,) = ladder_context(made, [ladder])
    assert [(row["rung"], row["of"].family) for row in shown["elsewhere"]][-1] == ("far family", "may-share")
    assert isnan(near.p)
    assert isnan(near.q)


def test_a_gain_in_the_trained_wordings_alone_is_told_as_such(monkeypatch):
    monkeypatch.setitem(CELLS, "new domain", ("updated-record", "records", "law", "chat", 0))
    monkeypatch.setitem(CELLS, "new domain, too", ("updated-record", "records", "law", "chat", 3))
    made = planted()
    zero = (pl.col("wording") == 3) & (pl.col("checkpoint") == "health-only")
    made.results = made.results.with_columns(pl.when(zero).then(0.0).otherwise(pl.col("score")).alias("score"))
    (ladder,) = ladders(made)
    assert [(w.wording, w.trained, w.pairs) for w in ladder.wordings] == [(0, True, 30), (3, False, 30)]
    assert [w.level for w in ladder.wordings] == pytest.approx([0.7, 0.0])
    sentence = primary_sentence(made, [ladder]).replace("\N{MINUS SIGN}", "-")
    assert sentence.endswith("In wordings trained on it is +56.7, in a wording never trained on -13.3.")
    (shown,) = ladder_context(made, [ladder])
    assert [number for number, _ in shown["wordings"][0]["cells"]] == [0, 3]


def test_the_mixed_model_agrees_on_the_mean_and_one_seed_has_neither():
    (ladder,) = ladders(planted())
    mixed = ladder.mixed["baseline"]
    assert mixed.difference is None or mixed.difference.estimate == pytest.approx(
        ladder.contrast("baseline", "new domain").difference.estimate, abs=1e-6
    )
    (alone,) = ladders(planted(arm=((9, 9),), shuffled=((0, 0),), baseline=((0, 0),), seeds=(0,)))
    assert alone.mixed["baseline"].difference is None
    assert "two training seeds" in alone.mixed["baseline"].reason
    (shown,) = ladder_context(planted(seeds=(0, 1, 2)), [alone])
    assert shown["families"][0]["words"] == "one training run"


def test_a_pair_with_an_ungraded_twin_counts_nowhere():
    made = planted()
    dropped = pl.when(pl.col("task").str.ends_with("-9a")).then(None).otherwise("score").alias("score")
    made.results = made.results.with_columns(dropped)
    (ladder,) = ladders(made)
    assert ladder.result("health-only", "new domain").pairs == 9


def test_a_gain_by_balance_alone_is_told_from_reading():
    one_sided = {("baseline", s): (0, 10) for s in range(3)} | {("shuffled", s): (0, 10) for s in range(3)}
    balanced = run(one_sided | {("health-only", s): (5, 5) for s in range(3)})
    (ladder,) = ladders(balanced)
    assert ladder.contrast("baseline", "new domain").difference.estimate == pytest.approx(0.5)
    assert ladder.result("health-only", "new domain").reading.estimate == pytest.approx(0.0)
    sentence = primary_sentence(balanced, [ladder])
    assert "which may earn 25 of pair success: 0.0 [no spread] for the health-only arm, 0.0 [no spread]" in sentence

    read = run(one_sided | {("health-only", s): (7, 8 + s) for s in range(2)}, seeds=(0, 1))
    (ladder,) = ladders(read)
    reading = ladder.result("health-only", "new domain").reading
    assert reading.estimate == pytest.approx(0.55)
    margin = stats.t.ppf(0.975, 1) * 0.05
    assert (reading.low, reading.high) == pytest.approx((0.55 - margin, 0.55 + margin))

    (ladder,) = ladders(run({("baseline", 0): (1, 2), ("health-only", 0): (7, 8), ("shuffled", 0): (0, 0)}, seeds=(0,)))
    assert ladder.result("health-only", "new domain").reading.estimate == pytest.approx(0.5)
