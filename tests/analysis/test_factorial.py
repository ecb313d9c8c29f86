"""Which scores are held against which: items, twins, seeds, attack seeds and suites of a design."""

import numpy as np
import polars as pl
import pytest

from steadfast.analysis.factorial import Cell, paired_scores
from tests.analysis.attacked import table

BEFORE, AFTER = Cell("trait"), Cell("trait", attack="harm", dose=16)
PRE_RL = Cell("pre-RL")


def test_levels_are_means_over_the_items_of_each_cell_and_seed():
    rows = table({BEFORE: [[0.2, 0.4], [0.6, 0.8]], AFTER: [[0.0, 0.2], [0.4, 0.4]]})
    paired = paired_scores(rows, [BEFORE, AFTER])
    assert paired.levels() == pytest.approx(np.array([[0.3, 0.7], [0.1, 0.4]]))
    assert (paired.seeds, paired.over, paired.suites) == ((0, 1), "training seed", ("s", "s"))
    assert (paired.dropped, paired.missing, paired.left_out) == (0, (), ())


def test_a_table_without_the_columns_of_attacks_holds_checkpoints_before_any():
    rows = table({BEFORE: [[0.2, 0.4]]}).drop("attack", "dose", "attack_seed", "pair")
    assert paired_scores(rows, [BEFORE]).levels().item() == pytest.approx(0.3)


def test_a_task_that_one_cell_has_no_grade_for_is_left_out_of_all_cells_of_that_seed_alone():
    nan = float("nan")
    rows = table({BEFORE: [[0.2, 0.4, 0.9], [0.6, 0.8, 1.0]], AFTER: [[0.0, nan, 0.3], [0.4, 0.4, 0.4]]})
    paired = paired_scores(rows, [BEFORE, AFTER])
    assert paired.levels() == pytest.approx(np.array([[0.55, 0.8], [0.15, 0.4]]))
    assert paired.dropped == 1


def test_a_task_whose_row_is_lacking_counts_as_dropped_too():
    rows = table({BEFORE: [[0.2, 0.4]], AFTER: [[0.0, 0.2]]})
    paired = paired_scores(rows.filter(~((pl.col("task") == "s-001") & pl.col("attack").is_null())), [BEFORE, AFTER])
    assert paired.dropped == 1
    assert paired.levels().ravel() == pytest.approx([0.2, 0.0])


def test_twins_are_one_unit_by_their_mean_or_by_pair_success():
    rows = table({BEFORE: [[1.0, 0.0, 1.0, 1.0]]}, twins=True)
    assert paired_scores(rows, [BEFORE]).scores_CSU.ravel().tolist() == [0.5, 1.0]
    assert paired_scores(rows, [BEFORE], twins="product").scores_CSU.ravel().tolist() == [0.0, 1.0]


def test_pair_success_is_of_pairs_that_are_graded_whole():
    rows = table({BEFORE: [[1.0, float("nan"), 1.0, 0.5]]}, twins=True)
    assert paired_scores(rows, [BEFORE], twins="product").scores_CSU.ravel().tolist() == [0.5]
    assert paired_scores(rows, [BEFORE], twins="mean").scores_CSU.ravel().tolist() == [1.0, 0.75]


def test_pair_success_is_taken_within_an_attack_seed_before_attack_seeds_are_averaged():
    one = table({AFTER: [[1.0, 0.0]]}, twins=True, attack_seed=0)
    other = table({AFTER: [[0.0, 1.0]]}, twins=True, attack_seed=1)
    assert paired_scores(pl.concat([one, other]), [AFTER], twins="product").levels().item() == 0.0


def test_a_model_without_a_seed_stands_in_every_seed():
    rows = pl.concat([table({BEFORE: [[0.5], [0.7]]}), table({PRE_RL: [[0.4]]}, seeds=[None])])
    assert paired_scores(rows, [BEFORE, PRE_RL]).levels() == pytest.approx(np.array([[0.5, 0.7], [0.4, 0.4]]))


def test_attack_seeds_are_averaged_as_far_as_all_attacked_cells_have_them():
    other = Cell("baseline", attack="harm", dose=16)
    rows = pl.concat(
        [
            table({BEFORE: [[0.9]], AFTER: [[0.2]], other: [[0.1]]}, attack_seed=0),
            table({AFTER: [[0.4]], other: [[0.3]]}, attack_seed=1),
            table({AFTER: [[1.0]]}, attack_seed=2),
        ]
    )
    paired = paired_scores(rows, [BEFORE, AFTER, other])
    assert paired.levels().ravel() == pytest.approx([0.9, 0.3, 0.2])
    assert paired.runs == ((0, 0), (0, 1))


def test_a_seed_that_one_cell_lacks_is_left_out_and_named():
    rows = pl.concat([table({BEFORE: [[0.5], [0.7], [0.9]]}), table({AFTER: [[0.1], [0.2]]}, seeds=[0, 2])])
    paired = paired_scores(rows, [BEFORE, AFTER])
    assert (paired.seeds, paired.missing) == ((0, 2), (1,))
    assert paired.levels() == pytest.approx(np.array([[0.5, 0.9], [0.1, 0.2]]))


def test_of_a_model_without_training_seeds_the_attack_seeds_are_the_seeds():
    attacked = Cell("pre-RL", attack="harm", dose=16)
    rows = pl.concat(
        [
            table({PRE_RL: [[0.4]], attacked: [[0.1]]}, seeds=[None], attack_seed=5),
            table({attacked: [[0.3]]}, seeds=[None], attack_seed=6),
        ]
    )
    paired = paired_scores(rows, [PRE_RL, attacked])
    assert (paired.over, paired.seeds) == ("attack seed", (5, 6))
    assert paired.levels() == pytest.approx(np.array([[0.4, 0.4], [0.1, 0.3]]))
    assert paired_scores(rows, [PRE_RL]).over == "model"


def test_suites_weigh_the_same_whatever_their_number_of_tasks():
    rows = pl.concat([table({BEFORE: [[1.0] * 9]}, suite="many"), table({BEFORE: [[0.0]]}, suite="few")])
    assert paired_scores(rows, [BEFORE]).levels().item() == 0.5


def test_a_suite_that_not_all_cells_were_asked_is_left_out_and_named():
    both = table({BEFORE: [[0.5]], AFTER: [[0.1]]})
    paired = paired_scores(pl.concat([both, table({BEFORE: [[1.0]]}, suite="more")]), [BEFORE, AFTER])
    assert (paired.levels().ravel().tolist(), paired.left_out, paired.dropped) == ([0.5, 0.1], ("more",), 0)


def test_the_order_of_the_rows_changes_no_bit():
    rng = np.random.default_rng(0)
    cells = {BEFORE: rng.uniform(size=(3, 50)), AFTER: rng.uniform(size=(3, 50))}
    rows = pl.concat([table(cells), *(table({AFTER: rng.uniform(size=(3, 50))}, attack_seed=k) for k in (1, 2))])
    expected = paired_scores(rows, [BEFORE, AFTER]).levels()
    for seed in range(3):
        shuffled = rows.sample(fraction=1.0, shuffle=True, seed=seed)
        assert (paired_scores(shuffled, [BEFORE, AFTER]).levels() == expected).all()


def test_conditions_are_cells_of_their_own():
    persona = Cell("trait", "persona: flatterer")
    rows = table({BEFORE: [[0.5]], persona: [[0.2]]})
    assert paired_scores(rows, [BEFORE, persona]).levels().ravel().tolist() == [0.5, 0.2]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (table({BEFORE: [[0.5]]}), "no rows of 'trait' after 16 updates of 'harm' under 'plain'"),
        (pl.concat([table({BEFORE: [[0.5]], AFTER: [[0.1]]})] * 2), "several rows of task 's-000' in suite 's'"),
        (pl.concat([table({BEFORE: [[0.5]]}, seeds=[1]), table({AFTER: [[0.1]]}, seeds=[2])]), "no training seed is"),
        (
            pl.concat([table({BEFORE: [[0.5]]}, seeds=[None]), table({BEFORE: [[0.5]], AFTER: [[0.1]]})]),
            "rows with and without seed",
        ),
        (table({BEFORE: [[0.5]], AFTER: [[float("nan")]]}), "no suite has a task that is graded in all"),
    ],
)
def test_what_cannot_be_paired_is_refused_by_name(rows, words):
    with pytest.raises(ValueError, match=words):
        paired_scores(rows, [BEFORE, AFTER])


@pytest.mark.parametrize("wrong", [{"attack": "harm"}, {"dose": 4}, {"attack": "harm", "dose": -4}])
def test_a_cell_has_an_attack_and_a_dose_or_neither(wrong):
    with pytest.raises(ValueError, match="an attack has a dose above zero"):
        Cell("trait", **wrong)
