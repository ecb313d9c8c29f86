import numpy as np
import polars as pl
import pytest

from steadfast.analysis import score_matrix

SCHEMA = ["checkpoint", "kind", "eval", "construct", "scoring", "item", "score"]


def rows(checkpoint: str, scores: dict[str, list[float | None]], kind="battery", construct="c", scoring="choice"):
    return [
        (checkpoint, kind, name, construct, scoring, f"i{n}", score)
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
    assert [(c.eval, c.items, c.dropped) for c in matrix.columns] == [("one", 2, 1), ("two", 2, 0)]
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
    assert [c.eval for c in matrix.columns] == ["one"]
    assert matrix.left_out == {"two": ("b",), "three": ()}


def test_an_eval_counts_once_and_by_likelihood_where_it_has_it():
    both = [
        [*rows(c, {"one": [s], "two": [s]}), *rows(c, {"one": [0.0], "free": [s]}, scoring="generation")]
        for c, s in (("a", 0.1), ("b", 0.2))
    ]
    matrix = score_matrix(table(*both))
    assert {c.eval: c.scoring for c in matrix.columns} == {"free": "generation", "one": "choice", "two": "choice"}
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
    assert [c.eval for c in matrix.columns] == ["one"]
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
    assert [c.eval for c in score_matrix(table(*parts)).columns] == ["b", "z", "m"]


def test_an_item_with_two_rows_is_an_error_that_names_it():
    twice = rows("a", {"one": [0.1]})
    with pytest.raises(ValueError, match="'a' has several rows of item 'i0' in eval 'one', scoring 'choice'"):
        score_matrix(table(twice, twice))


def test_a_table_without_evals_is_an_empty_matrix():
    matrix = score_matrix(table(rows("a", {"gcd": [1.0]}, kind="capability")))
    assert (matrix.checkpoints, matrix.columns, matrix.scores_CE.shape) == ((), (), (0, 0))
