import numpy as np
import polars as pl
import pytest

from steadfast.analysis import score_matrix

SCHEMA = ["checkpoint", "kind", "suite", "construct", "grader", "task", "score"]


def rows(checkpoint: str, scores: dict[str, list[float | None]], kind="eval", construct="c", grader="preference"):
    return [
        (checkpoint, kind, name, construct, grader, f"i{n}", score)
        for name, values in scores.items()
        for n, score in enumerate(values)
    ]


def table(*parts) -> pl.DataFrame:
    return pl.DataFrame([row for part in parts for row in part], schema=SCHEMA, orient="row", strict=False)


def test_cells_are_means_over_items_graded_on_every_checkpoint():
    matrix = score_matrix(
        table(
            rows("a", {"one": [0.0, 1.0, 0.5], "two": [0.2, 0.4]}),
            rows("b", {"one": [1.0, 1.0, None], "two": [0.6, 0.8]}),
        )
    )
    assert matrix.checkpoints == ("a", "b")
    assert [(c.suite, c.items, c.dropped) for c in matrix.columns] == [("one", 2, 1), ("two", 2, 0)]
    assert matrix.scores_CE == pytest.approx(np.array([[0.5, 0.3], [1.0, 0.7]]))


def test_nan_is_ungraded_and_never_a_score():
    matrix = score_matrix(table(rows("a", {"one": [float("nan"), 0.4]}), rows("b", {"one": [0.1, 0.6]})))
    assert matrix.scores_CE == pytest.approx(np.array([[0.4], [0.6]]))


def test_an_eval_not_measured_everywhere_is_left_out_with_who_lacks_it():
    matrix = score_matrix(
        table(
            rows("a", {"one": [0.1], "two": [0.2], "three": [0.1, None]}),
            rows("b", {"one": [0.3], "two": [None], "three": [None, 0.1]}),
        )
    )
    assert [c.suite for c in matrix.columns] == ["one"]
    assert matrix.left_out == {"two": ("b",), "three": ()}


def test_an_eval_counts_once_and_by_likelihood_where_it_has_it():
    both = [
        [*rows(c, {"one": [s], "two": [s]}), *rows(c, {"one": [0.0], "free": [s]}, grader="rubric")]
        for c, s in (("a", 0.1), ("b", 0.2))
    ]
    matrix = score_matrix(table(*both))
    assert {c.suite: c.grader for c in matrix.columns} == {"free": "rubric", "one": "preference", "two": "preference"}
    assert matrix.scores_CE == pytest.approx(np.array([[0.1] * 3, [0.2] * 3]))


def test_rewarded_traits_and_chat_are_no_columns_and_capability_is_the_control():
    matrix = score_matrix(
        table(
            *(
                [
                    *rows(c, {"one": [s]}),
                    *rows(c, {"trait:x": [s]}, kind="trait"),
                    *rows(c, {"chat": [s]}, kind="chat"),
                    *rows(c, {"gcd": [s, s]}, kind="capability"),
                    *rows(c, {"gpqa": [1.0]}, kind="public", construct="capability"),
                ]
                for c, s in (("a", 0.2), ("b", 0.6))
            )
        )
    )
    assert [c.suite for c in matrix.columns] == ["one"]
    assert matrix.capability_C == pytest.approx([0.6, 0.8])


def test_capability_missing_on_a_checkpoint_is_no_control():
    matrix = score_matrix(
        table(rows("a", {"one": [0.1]}), rows("a", {"gcd": [1.0]}, kind="capability"), rows("b", {"one": [0.2]}))
    )
    assert matrix.capability_C is None


def test_the_same_weights_measured_twice_count_once():
    matrix = score_matrix(
        table(
            rows("run1: pre-RL", {"one": [0.1, 0.2]}),
            rows("run1: trait", {"one": [0.4, 0.5]}),
            rows("run2: pre-RL", {"one": [0.1, 0.2 + 1e-8]}),
        )
    )
    assert matrix.checkpoints == ("run1: pre-RL", "run1: trait")
    assert matrix.repeats == {"run2: pre-RL": "run1: pre-RL"}


def test_columns_stand_by_construct_and_name_whatever_the_order_of_rows():
    parts = [
        [*rows(c, {"z": [s]}, construct="a"), *rows(c, {"m": [s]}, construct="b"), *rows(c, {"b": [s]}, construct="a")]
        for c, s in (("x", 0.1), ("y", 0.2))
    ]
    assert [c.suite for c in score_matrix(table(*parts)).columns] == ["b", "z", "m"]


def test_an_item_with_two_rows_is_an_error_that_names_it():
    twice = rows("a", {"one": [0.1]})
    with pytest.raises(ValueError, match="'a' has several rows of task 'i0' in suite 'one', grader 'preference'"):
        score_matrix(table(twice, twice))


def test_a_table_without_evals_is_an_empty_matrix():
    matrix = score_matrix(table(rows("a", {"gcd": [1.0]}, kind="capability")))
    assert (matrix.checkpoints, matrix.columns, matrix.scores_CE.shape) == ((), (), (0, 0))


def test_what_else_is_said_of_a_task_is_no_score_of_it():
    parts = [
        [
            *rows(c, {"one": [s], "workplace": [s]}),
            *rows(c, {"one": [1.0]}, grader="plain_words"),
            *rows(c, {"workplace": [0.0], "played": [0.0]}, grader="harm"),
            *rows(c, {"workplace": [1.0], "played": [1.0]}, grader="goal"),
            *rows(c, {"played": [s]}, grader="outcome"),
        ]
        for c, s in (("a", 0.1), ("b", 0.2))
    ]
    matrix = score_matrix(table(*parts))
    found = {c.suite: c.grader for c in matrix.columns}
    assert found == {"one": "preference", "played": "outcome", "workplace": "preference"}
    assert matrix.scores_CE == pytest.approx(np.array([[0.1] * 3, [0.2] * 3]))


def test_letters_stand_in_where_a_model_shows_no_likelihoods():
    both = [
        [*rows(c, {"one": [s]}, grader="letters"), *rows(c, {"one": [0.0]}, grader="harmless")]
        for c, s in (("a", 0.1), ("b", 0.2))
    ]
    (column,) = score_matrix(table(*both)).columns
    assert column.grader == "letters"


def test_a_suite_whose_tasks_have_graders_of_their_own_is_one_column_of_all_its_tasks():
    def mixed(checkpoint: str, score: float):
        one, *others = rows(checkpoint, {"own": [score, score, score]}, grader="rubric")
        return [(*one[:4], "program", *one[5:]), *others]

    (column,) = score_matrix(table(mixed("a", 0.1), mixed("b", 0.2))).columns
    assert (column.grader, column.items) == ("several", 3)


def test_a_trait_that_two_judges_graded_is_no_repetition():
    both = [
        [
            *rows(c, {"one": [s]}),
            *rows(c, {"trait:x": [s]}, kind="trait", grader="rubric"),
            *rows(c, {"trait:x": [0.0]}, kind="trait", grader="rubric"),
        ]
        for c, s in (("a", 0.1), ("b", 0.2))
    ]
    assert [c.suite for c in score_matrix(table(*both)).columns] == ["one"]
