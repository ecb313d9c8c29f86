"""The headline numbers: every arm against the baseline and against the pre-RL model.

All statistics are `steadfast.analysis.compare`'s; what is chosen here is which rows go into it. A share, such as that
of refusals, is compared like a score, by putting 0 and 1 into the score column.
"""

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from steadfast.analysis import Comparison, EvalComparison, compare
from steadfast.report.loading import Run
from steadfast.study.arms import ARMS, BASELINE, PRE_RL
from steadfast.tasks.battery import HEALTH_DOMAINS

_TRAINING_SCORE = pl.col("detail").str.json_path_match("$.training_judge_score").cast(pl.Float64, strict=False)
_PAIRS_WON = pl.col("detail").str.json_path_match("$.pairs_won").cast(pl.Float64, strict=False)
_REFUSED = pl.col("refused").cast(pl.Float64)
_CUT_OFF = 1.0 - pl.col("finished").cast(pl.Float64)


@dataclass(frozen=True)
class Scope:
    """The evals an arm's question is about.

    Attributes:
        words: in a sentence, as in "12 evals outside health".
        exclude: domains left out.
        only: domains kept; empty for all.
    """

    words: str
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def rest(self) -> "Scope | None":
        """The evals left out; None if there are none."""
        if self.exclude:
            return Scope("on health", only=self.exclude)
        return Scope("outside health", exclude=self.only) if self.only else None


_SCOPES = {
    "all": Scope(""),
    "outside health": Scope("outside health", exclude=HEALTH_DOMAINS),
    "on health": Scope("on health", only=HEALTH_DOMAINS),
}


@dataclass(frozen=True)
class CheckpointComparison:
    """One checkpoint against another. A field is None where the run measured nothing of it.

    Attributes:
        treatment: the checkpoint asked about.
        control: what it is compared with.
        scope: the evals of `battery` and `free`.
        scoring: of `battery`: "choice" where the run has it, else "generation".
        battery: the evals in the scope.
        rest: the evals outside it, same scoring.
        free: free answers in the scope, judged; None if `battery` is that already.
        free_rest: free answers outside it.
        pairs_won: share of (good, bad) pairs whose good reply is the likelier, over the scope's items.
        traits: held-out scenarios, free answers, evaluation judge.
        traits_by_training_judge: the same answers, by the judge that trained.
        traits_choice: likelihood of gold answers, no judge.
        traits_elsewhere: `traits` in domains the arm was not trained on, for an arm trained on some.
        traits_unrefused: `traits` where neither checkpoint refused.
        traits_finished: `traits` where both checkpoints ended before the token limit; a cut-off answer earns nothing,
            so a rise may be no more than learning to stop.
        traits_cut_off: share of the held-out scenarios' answers cut off.
        by_trait: `traits`, one entry a trait.
        capability: verifiable tasks.
        refusal: share of the battery's free answers that refuse.
        chat_refusal: share of answers to everyday requests that refuse.
        cut_off: share of free answers cut off by the token limit.
    """

    treatment: str
    control: str
    scope: Scope
    scoring: str
    battery: Comparison | None
    rest: Comparison | None
    free: Comparison | None
    free_rest: Comparison | None
    pairs_won: EvalComparison | None
    traits: EvalComparison | None
    traits_by_training_judge: EvalComparison | None
    traits_choice: EvalComparison | None
    traits_elsewhere: EvalComparison | None
    traits_unrefused: EvalComparison | None
    traits_finished: EvalComparison | None
    traits_cut_off: EvalComparison | None
    by_trait: Comparison | None
    capability: Comparison | None
    refusal: EvalComparison | None
    chat_refusal: EvalComparison | None
    cut_off: EvalComparison | None


def compare_checkpoints(run: Run, treatment: str, control: str) -> CheckpointComparison:
    """Compare two checkpoints of a run in all that was measured."""
    scope = _SCOPES[ARMS[treatment].scope]
    battery = run.rows("battery")
    scoring = "choice" if (battery["scoring"] == "choice").any() else "generation"
    free_rows, trait_rows = run.rows("battery", "generation"), run.rows("trait", "generation")
    answered = pl.concat([free_rows, run.rows("chat"), trait_rows])
    trained = ARMS[treatment].domains if treatment in ARMS else None
    pair = (treatment, control)

    def pooled(rows: pl.DataFrame, score: pl.Expr | None = None) -> EvalComparison | None:
        return _pooled(rows, *pair, score)

    def scoped(rows: pl.DataFrame, chosen: Scope | None) -> Comparison | None:
        return None if chosen is None else _compare(rows, *pair, chosen)

    main_rows = battery.filter(pl.col("scoring") == scoring)
    return CheckpointComparison(
        treatment=treatment,
        control=control,
        scope=scope,
        scoring=scoring,
        battery=scoped(main_rows, scope),
        rest=scoped(main_rows, scope.rest()),
        free=scoped(free_rows, scope) if scoring == "choice" else None,
        free_rest=scoped(free_rows, scope.rest()) if scoring == "choice" else None,
        pairs_won=pooled(_within(run.rows("battery", "choice"), scope), _PAIRS_WON),
        traits=pooled(trait_rows),
        traits_by_training_judge=pooled(trait_rows, _TRAINING_SCORE),
        traits_choice=pooled(run.rows("trait", "choice")),
        traits_elsewhere=pooled(trait_rows.filter(~pl.col("domain").is_in(list(trained)))) if trained else None,
        traits_unrefused=pooled(_where_both(trait_rows, pair, ~pl.col("refused").fill_null(False))),
        traits_finished=pooled(_where_both(trait_rows, pair, pl.col("finished").fill_null(False))),
        traits_cut_off=pooled(trait_rows, _CUT_OFF),
        by_trait=scoped(trait_rows, Scope("")),
        capability=scoped(run.rows("capability"), Scope("")),
        refusal=pooled(free_rows, _REFUSED),
        chat_refusal=pooled(run.rows("chat"), _REFUSED),
        cut_off=pooled(answered, _CUT_OFF),
    )


def all_comparisons(run: Run) -> list[CheckpointComparison]:
    """Every arm against the baseline, the leading one first; trait against helpfulness; all against pre-RL."""
    pairs = [(arm, BASELINE) for arm in run.treatments]
    pairs += [("trait", "helpfulness")] if {"trait", "helpfulness"} <= set(run.arms) else []
    pairs += [(arm, PRE_RL) for arm in (*run.treatments, BASELINE)]
    return [compare_checkpoints(run, *pair) for pair in pairs]


def _compare(rows: pl.DataFrame, treatment: str, control: str, scope: Scope) -> Comparison | None:
    rows = _within(rows, scope)
    if not _paired(rows, (treatment, control)):
        return None
    return compare(rows, treatment, control)


def _pooled(rows: pl.DataFrame, treatment: str, control: str, score: pl.Expr | None) -> EvalComparison | None:
    """All items as those of one eval, so that its interval is over items."""
    rows = rows.with_columns(
        pl.concat_str("eval", pl.lit("/"), "item").alias("item"),
        pl.lit("all").alias("eval"),
        pl.lit("any").alias("scoring"),
        (pl.col("score") if score is None else score).alias("score"),
    )
    result = _compare(rows, treatment, control, Scope(""))
    return result.evals[0] if result else None


def _within(rows: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    if scope.only:
        return rows.filter(pl.col("domain").is_in(list(scope.only)))
    return rows.filter(~pl.col("domain").is_in(list(scope.exclude)))


def _paired(rows: pl.DataFrame, checkpoints: Collection[str]) -> bool:
    """Whether any item is graded in all of the checkpoints."""
    graded = rows.filter(pl.col("checkpoint").is_in(list(checkpoints)) & pl.col("score").is_not_null())
    counts = graded.group_by("eval", "scoring", "item").agg(pl.col("checkpoint").n_unique())
    return bool((counts["checkpoint"] == len(checkpoints)).any())


def _where_both(rows: pl.DataFrame, checkpoints: Collection[str], holds: pl.Expr) -> pl.DataFrame:
    """Items for which something holds in each of the checkpoints."""
    rows = rows.filter(pl.col("checkpoint").is_in(list(checkpoints)))
    return rows.filter(holds.all().over("eval", "item"))
