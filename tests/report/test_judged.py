"""Judged scores stand above a floor, unfinished answers count as it, and bounds hold what they could have been."""

import html
import json
import re
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadfast.analysis.floors import split_unfinished
from steadfast.errors import SteadfastError
from steadfast.evals.rows import CONSTANT
from steadfast.report import summarize
from steadfast.report.judged import TRAITS, Judged, compare_judged, compare_judged_suites, standing
from steadfast.report.loading import load_run
from steadfast.report.page import render
from steadfast.report.summary import compare_checkpoints

from .synthetic import Row, make_run

FLOOR = 0.2
"""What the best constant answer earns in a synthetic run."""


def text(directory: Path) -> str:
    """The words of a run's page."""
    page = re.sub(r"<(svg|style|script).*?</\1>", "", render(load_run(directory)), flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def judged(row: Row) -> bool:
    return row["grader"] == "rubric"


def answers(scores: dict[str, list[float | None]], finished: dict[str, list[bool]] | None = None) -> pl.DataFrame:
    """Rows as `Run.answers` gives them: for each checkpoint a score for each of some tasks of two suites."""
    rows = [
        {"checkpoint": name, "suite": f"s{i % 2}", "task": f"t{i}", "pair": None, "construct": "c", "domain": "d",
         "grader": "rubric", "score": score, "finished": (finished or {}).get(name, [True] * len(values))[i]}
        for name, values in scores.items()
        for i, score in enumerate(values)
    ]  # fmt: skip
    schema = {"pair": pl.String, "score": pl.Float64, "finished": pl.Boolean}
    return pl.DataFrame(rows, schema_overrides=schema).with_columns(*split_unfinished())


def constants(**scores: list[float | None]) -> pl.DataFrame:
    return answers({f"constant: {name}": values for name, values in scores.items()})


def test_arms_that_say_always_the_same_show_a_rescaled_score_of_zero_and_the_page_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", edit=lambda row: row | {"score": FLOOR} if judged(row) else row)
    summary = summarize(run)
    assert {s["checkpoint"] for s in summary["judged"]} == {"pre-RL", "baseline", "health-only"}
    for one in summary["judged"]:
        assert one["rescaled"] == pytest.approx(0, abs=1e-12), one["measure"]
        assert (one["raw"], one["floor"]) == (pytest.approx(FLOOR), pytest.approx(FLOOR))
    traits = summary["comparisons"][0]["traits"]
    assert (traits["treatment"], traits["control"], traits["difference"]) == pytest.approx((0, 0, 0), abs=1e-12)
    words = text(run)
    assert "the health-only arm does not detectably exceed always answering “a firm no”: 0.0 [no spread]" in words
    assert "is no evidence of a trait" in words
    assert "In none of 11 judged evals the health-only arm detectably exceeds the best constant answer" in words


def test_an_arm_that_only_learns_to_stop_shows_no_gain(tmp_path: Path) -> None:
    """Every finished answer earns what a constant earns; the baseline's are cut off half of the time."""

    def edit(row: Row) -> Row:
        if row["kind"] != "trait" or not judged(row):
            return row
        cut_off = row["checkpoint"] != "health-only" and crc32(row["task"].encode()) % 2 == 0
        return row | {"finished": not cut_off, "score": 0.0 if cut_off else FLOOR}

    run = make_run(tmp_path / "run", edit=edit)
    traits = summarize(run)["comparisons"][0]["traits"]
    assert traits["raw"]["treatment"] - traits["raw"]["control"] > 0.05
    assert traits["difference"] == pytest.approx(0, abs=1e-12)
    assert traits["unfinished"] == [0.0, pytest.approx(1 - traits["raw"]["control"] / FLOOR)]
    assert traits["bounds"]["low"] < 0 < traits["bounds"]["high"]
    words = text(run)
    assert "the score does not differ detectably" in words
    assert "had they been finished, the trait score could have risen or fallen" in words
    assert "both finished" not in words


unit = st.floats(0, 1)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_bounds_contain_the_truth_whatever_was_cut_off(data: Any) -> None:
    count = data.draw(st.integers(2, 8))
    truth = {name: data.draw(st.lists(unit, min_size=count, max_size=count)) for name in ("arm", "base")}
    ended = {name: data.draw(st.lists(st.booleans(), min_size=count, max_size=count)) for name in truth}
    seen = {n: [s if e else 0.0 for s, e in zip(truth[n], ended[n], strict=True)] for n in truth}
    said = constants(yes=data.draw(st.lists(st.floats(0, 0.9), min_size=count, max_size=count)))
    found = compare_judged(answers(seen, ended), said, "arm", "base")
    assert found is not None
    true = {n: (np.mean(truth[n]) - found.floor) / (1 - found.floor) for n in truth}
    for name, (low, high) in (("arm", found.bounds.treatment), ("base", found.bounds.control)):
        assert low - 1e-9 <= true[name] <= high + 1e-9
    assert found.bounds.low - 1e-9 <= true["arm"] - true["base"] <= found.bounds.high + 1e-9
    assert found.bounds.low - 1e-9 <= found.difference <= found.bounds.high + 1e-9
    assert not found.bounds.interval_low > found.bounds.low + 1e-9
    assert not found.bounds.interval_high < found.bounds.high - 1e-9


def test_the_constant_is_chosen_once_for_a_measure_and_not_for_each_task() -> None:
    said = constants(yes=[0.8, 0.0, 0.4, 0.0], no=[0.0, 0.5, 0.2, 0.5])
    rows = answers({"arm": [0.5] * 4, "base": [0.25] * 4})
    pooled = compare_judged(rows, said, "arm", "base")
    assert pooled is not None
    assert (pooled.constant, pooled.floor) == ("constant: yes", pytest.approx(0.3))
    assert pooled.treatment == pytest.approx(0.2 / 0.7)
    assert pooled.difference == pytest.approx(0.25 / 0.7)
    by_suite = compare_judged_suites(rows, said, "arm", "base")
    assert by_suite is not None
    found = {e.suite: e for e in by_suite.evals if isinstance(e, Judged)}
    assert {n: (e.constant, round(e.floor, 9)) for n, e in found.items()} == {
        "s0": ("constant: yes", 0.6),
        "s1": ("constant: no", 0.5),
    }
    assert found["s0"].treatment == pytest.approx(-0.25)
    assert by_suite.difference.estimate == pytest.approx((0.25 / 0.4 + 0.25 / 0.5) / 2)


def test_an_unfinished_answer_counts_as_the_constant_to_its_own_task() -> None:
    said = constants(yes=[0.42, 0.38, 0.42, 0.38])
    rows = answers({"arm": [0.0] * 4, "base": [0.0] * 4}, {"arm": [False] * 4})
    cut_off = standing(rows, said, "arm", TRAITS, "judge")
    wrong = standing(rows, said, "base", TRAITS, "judge")
    assert cut_off is not None
    assert wrong is not None
    assert cut_off.rescaled == pytest.approx(0, abs=1e-12)
    assert (cut_off.above, cut_off.below) == (False, False)
    assert cut_off.bounds == pytest.approx((-0.4 / 0.6, 1.0))
    assert wrong.rescaled == pytest.approx(-0.4 / 0.6)
    assert wrong.below
    assert wrong.bounds == pytest.approx((wrong.rescaled, wrong.rescaled))


def test_a_judges_grade_of_an_unfinished_answer_does_not_count_either_way() -> None:
    """A judge of the user's own may grade what was cut off; the same rule holds for its grades."""
    said, ended = constants(yes=[0.3, 0.3]), {"arm": [False, False]}
    high = standing(answers({"arm": [0.9, 0.9]}, ended), said, "arm", TRAITS, "judge")
    low = standing(answers({"arm": [0.0, 0.0]}, ended), said, "arm", TRAITS, "judge")
    assert high is not None
    assert low is not None
    assert (high.raw, low.raw) == (pytest.approx(0.9), 0.0)
    assert high.rescaled == low.rescaled == pytest.approx(0, abs=1e-12)
    assert high.bounds == low.bounds


def test_a_constant_that_could_not_be_graded_everywhere_still_gives_a_floor() -> None:
    rows = answers({"arm": [0.5, 0.5, 0.0], "base": [0.4, 0.4, 0.4]}, {"arm": [True, True, False]})
    found = compare_judged(rows, constants(yes=[0.2, 0.4, None]), "arm", "base")
    assert found is not None
    assert found.floor == pytest.approx(0.3)
    assert found.treatment == pytest.approx((0.2 / 0.7 + 0.2 / 0.7 + 0) / 3)


def test_without_any_graded_constant_the_floor_is_unknown_and_nothing_is_above_it() -> None:
    rows = answers({"arm": [0.5, 0.6], "base": [0.4, 0.4]})
    found = compare_judged(rows, constants(yes=[None, None]), "arm", "base")
    alone = standing(rows, constants(yes=[None, None]), "arm", TRAITS, "judge")
    assert found is not None
    assert alone is not None
    assert (found.constant, found.floor, found.treatment) == (None, 0.0, pytest.approx(0.55))
    assert (alone.above, alone.below) == (False, False)


def test_a_suite_whose_best_constant_earns_everything_shows_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", constants={"yes": 1.0})
    summary = summarize(run)
    assert all(s["rescaled"] is None and s["floor"] == 1.0 for s in summary["judged"])
    assert summary["comparisons"][0]["traits"] is None
    assert "earns the highest score, so the health-only arm cannot exceed it" in text(run)


def test_scores_of_several_seeds_are_counted_before_their_mean_is_taken(tmp_path: Path) -> None:
    """One seed's answer was cut off and the other's earned 0.6, so their mean is of the constant and of 0.6."""
    directory = make_run(tmp_path / "run", recipe={"seeds": [0, 1]})
    rows = pl.read_parquet(directory / "results.parquet")
    mine = (pl.col("kind") == "trait") & (pl.col("grader") == "rubric") & (pl.col("checkpoint") == "health-only")
    trained = rows.filter(pl.col("seed").is_not_null())
    first = rows.with_columns(score=pl.when(mine).then(0.0).otherwise("score"), finished=pl.col("finished") & ~mine)
    second = trained.with_columns(
        seed=pl.lit(1, pl.Int64), score=pl.when(mine).then(0.6).otherwise("score"), nats=pl.lit(0.5)
    )
    pl.concat([first, second]).write_parquet(directory / "results.parquet")
    found = compare_checkpoints(load_run(directory), "health-only", "baseline")
    assert found.traits is not None
    assert found.traits.treatment == pytest.approx((0.4 - FLOOR) / (1 - FLOOR))
    assert found.traits.raw.treatment == pytest.approx(0.3)
    assert found.traits.unfinished == pytest.approx((0.5, 0.0))
    assert found.battery is not None, "likelihoods of several seeds are one row, though their nats differ"
    assert all(e.items == 16 for e in found.battery.evals)


def test_the_json_holds_floor_raw_score_rescaled_score_and_bounds(tmp_path: Path) -> None:
    summary = json.loads(json.dumps(summarize(make_run(tmp_path / "run")), allow_nan=False))
    one = next(s for s in summary["judged"] if (s["checkpoint"], s["measure"]) == ("health-only", TRAITS))
    assert one["constant"] == "constant: a firm no"
    assert one["rescaled"] == pytest.approx((one["raw"] - one["floor"]) / (1 - one["floor"]))
    assert one["low"] < one["rescaled"] < one["high"]
    assert one["bounds"] == pytest.approx([one["rescaled"]] * 2), "nothing was cut off"
    table = next(t for t in summary["constants"] if t["measure"] == TRAITS)
    assert table["scores"] == pytest.approx({"constant: yes": 0.1, "constant: a firm no": FLOOR})
    lead = summary["comparisons"][0]
    for entry in (lead["traits"], lead["by_trait"]["evals"][0]):
        assert {"floor", "raw", "constant", "bounds", "unfinished"} <= entry.keys()
    assert "traits_finished" not in lead
    acted = next(e for e in summary["comparisons"][-1]["free"]["evals"] if e["grader"] == "outcome")
    assert acted["floor"] == 0.0, "what an environment decides is on its own scale already"


def test_a_run_whose_constants_were_never_graded_is_unfinished(run: Path) -> None:
    rows = pl.read_parquet(run / "results.parquet").filter(pl.col("condition") != CONSTANT)
    rows.write_parquet(run / "results.parquet")
    with pytest.raises(SteadfastError, match="nothing measured of constant answers; finish the run first"):
        load_run(run)


def test_truncation_and_length_are_costs_of_their_own_with_intervals(tmp_path: Path) -> None:
    def edit(row: Row) -> Row:
        long = row["checkpoint"] == "health-only" and row["answer"]
        return row | {"answer": "x" * (100 + crc32(row["task"].encode()) % 9), "finished": False} if long else row

    lead = summarize(make_run(tmp_path / "run", edit=edit))["comparisons"][0]
    assert lead["traits_length"]["low"] > 50
    assert lead["traits_cut_off"]["treatment"] == 1.0
    assert lead["length"]["low"] < lead["length"]["difference"] < lead["length"]["high"]
