"""The floor of a judged score, what an unfinished answer counts as, and the bounds of what it could have been.

A judge gives something to almost any text. So a score is put on a scale whose 0 is what the best constant answer earns
on the same tasks, and whose 1 is the highest score. The constant is chosen once for all tasks of a suite, or of a pool
of suites: a policy that gave each task its own constant would have read the task. It is chosen on the tasks that it is
then held against, so the floor is rather too high than too low.

An answer that the token limit cut off has not been judged on what it would have said. Leaving its task out conditions
on an outcome of training, and calling it zero makes it worse than nonsense, so that learning to stop looks like
learning a trait. It counts as the best constant answer to its task; and beside that stand the bounds between which the
result lies whatever such answers would have earned.

Source:
    Manski 1990, "Nonparametric Bounds on Treatment Effects".
"""

from dataclasses import dataclass

import polars as pl

_KEY = ["suite", "task"]
_FULL = 1 - 1e-9
"""A floor above this leaves no room on the scale."""


@dataclass(frozen=True)
class Floor:
    """What the best constant answer earns.

    Attributes:
        constant: Its name among the checkpoints; None where no constant answer was graded, and then the floor is 0.
        score: Its mean score over the tasks, in [0, 1].
        scores: The tasks with what it earns on each: the columns suite, task and `constant`.
    """

    constant: str | None
    score: float
    scores: pl.DataFrame

    def rescale(self, score: pl.Expr) -> pl.Expr:
        """Put a score on the scale whose 0 is the floor; it is null where the floor leaves no room above it."""
        room = 1 - self.score
        return (score - self.score) / room if self.score < _FULL else pl.lit(None, dtype=pl.Float64)

    def level(self, score: float) -> float:
        """Put a mean score on the same scale; it is NaN where the floor leaves no room above it."""
        return (score - self.score) / (1 - self.score) if self.score < _FULL else float("nan")


def best_constant(constants: pl.DataFrame, tasks: pl.DataFrame) -> Floor:
    """Choose the constant answer with the highest mean over some tasks; of equals the first.

    Constants are held against one another on the tasks that all of them were graded on: a mean over other tasks says
    which tasks are easy. One that was graded on less than half as many tasks as another is no candidate, so that a
    judge that refuses one constant does not take the tasks away from all.

    Args:
        constants: The columns checkpoint (the constant's name), suite, task and score; null is "not graded".
        tasks: The tasks, as the columns suite and task.
    """
    graded = constants.filter(pl.col("score").is_not_null()).join(tasks.select(_KEY).unique(), on=_KEY, how="semi")
    if graded.is_empty():
        return Floor(None, 0.0, graded.select(*_KEY, pl.col("score").alias("constant")))
    counts = graded.group_by("checkpoint", maintain_order=True).agg(pl.len().alias("tasks"))
    most = counts["tasks"].max()
    candidates = counts.filter(2 * pl.col("tasks") >= most)["checkpoint"]
    among = graded.filter(pl.col("checkpoint").is_in(candidates.to_list()))
    shared = among.filter(pl.len().over(_KEY) == len(candidates))
    if shared.is_empty():  # then the widest alone is held against itself
        shared = graded.filter(pl.col("checkpoint") == counts.filter(pl.col("tasks") == most)["checkpoint"][0])
    means = shared.group_by("checkpoint", maintain_order=True).agg(pl.col("score").mean())
    name = means["checkpoint"][int(means["score"].arg_max() or 0)]
    best = graded.filter(pl.col("checkpoint") == name)
    score = best["score"].to_numpy().mean()
    return Floor(name, float(score), best.select(*_KEY, pl.col("score").alias("constant")))


def split_unfinished() -> tuple[pl.Expr, pl.Expr]:
    """Give the columns `kept` and `unfinished` of rows of results, so that means of rows can still be counted.

    `kept` is the score as far as finished answers earned it, and `unfinished` the share of judged answers that were
    cut off: of one row 0 or 1. An answer that a program or an environment checks counts as it stands, since what it
    has shown is a fact. Both are null where there is no score.
    """
    cut_off = (pl.col("grader") == "rubric") & ~pl.col("finished").cast(pl.Boolean).fill_null(True)
    graded = pl.col("score").is_not_null()
    kept = pl.when(cut_off & graded).then(0.0).otherwise(pl.col("score"))
    return kept.alias("kept"), pl.when(graded).then(cut_off.cast(pl.Float64)).alias("unfinished")


def unfinished_as(value: pl.Expr | float) -> pl.Expr:
    """Give the score of rows with `kept` and `unfinished` if each unfinished answer had earned `value`."""
    return pl.col("kept") + pl.col("unfinished") * value


def with_counted(rows: pl.DataFrame, floor: Floor) -> pl.DataFrame:
    """Replace `score` of rows by the score on the floor's scale, an unfinished answer counting as the best constant."""
    beside = rows.join(floor.scores, on=_KEY, how="left", maintain_order="left")
    counted = unfinished_as(pl.col("constant").fill_null(floor.score))
    return beside.with_columns(floor.rescale(counted).alias("score")).drop("constant")


def with_bound(rows: pl.DataFrame, floor: Floor, value: float) -> pl.DataFrame:
    """Replace `score` of rows by the score on the floor's scale if each unfinished answer had earned `value`."""
    return rows.with_columns(floor.rescale(unfinished_as(value)).alias("score"))
