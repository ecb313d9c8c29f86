"""The headline numbers compare every arm with the baseline and with the pre-RL model.

`steadfast.analysis.compare` computes all statistics; this module chooses the rows that go into it. A share, such as
that of refusals, is compared like a score, by putting 0 and 1 into the score column. Answers are compared above the
floor of a constant answer, see `steadfast.report.judged`.
"""

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from steadfast.analysis import Comparison, EvalComparison, compare
from steadfast.analysis.over_seeds import OverSeeds, over_seeds
from steadfast.analysis.pooled import compare_pooled
from steadfast.evals.rows import GRADED, PLAIN_ENDS, PLAIN_WORDS, PREFERENCE, PUBLIC, REPLY_ONLY
from steadfast.report.judged import TRAITS, Judged, Standing, compare_judged, compare_judged_suites, standing
from steadfast.report.loading import Run
from steadfast.study.arms import BASELINE, PRE_RL, WARM_START, Arm, Scope

_REFUSED = pl.col("refused").cast(pl.Float64)
_CUT_OFF = 1.0 - pl.col("finished").cast(pl.Float64)
_LENGTH = pl.col("length")
_EVERYTHING = Scope()


@dataclass(frozen=True)
class CheckpointComparison:
    """The comparison of one checkpoint with another. A field is None where the run measured nothing of it.

    Attributes:
        treatment: The name of the checkpoint that is asked about.
        control: The name of the checkpoint that it is compared with.
        scope: The evals that the arm's question is about.
        battery: The evals in the scope, by likelihood: pairs won by pointwise mutual information over word tokens.
        rest: The evals outside the scope, by likelihood.
        free: Free answers to the evals in the scope, scored by each task's own grader, above the floor of each eval.
        free_rest: Free answers to the evals outside the scope.
        graded: The logistic form of `battery`, over the scope's tasks.
        plain_words: Pairs won over the scope's tasks by word tokens, with no mismatched conversation taken off.
        plain_ends: The same by punctuation and the end of the turn.
        reply_only: The same by word tokens after a greeting.
        public: Public benchmarks.
        traits: Free answers to held-out scenarios, scored by the evaluation judge, above their floor.
        traits_by_training_judge: The same answers, scored by the judge that trained, above the floor by that judge.
        traits_choice: The held-out scenarios by the likelihood of their gold answers, as `battery`, without a judge.
        traits_words: The same by word tokens alone, with no mismatched conversation taken off.
        traits_ends: The same by punctuation and the end of the turn.
        traits_elsewhere: `traits` in domains that the arm was not trained on, for an arm that leaves some out.
        traits_unrefused: `traits` where neither checkpoint refused.
        traits_cut_off: The share of the held-out scenarios' answers that were cut off.
        traits_length: The length of the held-out scenarios' answers, in characters.
        standing: The treatment's answers to held-out scenarios against the best constant answer.
        standing_control: The control's.
        by_trait: `traits`, with one entry for each trait, each above its own floor.
        capability: Held-out verifiable tasks.
        refusal: The share of free answers to evals that refuse.
        chat_refusal: The share of answers to everyday requests that refuse.
        cut_off: The share of all free answers that the token limit cut off.
        length: The length of all free answers, in characters.
        headline_over_seeds: The headline's mean over training seeds; None with one seed.
        capability_over_seeds: The same of the verifiable tasks.
    """

    treatment: str
    control: str
    scope: Scope
    battery: Comparison | None
    rest: Comparison | None
    free: Comparison | None
    free_rest: Comparison | None
    graded: EvalComparison | None
    plain_words: EvalComparison | None
    plain_ends: EvalComparison | None
    reply_only: EvalComparison | None
    public: Comparison | None
    traits: Judged | None
    traits_by_training_judge: Judged | None
    traits_choice: EvalComparison | None
    traits_words: EvalComparison | None
    traits_ends: EvalComparison | None
    traits_elsewhere: Judged | None
    traits_unrefused: Judged | None
    traits_cut_off: EvalComparison | None
    traits_length: EvalComparison | None
    standing: Standing | None
    standing_control: Standing | None
    by_trait: Comparison | None
    capability: Comparison | None
    refusal: EvalComparison | None
    chat_refusal: EvalComparison | None
    cut_off: EvalComparison | None
    length: EvalComparison | None
    headline_over_seeds: OverSeeds | None = None
    capability_over_seeds: OverSeeds | None = None

    @property
    def headline(self) -> Comparison | None:
        """The evals in the scope, by likelihood where that was measured, else by free answers."""
        return self.battery or self.free

    @property
    def headline_rest(self) -> Comparison | None:
        """The evals outside the scope, scored as the headline's are."""
        return self.rest if self.battery else self.free_rest


def compare_checkpoints(run: Run, treatment: str, control: str) -> CheckpointComparison:
    """Compare two checkpoints of a run in everything that was measured."""
    arm = run.recipe.arm(treatment)
    scope = arm.scope
    battery, free, traits = run.scored("eval", PREFERENCE), run.answers("eval"), run.answers("trait")
    chat = run.answers("chat")
    untrained = _untrained(arm)
    pair = (treatment, control)

    constants, by_training = run.constants("trait"), run.training_judge

    def pooled(rows: pl.DataFrame, score: pl.Expr | None = None) -> EvalComparison | None:
        return _pooled(rows, *pair, score)

    def scoped(rows: pl.DataFrame, chosen: Scope | None = _EVERYTHING) -> Comparison | None:
        return None if chosen is None else _compare(rows, *pair, chosen)

    def answered(chosen: Scope | None) -> Comparison | None:
        if chosen is None:
            return None
        return compare_judged_suites(_within(free, chosen), _within(run.constants("eval"), chosen), *pair)

    def judged(rows: pl.DataFrame, beside: pl.DataFrame = constants) -> Judged | None:
        return compare_judged(rows, beside, *pair)

    def stands(checkpoint: str) -> Standing | None:
        return standing(traits, constants, checkpoint, TRAITS, run.evaluation_judge)

    def beside(kind: str, grader: str) -> EvalComparison | None:
        rows = run.scored(kind, grader)
        return pooled(_within(rows, scope) if kind == "eval" else rows)

    return CheckpointComparison(
        treatment=treatment,
        control=control,
        scope=scope,
        battery=scoped(battery, scope),
        rest=scoped(battery, scope.rest()),
        free=answered(scope),
        free_rest=answered(scope.rest()),
        graded=beside("eval", GRADED),
        plain_words=beside("eval", PLAIN_WORDS),
        plain_ends=beside("eval", PLAIN_ENDS),
        reply_only=beside("eval", REPLY_ONLY),
        public=scoped(run.scored("public", PUBLIC)),
        traits=judged(traits),
        traits_by_training_judge=judged(run.answers("trait", by_training), run.constants("trait", by_training)),
        traits_choice=beside("trait", PREFERENCE),
        traits_words=beside("trait", PLAIN_WORDS),
        traits_ends=beside("trait", PLAIN_ENDS),
        traits_elsewhere=None if untrained is None else judged(traits.filter(untrained)),
        traits_unrefused=judged(_where_both(traits, pair, pl.col("refused").fill_null(0) == 0)),
        traits_cut_off=pooled(traits, _CUT_OFF),
        traits_length=pooled(traits, _LENGTH),
        standing=stands(treatment),
        standing_control=stands(control),
        by_trait=compare_judged_suites(traits, constants, *pair),
        capability=scoped(run.answers("capability")),
        refusal=pooled(free, _REFUSED),
        chat_refusal=pooled(chat, _REFUSED),
        cut_off=pooled(pl.concat([free, chat, traits]), _CUT_OFF),
        length=pooled(pl.concat([free, chat, traits]), _LENGTH),
        headline_over_seeds=over_seeds(_within(run.by_seed("eval", PREFERENCE), scope), *pair),
        capability_over_seeds=over_seeds(run.by_seed("capability"), *pair),
    )


def all_comparisons(run: Run) -> list[CheckpointComparison]:
    """Compare every arm with the baseline, the leading one first; trait with helpfulness; and all with pre-RL.

    Where every arm began with a warm start, all are compared with that too.
    """
    pairs = [(arm, BASELINE) for arm in run.treatments]
    pairs += [("trait", "helpfulness")] if {"trait", "helpfulness"} <= set(run.arms) else []
    before = [name for name in (WARM_START, PRE_RL) if name in run.checkpoints]
    pairs += [(arm, control) for control in before for arm in (*run.treatments, BASELINE)]
    return [compare_checkpoints(run, *pair) for pair in pairs]


def _untrained(arm: Arm) -> pl.Expr | None:
    """Select rows of domains that the arm's filters leave out of training; None where they leave out none."""
    left_out = pl.col("domain").is_in(list(arm.without_domains))
    if arm.domains:
        return left_out | ~pl.col("domain").is_in(list(arm.domains))
    return left_out if arm.without_domains else None


def _compare(rows: pl.DataFrame, treatment: str, control: str, scope: Scope) -> Comparison | None:
    rows = _within(rows, scope)
    if not _paired(rows, (treatment, control)):
        return None
    return compare(rows, treatment, control)


def _pooled(rows: pl.DataFrame, treatment: str, control: str, score: pl.Expr | None) -> EvalComparison | None:
    """Compare all tasks together, with suites, or the pairs of one suite, as what is independent."""
    rows = rows if score is None else rows.with_columns(score.alias("score"))
    return compare_pooled(rows, treatment, control)


def _within(rows: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    if scope.domains:
        rows = rows.filter(pl.col("domain").is_in(list(scope.domains)))
    return rows.filter(~pl.col("domain").is_in(list(scope.without_domains)))


def _paired(rows: pl.DataFrame, checkpoints: Collection[str]) -> bool:
    """Tell whether any task is graded in all of the checkpoints."""
    graded = rows.filter(pl.col("checkpoint").is_in(list(checkpoints)) & pl.col("score").is_not_null())
    counts = graded.group_by("suite", "grader", "task", maintain_order=True).agg(pl.col("checkpoint").n_unique())
    return bool((counts["checkpoint"] == len(checkpoints)).any())


def _where_both(rows: pl.DataFrame, checkpoints: Collection[str], holds: pl.Expr) -> pl.DataFrame:
    """Select the rows of tasks for which a condition holds in each of the checkpoints."""
    rows = rows.filter(pl.col("checkpoint").is_in(list(checkpoints)))
    return rows.filter(holds.all().over("suite", "task"))
