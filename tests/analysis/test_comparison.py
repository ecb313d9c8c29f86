from dataclasses import asdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from steadfast.analysis import Comparison, benjamini_hochberg, clustered_bootstrap, compare

SCHEMA = dict.fromkeys(("checkpoint", "suite", "construct", "domain", "grader", "task"), pl.String)


def table(
    scores: dict[str, dict[str, list[float | None]]], domain: str = "general", grader: str = "preference"
) -> pl.DataFrame:
    """Results out of {checkpoint: {suite: scores}}; tasks are numbered, and `...` leaves a task's row out."""
    return pl.DataFrame(
        [
            (checkpoint, name, f"construct of {name}", domain, grader, f"task-{number}", score)
            for checkpoint, evals in scores.items()
            for name, values in evals.items()
            for number, score in enumerate(values)
            if score is not ...
        ],
        schema={**SCHEMA, "score": pl.Float64},
        orient="row",
    )


def simulated(effects: dict[str, float], items: int = 12, seed: int = 0, **columns: str) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    control = {name: rng.uniform(0.2, 0.6, size=items) for name in effects}
    treatment = {name: control[name] + rng.normal(effect, 0.1, size=items) for name, effect in effects.items()}
    arms = {"trait": treatment, "baseline": control}
    return table({arm: {name: v.tolist() for name, v in evals.items()} for arm, evals in arms.items()}, **columns)


def by_name(comparison: Comparison) -> dict[str, dict[str, object]]:
    return {entry.suite: asdict(entry) for entry in comparison.evals}


def test_difference_is_treatment_minus_control_over_paired_items():
    results = table({"t": {"e": [0.9, 0.5, 0.7]}, "c": {"e": [0.4, 0.5, 0.3]}})
    (entry,) = compare(results, "t", "c").evals
    assert (entry.treatment, entry.control, entry.difference) == pytest.approx((0.7, 0.4, 0.3))
    assert (entry.suite, entry.construct, entry.domain, entry.grader) == (
        "e",
        "construct of e",
        "general",
        "preference",
    )
    assert (entry.items, entry.dropped) == (3, 0)


def test_ungraded_and_missing_items_are_dropped_from_both_arms_and_counted():
    nan = float("nan")
    results = table(
        {
            "t": {"e": [0.9, None, 0.8, ..., nan, 0.6]},
            "c": {"e": [0.5, 0.1, None, 0.2, 0.3, 0.4, ...]},
        }
    )
    (entry,) = compare(results, "t", "c").evals
    assert (entry.items, entry.dropped) == (2, 4)
    assert (entry.treatment, entry.control, entry.difference) == pytest.approx((0.75, 0.45, 0.3))


def test_items_pair_by_name_and_not_by_position():
    results = table({"t": {"e": [0.1, 0.9]}, "c": {"e": [0.1, 0.9]}})
    backwards = pl.concat([results.head(2), results.tail(2).reverse()])
    (entry,) = compare(backwards, "t", "c").evals
    assert (entry.low, entry.high) == (0, 0)


def test_eval_graded_in_one_arm_only_is_shown_and_not_counted():
    results = table({"t": {"a": [0.9, 0.8], "b": [0.5, 0.5]}, "c": {"a": [0.1, 0.3], "b": [None, None]}})
    comparison = compare(results, "t", "c")
    entry = comparison.evals[1]
    assert (entry.suite, entry.items, entry.dropped, entry.significant) == ("b", 0, 2, False)
    assert np.isnan([entry.treatment, entry.control, entry.difference, entry.low, entry.high, entry.p, entry.q]).all()
    assert (comparison.wins, comparison.losses, comparison.ties, comparison.total) == (1, 0, 0, 1)
    assert comparison.difference.estimate == pytest.approx(0.65)
    assert comparison.evals[0].q == comparison.evals[0].p


def test_wins_losses_and_ties_are_counted_with_the_significant_among_them():
    effects = {"better": 0.3, "worse": -0.3, "same": 0.0, "slightly better": 0.02}
    results = simulated(effects, items=12)
    tied = table({"trait": {"tied": [0.1, 0.3]}, "baseline": {"tied": [0.3, 0.1]}})
    comparison = compare(pl.concat([results, tied]), "trait", "baseline")
    signs = [np.sign(entry.difference) for entry in comparison.evals if entry.suite != "tied"]
    assert (comparison.wins, comparison.losses, comparison.ties) == (signs.count(1), signs.count(-1), 1)
    assert comparison.total == 5
    significant = {entry.suite for entry in comparison.evals if entry.significant}
    assert significant == {"better", "worse"}
    assert (comparison.significant_wins, comparison.significant_losses) == (1, 1)


def test_rounding_is_no_win():
    # 0.1 + 0.2 - 0.3 is 5.6e-17 in binary.
    results = table({"t": {"e": [0.1, 0.2, 0.0]}, "c": {"e": [0.0, 0.0, 0.3]}})
    assert compare(results, "t", "c").ties == 1


def test_p_values_are_paired_and_q_values_adjust_over_the_evals_compared():
    results = simulated({f"e{number}": 0.03 * number for number in range(8)}, items=10)
    comparison = compare(results, "trait", "baseline")
    p = [entry.p for entry in comparison.evals]
    wide = results.pivot("checkpoint", index=["suite", "task"], values="score", maintain_order=True)
    for entry in comparison.evals:
        arms = wide.filter(pl.col("suite") == entry.suite)
        assert entry.p == pytest.approx(stats.ttest_rel(arms["trait"], arms["baseline"]).pvalue, abs=0.05)
    assert [entry.q for entry in comparison.evals] == pytest.approx(benjamini_hochberg(p))
    assert [entry.significant for entry in comparison.evals] == [entry.q <= 0.05 for entry in comparison.evals]


def test_one_small_p_value_among_many_evals_is_not_significant():
    # Six items all better: p = 2 / 2**6 = 0.031, which times six evals is 0.19.
    evals = {"better": [0.6] * 6, **{f"same-{number}": [0.5] * 6 for number in range(5)}}
    results = table({"t": evals, "c": {name: [0.5] * 6 for name in evals}})
    entry = compare(results, "t", "c").evals[0]
    assert (entry.p, entry.q) == pytest.approx((2 / 64, 12 / 64))
    assert not entry.significant


def test_false_discovery_rate_asked_for_decides_what_is_significant():
    results = simulated({f"e{number}": 0.06 for number in range(6)}, items=8)
    q_values = sorted(entry.q for entry in compare(results, "trait", "baseline").evals)
    threshold = q_values[2]
    evals = compare(results, "trait", "baseline", q=threshold).evals
    assert sum(entry.significant for entry in evals) == sum(q <= threshold for q in q_values) < 6


def test_overall_interval_is_clustered_by_eval_with_each_eval_of_equal_weight():
    many = simulated({"many": 0.4}, items=60)
    few = simulated({f"few-{number}": 0.0 for number in range(9)}, items=6, seed=1)
    comparison = compare(pl.concat([many, few]), "trait", "baseline", seed=5, level=0.9)
    differences = [np.array([entry.difference]) for entry in comparison.evals]
    assert comparison.difference.estimate == pytest.approx(np.mean(differences))
    assert asdict(comparison.difference) == pytest.approx(asdict(clustered_bootstrap(differences, seed=5, level=0.9)))


def test_health_only_arm_is_judged_and_adjusted_on_the_other_evals_alone():
    other = simulated({f"other-{number}": 0.05 for number in range(4)})
    health = simulated({f"health-{number}": 0.3 for number in range(6)}, domain="health", seed=1)
    mental = simulated({"mental": 0.3}, domain="mental-health", seed=2)
    everything = pl.concat([health, other, mental])
    judged = compare(everything, "trait", "baseline", exclude_domains=("health", "mental-health"))
    assert judged == compare(other, "trait", "baseline")
    assert judged.total == 4
    within = compare(everything, "trait", "baseline", only_domains=["health", "mental-health"])
    assert within == compare(pl.concat([health, mental]), "trait", "baseline")
    assert by_name(compare(everything, "trait", "baseline"))["other-0"]["q"] != by_name(judged)["other-0"]["q"]


def test_only_and_excluded_domains_apply_together():
    results = pl.concat([simulated({name: 0.1}, domain=name) for name in ("health", "law", "code")])
    chosen = compare(results, "trait", "baseline", only_domains=["health", "law"], exclude_domains=["health"])
    assert [entry.suite for entry in chosen.evals] == ["law"]


def test_one_grader_can_be_chosen_and_two_never_pair_with_each_other():
    preference, rubric = (simulated({"e": 0.2}, grader=g, seed=n) for n, g in enumerate(["preference", "rubric"]))
    both = pl.concat([preference, rubric])
    assert compare(both, "trait", "baseline", grader="preference") == compare(preference, "trait", "baseline")
    crossed = pl.concat(
        [
            preference.filter(pl.col("checkpoint") == "trait"),
            rubric.filter(pl.col("checkpoint") == "baseline"),
        ]
    )
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(crossed, "trait", "baseline")


def test_a_suite_with_two_graders_has_two_entries_and_is_one_cluster():
    preference, rubric = (simulated({"e": 0.2}, grader=g, seed=n) for n, g in enumerate(["preference", "rubric"]))
    comparison = compare(pl.concat([rubric, preference]), "trait", "baseline")
    assert [(entry.suite, entry.grader) for entry in comparison.evals] == [
        ("e", "preference"),
        ("e", "rubric"),
    ]
    renamed = rubric.with_columns(task="z-" + pl.col("task"), grader=pl.lit("preference"))
    pooled = compare(pl.concat([preference, renamed]), "trait", "baseline")
    assert comparison.difference == pooled.difference


def test_eval_over_several_domains_says_so():
    law, code = (simulated({"e": 0.1}, domain=domain) for domain in ("law", "code"))
    results = pl.concat([law, code.with_columns(pl.col("task") + "-code")])
    assert compare(results, "trait", "baseline").evals[0].domain == "several"


def test_interval_and_p_value_of_an_eval_do_not_depend_on_the_other_evals():
    alone = compare(simulated({"e": 0.1}, items=20), "trait", "baseline").evals[0]
    others = simulated({"a": 0.1, "z": 0.3}, seed=9)
    among = compare(pl.concat([others, simulated({"e": 0.1}, items=20)]), "trait", "baseline").evals[1]
    assert (alone.low, alone.high, alone.p) == (among.low, among.high, among.p)


def test_evals_are_listed_by_name():
    comparison = compare(simulated({"c": 0.1, "a": 0.1, "b": 0.1}), "trait", "baseline")
    assert [entry.suite for entry in comparison.evals] == ["a", "b", "c"]


SHUFFLED = simulated({f"e{number}": 0.1 for number in range(9)}, items=9)


@settings(max_examples=8, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_of_rows_changes_nothing(random):
    order = list(range(SHUFFLED.height))
    random.shuffle(order)
    shuffled = compare(SHUFFLED[order], "trait", "baseline", draws=500)
    assert shuffled == compare(SHUFFLED, "trait", "baseline", draws=500)


@pytest.mark.parametrize("evals", [1, 4, 9])
def test_swapping_the_arms_turns_the_signs_around(evals: int):
    results = simulated({f"e{number}": 0.05 * number - 0.1 for number in range(evals)}, items=16)
    forward, backward = compare(results, "trait", "baseline"), compare(results, "baseline", "trait")
    for one, other in zip([forward.difference, *forward.evals], [backward.difference, *backward.evals], strict=True):
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    for one, other in zip(forward.evals, backward.evals, strict=True):
        assert (one.difference, one.p, one.q) == pytest.approx((-other.difference, other.p, other.q))
        assert (one.treatment, one.control) == (other.control, other.treatment)
    assert forward.difference.estimate == pytest.approx(-backward.difference.estimate)
    assert (forward.wins, forward.significant_wins) == (backward.losses, backward.significant_losses)


def test_same_seed_gives_the_same_comparison():
    results = simulated({f"e{number}": 0.1 for number in range(9)}, items=16)
    assert compare(results, "trait", "baseline", seed=3) == compare(results, "trait", "baseline", seed=3)
    assert compare(results, "trait", "baseline", seed=3) != compare(results, "trait", "baseline", seed=4)


def test_other_columns_and_checkpoints_are_ignored():
    results = simulated({"e": 0.1})
    third = results.filter(pl.col("checkpoint") == "trait").with_columns(checkpoint=pl.lit("third"))
    more = pl.concat([results, third, third]).with_columns(source=pl.lit("x"), answer=pl.lit(None))
    assert compare(more, "trait", "baseline") == compare(results, "trait", "baseline")


def test_missing_checkpoint_is_an_error_that_names_those_there_are():
    with pytest.raises(ValueError, match=r"'health-only'.*baseline, trait"):
        compare(simulated({"e": 0.1}), "health-only", "baseline")


def test_item_with_two_rows_in_an_arm_is_an_error_that_names_it():
    results = table({"t": {"e": [0.1, 0.2]}, "c": {"e": [0.1, 0.2]}})
    with pytest.raises(ValueError, match=r"'c' has several rows of task 'task-1' in suite 'e', grader 'preference'"):
        compare(pl.concat([results, results.tail(1)]), "t", "c")


def test_nothing_graded_in_both_arms_is_an_error():
    results = table({"t": {"e": [0.1, None]}, "c": {"e": [None, 0.2]}})
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(results, "t", "c")
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(simulated({"e": 0.1}), "trait", "baseline", grader="rubric")


def test_domain_given_as_one_string_is_an_error():
    with pytest.raises(ValueError, match="collection"):
        compare(simulated({"e": 0.1}, domain="health"), "trait", "baseline", exclude_domains="health")


def test_twins_are_one_unit_so_that_a_copied_item_is_no_new_evidence():
    scores = {"t": {"e": [0.9, 0.6, 0.8, 0.3, 0.7]}, "c": {"e": [0.5, 0.5, 0.5, 0.5, 0.5]}}
    alone = table(scores).with_columns(pl.lit(None, pl.String).alias("pair"))
    twin_of = {f"task-{i}": f"twin-{i}" for i in range(5)}
    one = alone.with_columns(pl.col("task").replace(twin_of).alias("pair"))
    other = one.with_columns(pl.col("pair").alias("task"), pl.col("task").alias("pair"))
    (single,) = compare(alone, "t", "c").evals
    (copied,) = compare(pl.concat([one, other]), "t", "c").evals
    assert (copied.low, copied.high, copied.p) == pytest.approx((single.low, single.high, single.p))
    assert (single.items, copied.items) == (5, 10)
