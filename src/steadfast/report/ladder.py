"""The transfer ladder: how far pair success spreads from what was trained, arm by arm, with intervals over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from steadfast.analysis.bootstrap import Interval
from steadfast.analysis.mixed import MixedEstimate
from steadfast.analysis.pairs import by_seed, pair_successes
from steadfast.analysis.seeds import detectable_of, seed_interval
from steadfast.evals.rows import PLAIN, SAMPLED
from steadfast.report.loading import Run
from steadfast.report.primary import (
    FamilyContrast,
    WordingContrast,
    family_contrasts,
    mixed_contrast,
    wording_contrasts,
)
from steadfast.study.arms import BASELINE, PRE_RL, SHUFFLED, Arm
from steadfast.study.rungs import RUNGS, Rung, TrainedTwins, rung_of


@dataclass(frozen=True)
class RungResult:
    """One arm on one rung.

    Attributes:
        arm: The arm.
        rung: The rung, as it lies from what the ladder's arm was trained on.
        pairs: The number of pairs that each seed measured.
        level: The mean pair success over seeds, in [0, 1].
        by_seed: The pair success of each seed, in the recipe's order.
        one: The mean success on the first twins.
        other: The mean success on their twins; a rise of one alone is a one-sided shift.
        reading: The sum of both twins' success less one, with its interval over training seeds. The same answer to both
            twins is right for one of them at most, so without reading the words that differ it is 0 or less.
        sampled: The mean pair success at the training temperature; None where that was not asked.
    """

    arm: str
    rung: Rung
    pairs: int
    level: float
    by_seed: tuple[float, ...]
    one: float
    other: float
    reading: Interval
    sampled: float | None = None


@dataclass(frozen=True)
class RungContrast:
    """The ladder's arm against another on one rung.

    Attributes:
        rung: The rung.
        control: The other arm.
        difference: The arm's pair success minus the other's, with its interval over training seeds.
        one_sided: Whether one side rose and the other fell, so that the change may be a new constant answer.
        detectable: The true difference that this many seeds find four times in five; None where they show no spread.
        seeds: The number of training seeds.
    """

    rung: Rung
    control: str
    difference: Interval
    one_sided: bool
    detectable: float | None
    seeds: int


@dataclass(frozen=True)
class Ladder:
    """What one arm's training did to twins, rung by rung.

    Attributes:
        arm: The arm.
        rungs: The rungs that were measured, from the nearest.
        results: Every arm on every rung.
        contrasts: The arm against each control on every rung.
        families: The arm against the baseline, family by family, on the primary rung alone.
        elsewhere: The same on every other rung.
        mixed: The arm against the baseline and against shuffled rewards by a mixed model, on the primary rung alone.
        wordings: The arm beside the baseline, wording by wording, on the primary rung alone.
    """

    arm: str
    rungs: tuple[Rung, ...]
    results: tuple[RungResult, ...]
    contrasts: tuple[RungContrast, ...]
    families: tuple[FamilyContrast, ...] = ()
    elsewhere: Mapping[Rung, tuple[FamilyContrast, ...]] = field(default_factory=dict[Rung, tuple[FamilyContrast, ...]])
    mixed: Mapping[str, MixedEstimate] = field(default_factory=dict[str, MixedEstimate])
    wordings: tuple[WordingContrast, ...] = ()

    def result(self, arm: str, rung: Rung) -> RungResult | None:
        """One arm on one rung."""
        return next((r for r in self.results if (r.arm, r.rung) == (arm, rung)), None)

    def contrast(self, control: str, rung: Rung) -> RungContrast | None:
        """The arm against one other on one rung."""
        return next((c for c in self.contrasts if (c.control, c.rung) == (control, rung)), None)


def ladders(run: Run) -> list[Ladder]:
    """The ladder of every arm that was trained on twins; empty where no twins were measured."""
    rows = run.results.filter((pl.col("kind") == "twins") & (pl.col("grader") == "program"))
    twins = run.trained_twins
    if rows.is_empty() or twins is None:
        return []
    plain, sampled = (pair_successes(rows.filter(pl.col("condition") == c)) for c in (PLAIN, SAMPLED))
    found = [_ladder(run, run.recipe.arm(name), twins, plain, sampled) for name in run.treatments]
    return [ladder for ladder in found if ladder.rungs]


def _ladder(run: Run, arm: Arm, twins: TrainedTwins, plain: pl.DataFrame, sampled: pl.DataFrame) -> Ladder:
    labelled, drawn = (pairs.with_columns(rung_of(arm, twins).alias("rung")) for pairs in (plain, sampled))
    results: list[RungResult] = []
    contrasts: list[RungContrast] = []
    for rung in RUNGS:
        there = labelled.filter(pl.col("rung") == rung)
        at_training_temperature = by_seed(drawn.filter(pl.col("rung") == rung))
        levels = dict(
            at_training_temperature.group_by("checkpoint", maintain_order=True)
            .agg(pl.col("success").mean())
            .iter_rows()
        )
        on_rung = {
            name: replace(r, sampled=levels.get(name))
            for name in run.checkpoints
            if (r := _result(run, there, name, rung)) is not None
        }
        results += on_rung.values()
        if mine := on_rung.get(arm.name):
            contrasts += [_contrast(mine, other) for name, other in on_rung.items() if name != arm.name]
    measured = {c.rung for c in contrasts}
    ladder = Ladder(arm.name, tuple(r for r in RUNGS if r in measured), tuple(results), tuple(contrasts))
    return _with_primary(run, ladder, labelled, twins.wordings)


def _with_primary(run: Run, ladder: Ladder, labelled: pl.DataFrame, trained: Sequence[int]) -> Ladder:
    """Add what is looked at more closely where the ladder bears the primary measure."""
    primary = run.recipe.primary
    if primary is None or ladder.arm != run.recipe.leading_arm or primary.rung not in ladder.rungs:
        return ladder
    on_rung = {rung: labelled.filter(pl.col("rung") == rung) for rung in ladder.rungs}
    there = on_rung[primary.rung]
    against = [name for name in (BASELINE, SHUFFLED) if ladder.contrast(name, primary.rung) is not None]
    return replace(
        ladder,
        families=tuple(family_contrasts(there, ladder.arm, BASELINE)) if BASELINE in against else (),
        elsewhere={
            rung: tuple(family_contrasts(pairs, ladder.arm, BASELINE, tested=False))
            for rung, pairs in on_rung.items()
            if rung != primary.rung and BASELINE in against
        },
        mixed={name: mixed_contrast(there, ladder.arm, name) for name in against},
        wordings=tuple(wording_contrasts(there, ladder.arm, BASELINE, trained)) if BASELINE in against else (),
    )


def _result(run: Run, pairs: pl.DataFrame, arm: str, rung: Rung) -> RungResult | None:
    mine = pairs.filter(pl.col("checkpoint") == arm)
    if mine.is_empty():
        return None
    success, one, other = (by_seed(mine, value) for value in ("success", "one", "other"))
    reading = one.join(other, on="seed", nulls_equal=True, maintain_order="left")
    seeds: Sequence[int | None] = [None] if arm == PRE_RL else run.recipe.seeds
    scores = dict(zip(success["seed"].to_list(), success["success"].to_list(), strict=True))
    return RungResult(
        arm=arm,
        rung=rung,
        pairs=int(success["pairs"].max() or 0),  # type: ignore[arg-type]
        level=float(success["success"].mean()),  # type: ignore[arg-type]
        by_seed=tuple(scores[s] for s in seeds if s in scores),
        one=float(one["one"].mean()),  # type: ignore[arg-type]
        other=float(other["other"].mean()),  # type: ignore[arg-type]
        reading=seed_interval((reading["one"] + reading["other"] - 1).to_list()),
    )


def _contrast(mine: RungResult, control: RungResult) -> RungContrast:
    others = control.by_seed * len(mine.by_seed) if control.arm == PRE_RL else control.by_seed
    differences = [a - b for a, b in zip(mine.by_seed, others, strict=True)]
    return RungContrast(
        rung=mine.rung,
        control=control.arm,
        difference=seed_interval(differences),
        one_sided=(mine.one - control.one) * (mine.other - control.other) < 0,
        detectable=detectable_of(differences),
        seeds=len(differences),
    )


def controls(ladder: Ladder) -> list[str]:
    """The arms that the ladder's arm is compared with, the baseline first."""
    names = list(dict.fromkeys(c.control for c in ladder.contrasts))
    return sorted(names, key=lambda n: (n != BASELINE, n != SHUFFLED, n == PRE_RL, names.index(n)))
