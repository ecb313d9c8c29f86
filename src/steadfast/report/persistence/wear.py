"""Ordinary wear in numbers: what of an arm's gain over the baseline is left after what happens to any model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from steadfast.analysis.differences import Contrast
from steadfast.analysis.factorial import Cell, PairedScores
from steadfast.analysis.fieller import Retention, retention
from steadfast.evals.rows import PLAIN, TEMPERATURE, TURN, UNATTACKED
from steadfast.report.persistence.attack import measured_doses
from steadfast.report.persistence.inputs import Attacked
from steadfast.report.persistence.measures import COHERENCE, Key, Measure
from steadfast.study.arms import BASELINE

Kind = Literal["fine-tuning", "weights", "turn", "temperature"]


@dataclass(frozen=True)
class Wear:
    """One kind of wear.

    Attributes:
        kind: What it is.
        name: The attack's name, the turn or the temperature.
        dose: The updates of fine-tuning; 0 for all else.
        conditions: The conditions under which it is asked, which weigh the same.
    """

    kind: Kind
    name: str
    dose: int
    conditions: tuple[str, ...] = (PLAIN,)

    def cells(self, checkpoint: str) -> list[Cell]:
        """The cells of a worn checkpoint."""
        attack = self.name if self.kind in ("fine-tuning", "weights") else None
        return [Cell(checkpoint, c, attack, self.dose if attack else 0) for c in self.conditions]


@dataclass(frozen=True)
class Worn:
    """What one kind of wear left of an arm's gain over the baseline.

    Attributes:
        wear: The wear.
        measure: The key of what was measured.
        arm: The arm.
        before: The gain before.
        after: The gain after, with the baseline worn too.
        change: The latter less the former.
        left: The share of the gain that is left.
        coherence: The change of each coherence measure in the arm, by key.
    """

    wear: Wear
    measure: Key
    arm: str
    before: Contrast
    after: Contrast
    change: Contrast
    left: Retention
    coherence: tuple[tuple[Key, Contrast], ...]


def worn_of(
    measures: Sequence[Measure], attacks: Sequence[Attacked], arms: Sequence[str], gaps: list[str]
) -> tuple[Worn, ...]:
    """Compute what each kind of wear left of each arm's gain; empty where nothing was worn.

    Args:
        measures: What was measured; see `measures_of`.
        attacks: What was done to checkpoints, of which benign fine-tuning and changes of weights count as wear.
        arms: The arms whose gain is asked for.
        gaps: To this is added why something that was measured could not be computed.
    """
    coherence = [m for m in measures if m.key in COHERENCE]
    beside: dict[tuple[Wear, str], tuple[tuple[Key, Contrast], ...]] = {}
    found: list[Worn] = []
    for measure in (m for m in measures if m.key not in COHERENCE):
        for arm in arms:
            for wear in _kinds(measure, attacks):
                if (wear, arm) not in beside:
                    changes = ((m.key, _change(m, arm, wear.cells(arm), gaps)) for m in coherence)
                    beside[wear, arm] = tuple((key, c) for key, c in changes if c is not None)
                one = _worn(measure, wear, arm, beside[wear, arm], gaps)
                found += [one] if one else []
    return tuple(found)


def _kinds(measure: Measure, attacks: Sequence[Attacked]) -> list[Wear]:
    found: list[Wear] = []
    sorts: dict[str, Kind] = {"benign": "fine-tuning", "weights": "weights"}
    for sort, kind in sorts.items():
        for attack in sorted((a for a in attacks if a.kind == sort), key=_as_shipped):
            doses = measured_doses(measure, attack.name, [BASELINE]).get(BASELINE, ())
            found += [Wear(kind, attack.name, dose) for dose in doses]
    conditions = sorted(measure.rows.filter(UNATTACKED)["condition"].unique().to_list())
    temperatures = [c for c in conditions if c.startswith(TEMPERATURE)]
    found += [Wear("temperature", c.removeprefix(TEMPERATURE), 0, (c,)) for c in sorted(temperatures, key=_number)]
    turns: dict[str, list[str]] = {}
    for condition in sorted((c for c in conditions if c.startswith(TURN)), key=_number):
        turns.setdefault(condition.removeprefix(TURN).partition("/")[0], []).append(condition)
    return found + [Wear("turn", turn, 0, tuple(of_turn)) for turn, of_turn in turns.items()]


def _as_shipped(attack: Attacked) -> tuple[int, str]:
    """Formats of weights from the finest to the coarsest, then the rest by name."""
    from steadfast.models.quantization import WEIGHT_FORMATS  # it loads torch, which nothing else here needs

    formats = list[str](WEIGHT_FORMATS)
    return (formats.index(attack.name) if attack.name in formats else len(formats), attack.name)


def _number(condition: str) -> tuple[float, str]:
    number = condition.partition(":")[2].partition("/")[0]
    return (float(number) if number.replace(".", "", 1).isdigit() else float("inf"), condition)


def _paired(measure: Measure, cells: Sequence[Cell], gaps: list[str]) -> PairedScores | None:
    """Pair the scores of cells; None where one was not measured, or, with the reason kept, where they do not pair."""
    keys = measure.rows_of(cells).select("checkpoint", "condition", "attack", pl.col("dose").fill_null(0)).unique()
    there = set(keys.iter_rows())
    if any((c.checkpoint, c.condition, c.attack, c.dose) not in there for c in cells):
        return None
    try:
        return measure.paired(cells)
    except ValueError as error:
        gaps.append(str(error))
        return None


def _worn(
    measure: Measure, wear: Wear, arm: str, coherence: tuple[tuple[Key, Contrast], ...], gaps: list[str]
) -> Worn | None:
    """What one kind of wear left; None where it was not measured in the arm and the baseline, or cannot be paired."""
    mine, others = wear.cells(arm), wear.cells(BASELINE)
    paired = _paired(measure, [Cell(arm), Cell(BASELINE), *mine, *others], gaps)
    if paired is None:
        return None
    share, nothing = 1.0 / len(mine), [0.0] * (2 * len(mine))
    before = measure.contrast(paired, [1.0, -1.0, *nothing])
    after = measure.contrast(paired, [0.0, 0.0, *([share] * len(mine)), *([-share] * len(mine))])
    change = measure.contrast(paired, [-1.0, 1.0, *([share] * len(mine)), *([-share] * len(mine))])
    return Worn(
        wear=wear,
        measure=measure.key,
        arm=arm,
        before=before,
        after=after,
        change=change,
        left=retention(after.values, before.values),
        coherence=coherence,
    )


def _change(measure: Measure, arm: str, worn: Sequence[Cell], gaps: list[str]) -> Contrast | None:
    """How far a coherence measure moved in the arm; None where it was not measured after the wear, or does not pair."""
    weights = {Cell(arm): -1.0} | dict.fromkeys(worn, 1.0 / len(worn))
    paired = _paired(measure, list(weights), gaps)
    return None if paired is None else measure.contrast(paired, list(weights.values()))
