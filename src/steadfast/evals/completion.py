"""What of a measurement is done: tasks without a score are asked again, the others are not."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from steadfast.errors import SteadfastError
from steadfast.evals.measure import Measured, Part
from steadfast.evals.rows import BY_ANSWER, BY_REFERENCES, ROW_SCHEMA
from steadfast.files import read_parquet, write_atomically
from steadfast.graders.dispatch import UNSHOWN

_KEY = ["suite", "grader", "task"]
"""What is measured anew, whichever judge's: an answer that is given again is graded again by each of them."""


def complete(
    file: Path, checkpoint: str, parts: Sequence[Part], measure: Callable[[list[Part]], Measured]
) -> pl.DataFrame:
    """The rows of some parts, measured as far as they are not measured yet.

    Args:
        file: Holds the rows, and is written anew with those that are added.
        checkpoint: The name of the checkpoint that the rows are of.
        parts: What is to be measured.
        measure: Measures parts; it is not called when nothing is left to do.

    Raises:
        SteadfastError: the file is damaged, or holds other columns than this version writes.
    """
    before = rows_of(file, checkpoint) if file.is_file() else None
    left = list(parts) if before is None else unscored(parts, before)
    if before is not None and not left:
        return before
    rows = measure(left).rows
    if before is not None:
        rows = pl.concat([before.join(rows, on=_KEY, how="anti", nulls_equal=True), rows])
    write_atomically(file, lambda p: rows.write_parquet(p))
    return rows


def unscored(parts: Sequence[Part], rows: pl.DataFrame) -> list[Part]:
    """The parts with those of their tasks alone that have no score, or no row at all."""
    compared = _scored(rows.filter(pl.col("grader").is_in(BY_REFERENCES)))
    answered = _scored(rows.filter(pl.col("grader").is_in(BY_ANSWER)))
    found: list[Part] = []
    for part in parts:
        name = part.suite.name
        one = replace(
            part,
            compared=tuple(t for t in part.compared if (name, t.id) not in compared),
            answered=tuple(t for t in part.answered if (name, t.id) not in answered),
        )
        if one.requests:
            found.append(one)
    return found


def _scored(rows: pl.DataFrame) -> set[tuple[str, str]]:
    """Suite and task of what every grader scored, or cannot ever score since the model cannot be shown it."""
    settled = pl.col("score").is_not_null() | (pl.col("gate") == UNSHOWN).fill_null(False)
    whole = rows.group_by("suite", "task", maintain_order=True).agg(settled.all().alias("scored"))
    return set(whole.filter(pl.col("scored")).select("suite", "task").iter_rows())


def without_any_score(rows: pl.DataFrame) -> list[str]:
    """The suites of which nothing was scored, each with a reason and what can be done about it."""
    found: list[str] = []
    which = ("checkpoint", "attack", "dose", "suite")
    for (checkpoint, attack, dose, suite), group in rows.group_by(which, maintain_order=True):
        if group["score"].null_count() == len(group):
            reasons = group["reason"].drop_nulls()
            why = reasons[0] if len(reasons) else "no reason given"
            never = (group["gate"] == UNSHOWN).fill_null(False).all()
            advice = "the model cannot be shown them" if never else "run the same command again to ask once more"
            after = "" if attack is None else f" after {dose} updates of {attack}"
            found.append(
                f"{suite} on {checkpoint}{after}: none of {group['task'].n_unique()} tasks was scored: {why}; {advice}"
            )
    return found


def rows_of(file: Path, checkpoint: str) -> pl.DataFrame:
    """The rows of one checkpoint.

    Raises:
        SteadfastError: as `read_rows`, or the file holds rows of another checkpoint.
    """
    rows = read_rows(file)
    if others := sorted(set(rows["checkpoint"].to_list()) - {checkpoint}):
        raise SteadfastError(
            f"{file}: holds rows of {', '.join(map(str, others))} and should hold those of {checkpoint}; delete it and "
            "run the same command again"
        )
    return rows


def read_rows(file: Path) -> pl.DataFrame:
    """A table of results; a NaN score is null.

    Raises:
        SteadfastError: it cannot be read, or its columns are not those of this version.
    """
    rows = read_parquet(file)
    if missing := sorted(ROW_SCHEMA.keys() - set(rows.columns)):
        raise SteadfastError(
            f"{file}: columns missing: {', '.join(missing)}; it is no table of results, or another version wrote it"
        )
    try:
        rows = rows.select(pl.col(name).cast(kind) for name, kind in ROW_SCHEMA.items()).with_columns(
            pl.col("score").fill_nan(None)
        )
    except pl.exceptions.PolarsError as error:
        raise SteadfastError(f"{file}: a column is of the wrong type: {str(error).splitlines()[0]}") from error
    outside = rows.filter(~pl.col("score").is_between(0, 1)).head(1)
    if not outside.is_empty():
        checkpoint, suite, task, score = outside.select("checkpoint", "suite", "task", "score").row(0)
        raise SteadfastError(
            f"{file}: task {task!r} in suite {suite!r} on {checkpoint!r} has the score {score:g}, outside 0 to 1; "
            "delete the file and run the same command again to make it anew"
        )
    return rows
