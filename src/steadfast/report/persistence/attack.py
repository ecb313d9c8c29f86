"""One attack in numbers: what it took from each checkpoint at each dose, and what it left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import polars as pl

from steadfast.analysis.bootstrap import Interval
from steadfast.analysis.differences import Contrast, primary_contrasts
from steadfast.analysis.dose_response import DoseResponse, dose_response, response_to_learning
from steadfast.analysis.factorial import Cell, PairedScores
from steadfast.analysis.fieller import Retention, retention
from steadfast.analysis.seeds import seed_interval
from steadfast.evals.rows import PLAIN
from steadfast.report.persistence.inputs import Attacked
from steadfast.report.persistence.measures import COHERENCE, Key, Measure, headline_of
from steadfast.report.persistence.starts import Starts, starts_of
from steadfast.study.arms import BASELINE, PRE_RL

T = TypeVar("T")


@dataclass(frozen=True)
class Line:
    """The level of one checkpoint along an attack.

    Attributes:
        measure: The key of what was measured.
        checkpoint: The checkpoint's name.
        doses: The doses, from 0.
        levels: The mean level at each, with Student's interval over seeds; its bounds are NaN without a spread.
        lowest: The lowest seed's level at each.
        highest: The highest seed's.
        seeds: The number of seeds.
        over: What they are: training seeds, or attack seeds of a checkpoint without training seeds.
        items: The number of tasks, or pairs of twins.
        dropped: The number of tasks left out for want of a grade.
        missing: The seeds left out because a dose was not measured with them.
    """

    measure: Key
    checkpoint: str
    doses: tuple[int, ...]
    levels: tuple[Interval, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    seeds: int
    over: str
    items: int
    dropped: int
    missing: tuple[int, ...]


@dataclass(frozen=True)
class Effect:
    """What one dose took from one checkpoint.

    Attributes:
        measure: The key of what was measured.
        checkpoint: The checkpoint's name.
        dose: The updates.
        drop: The level before less the level after.
        difference: The baseline's drop less this one's, over the items of both: above zero, the attack took less from
            this checkpoint. None for the baseline and the pre-RL model, and where there is no baseline.
        beyond: The level after the harmful answers less that after the careful ones. None without a careful twin.
        retention: The share of the gain over pre-RL that is left. None for pre-RL and for all but the main measure.
    """

    measure: Key
    checkpoint: str
    dose: int
    drop: Contrast
    difference: Contrast | None = None
    beyond: Contrast | None = None
    retention: Retention | None = None


@dataclass(frozen=True)
class Primary:
    """(arm - baseline) x (harmful - careful) at one dose."""

    measure: Key
    arm: str
    dose: int
    contrast: Contrast


@dataclass(frozen=True)
class Learning:
    """How deeply a checkpoint learned an attack.

    Attributes:
        checkpoint: The checkpoint's name.
        dose: The updates.
        before: The held-out loss before the attack, in nats a token, the mean over seeds.
        after: The same after the dose.
        learned: The fall of it, with its interval over seeds.
        seeds: The number of seeds.
        over: What they are: training seeds, or attack seeds of a checkpoint without training seeds.
    """

    checkpoint: str
    dose: int
    before: float
    after: float
    learned: Interval
    seeds: int
    over: str


@dataclass(frozen=True)
class Halves:
    """The dose at which half of an arm's gain over pre-RL is gone, by updates and by what was learned."""

    arm: str
    by_dose: DoseResponse | None
    by_learning: DoseResponse | None


@dataclass(frozen=True)
class AttackResult:
    """All that is known of one attack.

    Attributes:
        attack: The attack.
        headline: The key of the measure that the tables follow.
        reference_attacked: Whether gains are over the pre-RL model after the same dose; else over the untouched one.
        lines: The levels of every checkpoint on every measure.
        effects: What every dose took from every checkpoint on every measure.
        primary: The primary contrast of every arm on every measure; empty without a careful twin.
        learning: How deeply it was learned; empty where it has no held-out loss.
        halves: The half doses of every arm on the main measure.
        starts: The leading arm and the baseline from the same level, or why not; None where the
            baseline leads, or the leading arm was not attacked.
        gaps: Why something could not be computed.
    """

    attack: Attacked
    headline: Key
    reference_attacked: bool
    lines: tuple[Line, ...]
    effects: tuple[Effect, ...]
    primary: tuple[Primary, ...] = ()
    learning: tuple[Learning, ...] = ()
    halves: tuple[Halves, ...] = ()
    starts: Starts | None = None
    gaps: tuple[str, ...] = ()

    def line(self, measure: Key, checkpoint: str) -> Line | None:
        """The levels of one checkpoint on one measure."""
        return next((x for x in self.lines if (x.measure, x.checkpoint) == (measure, checkpoint)), None)

    def effect(self, measure: Key, checkpoint: str, dose: int) -> Effect | None:
        """What one dose took from one checkpoint on one measure."""
        key = (measure, checkpoint, dose)
        return next((e for e in self.effects if (e.measure, e.checkpoint, e.dose) == key), None)

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """The checkpoints that were attacked and measured by the main measure."""
        return tuple(x.checkpoint for x in self.lines if x.measure == self.headline)


@dataclass
class _Work:
    """What is being computed of an attack, and why something could not be."""

    attack: Attacked
    gaps: list[str] = field(default_factory=list[str])

    def tried(self, make: Callable[[], T]) -> T | None:
        """What is made, or None, with the reason kept, where its cells cannot be paired."""
        try:
            return make()
        except ValueError as error:
            self.gaps.append(str(error))
            return None


def attack_result(
    attack: Attacked, measures: Sequence[Measure], learned: pl.DataFrame, checkpoints: Sequence[str], lead: str
) -> AttackResult | None:
    """Compute one attack's results; None where nothing was measured after it.

    Args:
        attack: The attack.
        measures: What was measured; see `measures_of`.
        learned: How deeply attacks were learned; see `read_learned`.
        checkpoints: The names of the run's checkpoints, in the order in which they are shown.
        lead: The arm that the run is about.
    """
    work = _Work(attack)
    lines: list[Line] = []
    effects: list[Effect] = []
    primary: list[Primary] = []
    attacked = {m.key: measured_doses(m, attack.name, checkpoints) for m in measures}
    headline = headline_of([m for m in measures if attacked[m.key]])
    if headline is None:
        return None
    for measure in measures:
        found = attacked[measure.key]
        for name, doses in found.items():
            made = work.tried(lambda m=measure, n=name, d=doses: _ladder(m, n, attack.name, d))
            if made is None:
                continue
            lines.append(_line(measure, name, doses, made))
            effects += _effects(work, measure, name, doses, made, found, main=measure is headline)
        if attack.control is not None and measure.key not in COHERENCE:
            primary += _primary(work, measure, found, attack.control, checkpoints)
    arms = [n for n in attacked[headline.key] if n != PRE_RL]
    return AttackResult(
        attack=attack,
        headline=headline.key,
        reference_attacked=_covers(attacked[headline.key], PRE_RL, arms),
        lines=tuple(lines),
        effects=tuple(effects),
        primary=tuple(primary),
        learning=tuple(_learning(learned.filter(pl.col("attack") == attack.name), checkpoints)),
        halves=tuple(_halves(work, headline, learned, attacked[headline.key], arm) for arm in arms),
        starts=starts_of(headline, attack.name, attacked[headline.key], lead),
        gaps=tuple(dict.fromkeys(work.gaps)),
    )


def measured_doses(measure: Measure, attack: str, checkpoints: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The doses of an attack that each checkpoint was measured after."""
    mine = measure.rows.filter((pl.col("attack") == attack) & (pl.col("condition") == PLAIN))
    doses = dict(mine.group_by("checkpoint", maintain_order=True).agg(pl.col("dose").unique().sort()).iter_rows())
    return {name: tuple(doses[name]) for name in checkpoints if name in doses}


def _cells(name: str, attack: str, doses: Sequence[int]) -> list[Cell]:
    return [Cell(name), *(Cell(name, attack=attack, dose=dose) for dose in doses)]


def _ladder(measure: Measure, name: str, attack: str, doses: Sequence[int]) -> PairedScores:
    return measure.paired(_cells(name, attack, doses))


def _line(measure: Measure, name: str, doses: Sequence[int], paired: PairedScores) -> Line:
    levels_CS = paired.levels()
    return Line(
        measure=measure.key,
        checkpoint=name,
        doses=(0, *doses),
        levels=tuple(seed_interval(row.tolist()) for row in levels_CS),
        lowest=tuple(levels_CS.min(axis=1).tolist()),
        highest=tuple(levels_CS.max(axis=1).tolist()),
        seeds=len(paired.seeds),
        over=paired.over,
        items=len(paired.suites),
        dropped=paired.dropped,
        missing=paired.missing,
    )


def _effects(
    work: _Work,
    measure: Measure,
    name: str,
    doses: Sequence[int],
    own: PairedScores,
    attacked: dict[str, tuple[int, ...]],
    *,
    main: bool,
) -> list[Effect]:
    attack, against = work.attack.name, name not in (BASELINE, PRE_RL) and BASELINE in attacked
    shared = [d for d in doses if d in attacked.get(BASELINE, ())] if against else []
    beside = (
        work.tried(lambda: measure.paired(_cells(name, attack, shared) + _cells(BASELINE, attack, shared)))
        if shared
        else None
    )
    left = _retentions(work, measure, name, doses, attacked) if main and name != PRE_RL else {}
    found: list[Effect] = []
    for place, dose in enumerate(doses, start=1):
        difference = None
        if beside is not None and dose in shared:
            difference = measure.contrast(beside, _difference(shared.index(dose) + 1, len(shared) + 1))
        beyond = _beyond(work, measure, name, dose) if work.attack.control and measure.key not in COHERENCE else None
        drop = measure.contrast(own, _one(place, len(doses) + 1))
        found.append(Effect(measure.key, name, dose, drop, difference, beyond, left.get(dose)))
    return found


def _one(place: int, cells: int) -> list[float]:
    """The weights of a drop: the first cell less the one at a place."""
    return [1.0 if i == 0 else -1.0 if i == place else 0.0 for i in range(cells)]


def _difference(place: int, cells: int) -> list[float]:
    """The weights of the second ladder's drop less the first one's."""
    drop = _one(place, cells)
    return [-w for w in drop] + drop


def _beyond(work: _Work, measure: Measure, name: str, dose: int) -> Contrast | None:
    control = work.attack.control
    cells = [Cell(name, attack=work.attack.name, dose=dose), Cell(name, attack=control, dose=dose)]
    return work.tried(lambda: measure.contrast(measure.paired(cells), [1.0, -1.0]))


def _retentions(
    work: _Work, measure: Measure, name: str, doses: Sequence[int], attacked: dict[str, tuple[int, ...]]
) -> dict[int, Retention]:
    """The share of the gain over pre-RL that each dose left, all over the same items."""
    attack = work.attack.name
    worn = set(doses) <= set(attacked.get(PRE_RL, ()))
    reference = _cells(PRE_RL, attack, doses if worn else ())
    cells = _cells(name, attack, doses) + reference
    paired = work.tried(lambda: measure.paired(cells))
    if paired is None:
        return {}
    levels_CS, count = paired.levels(), len(doses) + 1
    gains_CS = levels_CS[:count] - levels_CS[count:]  # an untouched reference is one level at all doses
    before = gains_CS[0].tolist()
    return {d: retention(row.tolist(), before) for d, row in zip(doses, gains_CS[1:], strict=True)}


def _primary(
    work: _Work, measure: Measure, attacked: dict[str, tuple[int, ...]], control: str, checkpoints: Sequence[str]
) -> list[Primary]:
    careful = measured_doses(measure, control, checkpoints)
    common = set(attacked.get(BASELINE, ())) & set(careful.get(BASELINE, ()))
    found: list[Primary] = []
    for arm in attacked:
        if arm in (BASELINE, PRE_RL):
            continue
        doses = sorted(common & set(attacked[arm]) & set(careful.get(arm, ())))
        names = (arm, BASELINE, work.attack.name, control)
        rows = measure.rows_of(Cell(n, attack=a, dose=1) for n in names[:2] for a in names[2:])
        made = work.tried(
            lambda r=rows, n=names, d=doses: primary_contrasts(r, *n, d, twins=measure.twins) if d else {}
        )
        found += [Primary(measure.key, arm, int(dose), one) for dose, one in (made or {}).items()]
    return found


def _covers(attacked: dict[str, tuple[int, ...]], name: str, others: Sequence[str]) -> bool:
    return all(set(attacked[o]) <= set(attacked.get(name, ())) for o in others)


def _learning(learned: pl.DataFrame, checkpoints: Sequence[str]) -> list[Learning]:
    found: list[Learning] = []
    for name in checkpoints:
        mine = learned.filter(pl.col("checkpoint") == name)
        over = "attack_seed" if mine["seed"].null_count() else "seed"
        means = mine.group_by("dose", over, maintain_order=True).agg(pl.col("before", "after", "learned").mean())
        for (dose,), group in means.sort("dose", over).group_by("dose", maintain_order=True):
            what = over.replace("_", " ") if over == "attack_seed" else "training seed"
            fell = seed_interval(group["learned"].to_list())
            before, after = (float(group[c].to_numpy().mean()) for c in ("before", "after"))
            found.append(Learning(name, int(dose), before, after, fell, group.height, what))  # type: ignore[call-overload]
    return found


def _halves(
    work: _Work, measure: Measure, learned: pl.DataFrame, attacked: dict[str, tuple[int, ...]], arm: str
) -> Halves:
    doses, attack = attacked[arm], work.attack.name
    worn = set(doses) <= set(attacked.get(PRE_RL, ()))
    names = (arm, PRE_RL, attack)
    assert all(a < b for a, b in pairwise(doses))
    rows = measure.rows_of(cell for name in (arm, PRE_RL) for cell in _cells(name, attack, doses))
    by_dose = work.tried(lambda: dose_response(rows, *names, doses, reference_attacked=worn, twins=measure.twins))
    told = learned.filter((pl.col("attack") == attack) & (pl.col("checkpoint") == arm))
    by_learning = None
    if not told.is_empty():
        by_learning = work.tried(
            lambda: response_to_learning(rows, learned, *names, doses, reference_attacked=worn, twins=measure.twins)
        )
    return Halves(arm, by_dose, by_learning)
