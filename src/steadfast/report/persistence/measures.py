"""What is measured of a checkpoint before and after an attack, as tables that `analysis.factorial` can pair."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl

from steadfast.analysis.differences import Contrast, contrast_of
from steadfast.analysis.factorial import Cell, PairedScores, Twins, paired_scores
from steadfast.evals.rows import BY_ANSWER, BY_REFERENCES, CONSTANT
from steadfast.graders.gates import gate
from steadfast.report.loading import Run
from steadfast.study.rungs import rung_of

_COLUMNS = ["checkpoint", "seed", "condition", "suite", "task", "pair", "score", "attack", "dose", "attack_seed"]

_DRAWS = 1_000

DEGENERATE = ("empty", "looping")
"""The gates whose texts say nothing."""

Key = str
"""What tells measures apart: "primary" (twins on the primary rung), "twins", "twins inside" and "twins outside" (of the
domains of an attack's data), "evals", "evals inside", "evals outside", and those of `COHERENCE`."""

COHERENCE: tuple[Key, ...] = ("finished", "sound", "capability")
"""The measures that say whether a model still makes sense."""


@dataclass(frozen=True)
class Measure:
    """One thing that is measured.

    Attributes:
        key: Its key in JSON.
        words: What its level is, in a sentence.
        unit: What it is measured on, in the plural.
        rows: Its rows, one for each checkpoint, condition, attack and task.
        twins: What twins count as in it.
    """

    key: Key
    words: str
    unit: str
    rows: pl.DataFrame
    twins: Twins

    @cached_property
    def _parts(self) -> dict[tuple[object, ...], pl.DataFrame]:
        """The rows by checkpoint, condition and attack: a table is paired many times, each time by a few of these."""
        return self.rows.partition_by("checkpoint", "condition", "attack", as_dict=True)

    def rows_of(self, cells: Iterable[Cell]) -> pl.DataFrame:
        """The rows among which those of some cells are."""
        keys = dict.fromkeys((c.checkpoint, c.condition, c.attack) for c in cells)
        return pl.concat([self.rows.clear(), *(self._parts[k] for k in keys if k in self._parts)])

    def paired(self, cells: Sequence[Cell]) -> PairedScores:
        """Pair the scores of some cells.

        Raises:
            ValueError: They cannot be paired; see `paired_scores`.
        """
        return paired_scores(self.rows_of(cells), cells, twins=self.twins)

    def contrast(self, paired: PairedScores, weights: Sequence[float]) -> Contrast:
        """A weighted sum of paired cells; its interval over items, which no table shows, is by few draws."""
        return contrast_of(paired, weights, draws=_DRAWS)


def measures_of(run: Run, domains: Sequence[str] = ()) -> list[Measure]:
    """List what a run measures of right and wrong, the primary measure first, without what it has no rows of.

    Args:
        run: The run.
        domains: The domains of an attack's data, by which twins and evals are parted into those inside and outside.
    """
    rows = _measured(run)
    twins = rows.filter((pl.col("kind") == "twins") & (pl.col("grader") == "program"))
    evals = rows.filter((pl.col("kind") == "eval") & (pl.col("grader") == _reference_grader(rows)))
    inside, where = pl.col("domain").is_in(list(domains)), f"in {' and '.join(domains)}"
    outside = where.replace("in ", "outside ", 1)
    found = [
        Measure("primary", f"pair success on the {_rung(run)} rung", "pairs", _on_primary_rung(run, twins), "product"),
        Measure("twins", "pair success on all twins", "pairs", twins, "product"),
        Measure("evals", "evals by likelihood", "items", evals, "mean"),
    ]
    if domains:
        found += [
            Measure("twins inside", f"pair success on twins {where}", "pairs", twins.filter(inside), "product"),
            Measure("twins outside", f"pair success on twins {outside}", "pairs", twins.filter(~inside), "product"),
            Measure("evals inside", f"evals {where}, by likelihood", "items", evals.filter(inside), "mean"),
            Measure("evals outside", f"evals {outside}, by likelihood", "items", evals.filter(~inside), "mean"),
        ]
    return _slim(found)


def coherence_of(run: Run) -> list[Measure]:
    """List what tells whether a model still makes sense: answers that end, that say something, and plain tasks."""
    rows = _measured(run)
    judged_by_another = (pl.col("grader") == "rubric") & (pl.col("judge") != run.evaluation_judge)
    answered = rows.filter(pl.col("grader").is_in(BY_ANSWER) & ~judged_by_another & pl.col("finished").is_not_null())
    # A task that several graders score was answered once.
    answered = answered.unique([c for c in _COLUMNS if c != "score"], keep="first", maintain_order=True)
    answered = answered.with_columns(pl.lit(None, pl.String).alias("pair"))
    finished = answered.with_columns(pl.col("finished").cast(pl.Float64).alias("score"))
    sound = answered.with_columns(_says_something(answered).alias("score"))
    tasks = rows.filter((pl.col("kind") == "capability") & pl.col("grader").is_in(BY_ANSWER))
    found = [
        Measure("finished", "answers that end before the limit", "answers", finished, "mean"),
        Measure("sound", "answers neither empty nor looping", "answers", sound, "mean"),
        Measure("capability", "capability, by program", "tasks", tasks, "mean"),
    ]
    return _slim(found)


def headline_of(measures: Sequence[Measure]) -> Measure | None:
    """The measure that the section's tables follow: the primary one, else the first that is no coherence."""
    return next((m for m in measures if m.key not in COHERENCE), None)


def _slim(found: Sequence[Measure]) -> list[Measure]:
    return [replace(m, rows=m.rows.select(_COLUMNS)) for m in found if m.rows["score"].count()]


def _measured(run: Run) -> pl.DataFrame:
    return pl.concat([run.results, run.attacked, run.earlier]).filter(pl.col("condition") != CONSTANT)


def _reference_grader(rows: pl.DataFrame) -> str:
    """Likelihood where it was measured, else A/B questions."""
    found = set(rows.filter(pl.col("kind") == "eval")["grader"].unique().to_list())
    return next((g for g in BY_REFERENCES if g in found), BY_REFERENCES[0])


def _rung(run: Run) -> str:
    return "primary" if run.recipe.primary is None else run.recipe.primary.rung


def _on_primary_rung(run: Run, twins: pl.DataFrame) -> pl.DataFrame:
    primary, trained = run.recipe.primary, run.trained_twins
    if primary is None or trained is None:
        return twins.clear()
    return twins.filter(rung_of(run.recipe.arm(run.recipe.leading_arm), trained) == primary.rung)


def _says_something(answered: pl.DataFrame) -> pl.Series:
    """1 where an answer is neither empty nor looping, else 0, by the grader's gate or the same gate on its text."""
    texts = answered["answer"].fill_null("")
    stopped = {text: gate(text, True, min_words=0) in DEGENERATE for text in texts.unique().to_list()}
    by_grader = answered["gate"].is_in(list(DEGENERATE)).fill_null(value=False)
    return pl.Series([float(not (stopped[t] or g)) for t, g in zip(texts, by_grader, strict=True)], dtype=pl.Float64)
