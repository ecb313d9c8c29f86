"""Personas in numbers: what hostile ones take from each arm, and whether benign ones are followed as before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import polars as pl

from steadfast.analysis.bootstrap import Interval
from steadfast.analysis.differences import Contrast, contrast, contrast_of, persona_contrast
from steadfast.analysis.equivalence import Equivalence, equivalence_over_seeds
from steadfast.analysis.factorial import Cell
from steadfast.analysis.seeds import seed_interval
from steadfast.errors import SteadfastError
from steadfast.evals.rows import FOLLOWED, PERSONA, UNATTACKED
from steadfast.report.loading import Run
from steadfast.report.persistence.measures import COHERENCE, Key, Measure
from steadfast.rundir import RunDirectory
from steadfast.study.arms import BASELINE, PRE_RL

Kind = Literal["hostile", "benign"]


@dataclass(frozen=True)
class Under:
    """One checkpoint, plain and under a persona, the mean over its wordings.

    Attributes:
        checkpoint: The checkpoint's name.
        plain: The level without the persona, over seeds.
        level: The level under it.
        drop: The former less the latter.
        difference: The baseline's drop less this one's; None for the baseline and the pre-RL model.
        lowers: Whether the drop is above zero by its interval: over seeds, or over items for a model without seeds.
    """

    checkpoint: str
    plain: Interval
    level: Interval
    drop: Contrast
    difference: Contrast | None
    lowers: bool


@dataclass(frozen=True)
class Followed:
    """How often a checkpoint follows benign personas.

    Attributes:
        checkpoint: The checkpoint's name.
        rate: The share of answers that follow, over seeds.
        items: The number of answers of each seed.
        seeds: The number of seeds.
        over: What they are; "model" for a checkpoint without.
        same: Whether the arm's share is the baseline's, within the margin; None for the baseline and pre-RL.
    """

    checkpoint: str
    rate: Interval
    items: int
    seeds: int
    over: str
    same: Equivalence | None


@dataclass(frozen=True)
class PersonaResult:
    """One persona, or several taken together.

    Attributes:
        name: Its name; "all hostile" or "all benign" for those taken together.
        kind: Whether it asks for a bad attitude or for a harmless form.
        wordings: The number of its conditions.
        measure: The key of what was measured; None where nothing but whether it was followed.
        under: Every checkpoint, plain and under it.
        followed: How often each checkpoint follows it; empty for hostile personas.
        coherence: The level [checkpoint] under it of each coherence measure, by key.
    """

    name: str
    kind: Kind
    wordings: int
    measure: Key | None
    under: tuple[Under, ...] = ()
    followed: tuple[Followed, ...] = ()
    coherence: tuple[tuple[Key, tuple[tuple[str, float], ...]], ...] = ()

    def of(self, checkpoint: str) -> Under | None:
        """One checkpoint under it."""
        return next((u for u in self.under if u.checkpoint == checkpoint), None)


@dataclass(frozen=True)
class Personas:
    """All personas that a run was asked under.

    Attributes:
        measure: The key of the measure that the figure follows; None where only following was measured.
        each: Every persona on every measure.
        hostile: Those hostile personas together that lower the pre-RL model, by the main measure; None if none does.
        benign: The benign personas together, by whether they are followed; None without any.
        lowering: The names of the hostile personas that lower the pre-RL model.
        gaps: Why something could not be computed.
    """

    measure: Key | None
    each: tuple[PersonaResult, ...]
    hostile: PersonaResult | None
    benign: PersonaResult | None
    lowering: tuple[str, ...]
    gaps: tuple[str, ...] = ()


def personas_of(run: Run, measures: Sequence[Measure], checkpoints: Sequence[str]) -> Personas | None:
    """Compute what personas took and whether they were followed; None where no persona was asked under.

    Args:
        run: The run.
        measures: What was measured; see `measures_of`.
        checkpoints: The names of the run's checkpoints, in the order in which they are shown.

    Raises:
        SteadfastError: The run's protocol does not say whether a persona is hostile or benign.
    """
    rows = run.results.filter(pl.col("condition").str.starts_with(PERSONA) & UNATTACKED)
    if rows.is_empty():
        return None
    named: dict[str, list[str]] = {}
    for condition in sorted(rows["condition"].unique().to_list()):
        named.setdefault(condition.removeprefix(PERSONA).rpartition("/")[0], []).append(condition)
    following = rows.filter(pl.col("grader") == FOLLOWED)
    kinds = {n: _kind(run, conditions[0]) for n, conditions in named.items()}
    benign, hostile = ({n: c for n, c in named.items() if kinds[n] == kind} for kind in ("benign", "hostile"))
    scored = [m for m in measures if m.key not in COHERENCE and _asked(m.rows, rows["condition"].unique().to_list())]
    coherence = [m for m in measures if m.key in COHERENCE]
    gaps: list[str] = []
    each: list[PersonaResult] = []
    groups: list[tuple[Kind, dict[str, list[str]]]] = [("hostile", hostile), ("benign", benign)]
    for kind, group in groups:
        for name, conditions in group.items():
            each += _results(name, kind, conditions, scored, coherence, following, checkpoints, gaps)
    main = next((m for m in scored if _asked(m.rows, [c for cs in hostile.values() for c in cs])), None)
    main = main or next(iter(scored), None)
    lowering = tuple(r.name for r in each if r.kind == "hostile" and main and r.measure == main.key and _lowers(r))
    pooled = [c for n in lowering for c in hostile[n]]
    every = [c for conditions in benign.values() for c in conditions]
    return Personas(
        measure=main.key if main else None,
        each=tuple(each),
        hostile=_pooled("hostile", pooled, main, coherence, checkpoints, gaps) if main and pooled else None,
        benign=PersonaResult(
            "all benign", "benign", len(every), None, followed=_followed(following, every, checkpoints, gaps)
        )
        if every
        else None,
        lowering=lowering,
        gaps=tuple(dict.fromkeys(gaps)),
    )


def _kind(run: Run, condition: str) -> Kind:
    """Whether the persona of a condition is hostile or benign, as the run's protocol says.

    Raises:
        SteadfastError: It does not say it.
    """
    entries = run.protocol.get("personas")
    entry: Any = cast("dict[str, Any]", entries).get(condition) if isinstance(entries, dict) else None
    kind: Any = cast("dict[str, Any]", entry).get("kind") if isinstance(entry, dict) else None
    if kind not in ("hostile", "benign"):
        raise SteadfastError(
            f"{RunDirectory(run.directory).protocol_file}: does not say whether the persona of {condition!r}, of which "
            f"results.parquet has rows, is hostile or benign (personas.{condition}.kind); put back a copy of it, or "
            "begin anew in another directory"
        )
    return kind


def _results(
    name: str,
    kind: Kind,
    conditions: Sequence[str],
    scored: Sequence[Measure],
    coherence: Sequence[Measure],
    following: pl.DataFrame,
    checkpoints: Sequence[str],
    gaps: list[str],
) -> list[PersonaResult]:
    """One persona on every measure that was asked under it; whether it was followed stands with the first."""
    followed = _followed(following, conditions, checkpoints, gaps) if kind == "benign" else ()
    asked = [m for m in scored if _asked(m.rows, conditions)]
    beside = _coherence(coherence, conditions, checkpoints)
    found = [
        PersonaResult(name, kind, len(conditions), m.key, _under(m, conditions, checkpoints, gaps), (), beside)
        for m in asked
    ]
    if followed:
        found.insert(0, PersonaResult(name, kind, len(conditions), None, (), followed, beside))
    return found


def _pooled(
    kind: Kind,
    conditions: Sequence[str],
    measure: Measure,
    coherence: Sequence[Measure],
    checkpoints: Sequence[str],
    gaps: list[str],
) -> PersonaResult:
    under = _under(measure, conditions, checkpoints, gaps)
    beside = _coherence(coherence, conditions, checkpoints)
    return PersonaResult(f"all {kind}", kind, len(conditions), measure.key, under, (), beside)


def _lowers(result: PersonaResult) -> bool:
    before = result.of(PRE_RL)
    return before is not None and before.lowers


def _asked(rows: pl.DataFrame, conditions: Sequence[str]) -> bool:
    return not rows.filter(pl.col("condition").is_in(list(conditions)) & UNATTACKED).is_empty()


def _under(
    measure: Measure, conditions: Sequence[str], checkpoints: Sequence[str], gaps: list[str]
) -> tuple[Under, ...]:
    found: list[Under] = []
    for name in checkpoints:
        try:
            found.append(_one_under(measure, name, conditions))
        except ValueError as error:
            gaps.append(str(error))
    return tuple(found)


def _one_under(measure: Measure, name: str, conditions: Sequence[str]) -> Under:
    share = 1.0 / len(conditions)
    cells = [Cell(name), *(Cell(name, condition) for condition in conditions)]
    paired = measure.paired(cells)
    levels_CS = paired.levels()
    weights = [1.0] + [-share] * len(conditions)
    # Of a model without a training seed nothing but the interval over items tells whether it is lower at all.
    lost = contrast_of(paired, weights) if paired.over == "model" else measure.contrast(paired, weights)
    difference = None
    against = name not in (BASELINE, PRE_RL) and not measure.rows.filter(pl.col("checkpoint") == BASELINE).is_empty()
    if against:
        rows = measure.rows_of([*cells, *(Cell(BASELINE, c.condition) for c in cells)])
        difference = persona_contrast(rows, name, BASELINE, conditions, twins=measure.twins).difference
    low = lost.over_items.low if lost.over == "model" else lost.over_seeds.low
    return Under(
        checkpoint=name,
        plain=seed_interval(levels_CS[0].tolist()),
        level=seed_interval(levels_CS[1:].mean(axis=0).tolist()),
        drop=lost,
        difference=difference,
        lowers=bool(low > 0),
    )


def _followed(
    following: pl.DataFrame, conditions: Sequence[str], checkpoints: Sequence[str], gaps: list[str]
) -> tuple[Followed, ...]:
    share = 1.0 / len(conditions)
    found: list[Followed] = []
    for name in checkpoints:
        try:
            rate = contrast(following, {Cell(name, c): share for c in conditions})
            same = None
            if name not in (BASELINE, PRE_RL) and BASELINE in checkpoints:
                weights = {Cell(name, c): share for c in conditions} | {Cell(BASELINE, c): -share for c in conditions}
                apart = contrast(following, weights)
                same = equivalence_over_seeds(apart.values, over=apart.over)
        except ValueError as error:
            gaps.append(str(error))
            continue
        over = seed_interval(rate.values)
        found.append(Followed(name, over, rate.items * len(conditions), len(rate.seeds), rate.over, same))
    return tuple(found)


def _coherence(
    measures: Sequence[Measure], conditions: Sequence[str], checkpoints: Sequence[str]
) -> tuple[tuple[Key, tuple[tuple[str, float], ...]], ...]:
    """The mean level of each coherence measure under some conditions, by checkpoint; descriptive."""
    found: list[tuple[Key, tuple[tuple[str, float], ...]]] = []
    for measure in measures:
        rows = measure.rows.filter(pl.col("condition").is_in(list(conditions)) & UNATTACKED)
        means = dict(rows.group_by("checkpoint", maintain_order=True).agg(pl.col("score").mean()).iter_rows())
        levels = tuple((n, float(means[n])) for n in checkpoints if n in means and means[n] is not None)
        if levels:
            found.append((measure.key, levels))
    return tuple(found)


def plain_of(results: Sequence[PersonaResult], measure: Key | None) -> list[PersonaResult]:
    """The results on one measure, hostile personas first."""
    return [r for r in results if r.measure is not None and r.measure == measure]
