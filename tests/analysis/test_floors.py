"""The floor of a judged score and what an unfinished answer counts as."""

import polars as pl
import pytest

from steadfast.analysis.floors import best_constant, split_unfinished, unfinished_as, with_counted

TASKS = pl.DataFrame({"suite": ["s", "s", "s"], "task": ["a", "b", "c"]})


def said(**scores: list[float | None]) -> pl.DataFrame:
    rows = [
        {"checkpoint": name, "suite": "s", "task": task, "score": score}
        for name, values in scores.items()
        for task, score in zip("abc", values, strict=True)
    ]
    return pl.DataFrame(rows, schema_overrides={"score": pl.Float64})


def test_the_best_constant_has_the_highest_mean_and_of_equals_is_the_first() -> None:
    floor = best_constant(said(no=[0.2, 0.2, 0.2], yes=[0.6, 0.0, 0.0], maybe=[0.0, 0.6, 0.0]), TASKS)
    assert (floor.constant, floor.score) == ("no", pytest.approx(0.2))
    first = best_constant(said(one=[0.5, 0.5, 0.5], two=[0.5, 0.5, 0.5]), TASKS)
    assert first.constant == "one"


def test_only_the_tasks_that_are_asked_about_choose_the_constant() -> None:
    constants = said(no=[0.2, 0.2, 0.9], yes=[0.6, 0.0, 0.0])
    floor = best_constant(constants, TASKS.filter(pl.col("task") == "a"))
    assert (floor.constant, floor.score) == ("yes", pytest.approx(0.6))


def test_a_constant_is_scored_by_what_was_graded_of_it() -> None:
    assert best_constant(said(no=[None, 0.4, 0.2]), TASKS).score == pytest.approx(0.3)
    assert best_constant(said(no=[None, None, None]), TASKS).constant is None


def test_a_constant_that_was_graded_on_the_easy_task_alone_is_not_the_best() -> None:
    floor = best_constant(said(no=[0.9, None, None], yes=[1.0, 0.3, 0.2]), TASKS)
    assert (floor.constant, floor.score) == ("yes", pytest.approx(0.5))


def test_constants_are_held_against_one_another_on_the_tasks_that_all_were_graded_on() -> None:
    # Over what was graded of each, "no" would lead by 0.6 against 0.5; on the two tasks of both, "yes" does.
    floor = best_constant(said(no=[0.6, None, 0.6], yes=[0.8, 0.0, 0.7]), TASKS)
    assert (floor.constant, floor.score) == ("yes", pytest.approx(0.5))


@pytest.mark.parametrize(
    ("grader", "score", "finished", "kept", "unfinished"),
    [
        ("rubric", 0.4, True, 0.4, 0.0),
        ("rubric", 0.4, False, 0.0, 1.0),
        ("rubric", 0.4, None, 0.4, 0.0),
        ("rubric", None, False, None, None),
        ("program", 1.0, False, 1.0, 0.0),
        ("outcome", 1.0, False, 1.0, 0.0),
    ],
)
def test_only_what_a_judge_graded_unfinished_is_open(
    grader: str, score: float | None, finished: bool | None, kept: float | None, unfinished: float | None
) -> None:
    schema = {"grader": pl.String, "score": pl.Float64, "finished": pl.Boolean}
    rows = pl.DataFrame({"grader": [grader], "score": [score], "finished": [finished]}, schema=schema)
    found = rows.with_columns(*split_unfinished())
    assert found.select("kept", "unfinished").row(0) == (kept, unfinished)
    counted = found.select(unfinished_as(0.3)).item()
    assert counted == (None if kept is None or unfinished is None else pytest.approx(kept + 0.3 * unfinished))


def test_a_constant_held_against_itself_is_zero_on_its_scale() -> None:
    floor = best_constant(said(no=[0.1, 0.3, 0.7]), TASKS)
    rows = TASKS.with_columns(kept=pl.Series([0.1, 0.3, 0.7]), unfinished=pl.Series([0.0, 0.0, 0.0]))
    cut_off = rows.with_columns(kept=pl.lit(0.0), unfinished=pl.lit(1.0))
    for one in (rows, cut_off):
        assert with_counted(one, floor)["score"].to_numpy().mean() == pytest.approx(0, abs=1e-12)
    assert with_counted(rows.with_columns(kept=pl.lit(1.0)), floor)["score"].to_list() == pytest.approx([1.0] * 3)
