"""The transfer ladder as sentences and as a table."""

from collections.abc import Sequence
from math import isnan
from statistics import fmean
from typing import Any

from steadfast.analysis.mixed import MixedEstimate
from steadfast.analysis.points import bounds, points
from steadfast.report.ladder import Ladder, RungContrast, controls
from steadfast.report.ladder_figure import ladder_figure, primary_figure
from steadfast.report.loading import Run
from steadfast.report.primary import family_words
from steadfast.report.svg import Picture
from steadfast.report.wording import bounds_over, direction, over_units, the
from steadfast.study.arms import BASELINE, SHUFFLED
from steadfast.study.rungs import Rung

_WHERE: dict[Rung, str] = {
    "new values": "trained families with new values",
    "new wording": "trained families in a new wording",
    "new domain": "trained families in domains never trained on",
    "new format": "trained families in a new format",
    "near family": "families near to those trained on",
    "far family": "families far from those trained on",
}


def primary_sentence(run: Run, found: Sequence[Ladder]) -> str | None:
    """Say what the primary measure, named before the run, came out as; None if none was named."""
    primary = run.recipe.primary
    ladder = _leading(run, found)
    if primary is None or ladder is None:
        return None
    where = _WHERE[primary.rung]
    against = [c for name in (BASELINE, SHUFFLED) if (c := ladder.contrast(name, primary.rung)) is not None]
    if not against:
        return f"Nothing was measured of {the(ladder.arm)} on {where}."
    said = " and ".join(f"{_change(c)} against {the(c.control)}" for c in against)
    changed = f"On {where}, pair success changes by {said}{_detectable(against)}."
    read = _reading(ladder, primary.rung)
    return " ".join([_verdict(against), changed, read, *_by_family(ladder), *_by_wording(ladder)])


def _reading(ladder: Ladder, rung: Rung) -> str:
    """Say what both sides come to together, which no change of balance between them can raise above zero."""
    said = [
        f"{over_units(r.reading, len(r.by_seed))} for {the(name)}"
        for name in (ladder.arm, BASELINE)
        if (r := ladder.result(name, rung)) is not None
    ]
    return (
        "Both sides' success less 100, which is 0 at most for the same answer to both twins, and 0 for a coin, which "
        f"may earn 25 of pair success: {', '.join(said)}."
    )


def _by_family(ladder: Ladder) -> list[str]:
    """In which families the primary measure stands, since a mean can be the work of one of them."""
    tested = [f for f in ladder.families if not isnan(f.q)]
    if len(tested) < 2:
        return []
    standing = [f"{f.family} ({points(f.difference.estimate)})" for f in tested if f.found]
    which = f": {', '.join(standing)}" if standing else ""
    return [f"Against the baseline it stands in {len(standing)} of {len(tested)} families{which}."]


def _by_wording(ladder: Ladder) -> list[str]:
    """How the primary measure differs between wordings that were trained on and those that were not."""
    by_kind: list[str] = []
    for trained in (True, False):
        found = [w for w in ladder.wordings if w.trained == trained]
        if not found:
            return []
        by_kind.append(points(fmean(w.level - w.control for w in found)))
    return [f"In wordings trained on it is {by_kind[0]}, in a wording never trained on {by_kind[1]}."]


RULE = (
    "The rule of the claim, named before the run: pair success on the primary rung lies above the baseline and above "
    "shuffled rewards, each by Student's 95% interval over training seeds, and neither side of the twins falls while "
    "the other rises, by however little."
)
"""What `_verdict` goes by."""


def _verdict(against: Sequence[RungContrast]) -> str:
    if any(c.seeds < 2 for c in against):
        return "One training run, so nothing is claimed."
    if any(c.detectable is None for c in against):
        return "Every training run gives the same difference, which tells nothing of others, so nothing is claimed."
    ways = [direction(c.difference.low, c.difference.high) for c in against]
    if all(way == 1 for way in ways):
        if any(c.one_sided for c in against):
            return "Not claimed: one side rose and the other fell."
        return "The claim holds." if len(against) > 1 else "Above the baseline; no shuffled control was trained."
    return "Worse." if all(way == -1 for way in ways) else "The claim is not shown."


def _change(contrast: RungContrast) -> str:
    return f"{points(contrast.difference.estimate)} points {bounds_over(contrast.difference, contrast.seeds)}"


def _detectable(against: Sequence[RungContrast]) -> str:
    known = [c.detectable for c in against if c.detectable is not None]
    null = any(not direction(c.difference.low, c.difference.high) for c in against)
    if not known or not null:
        return ""
    return f"; these seeds find a change of {points(max(known), sign=False)} points four times in five"


def primary_picture(run: Run, found: Sequence[Ladder]) -> Picture | None:
    """Draw the primary measure; None if none was named or measured."""
    primary, ladder = run.recipe.primary, _leading(run, found)
    if primary is None or ladder is None or primary.rung not in ladder.rungs:
        return None
    return primary_figure(ladder, primary.rung, _WHERE[primary.rung], _order(run, found))


def _leading(run: Run, found: Sequence[Ladder]) -> Ladder | None:
    return next((one for one in found if one.arm == run.recipe.leading_arm), None)


def _order(run: Run, found: Sequence[Ladder]) -> list[str]:
    """All checkpoints of the ladders, the leading arm first, so that each looks the same in all pictures."""
    first = [ladder] if (ladder := _leading(run, found)) else found
    return list(dict.fromkeys(name for one in first for name in (one.arm, *controls(one))))


def ladder_context(run: Run, found: Sequence[Ladder]) -> list[dict[str, Any]]:
    """What the page shows of each ladder: the level of every arm and the arm's difference from each, by rung."""
    shown: list[dict[str, Any]] = []
    order = _order(run, found)
    for ladder in found:
        arms = [ladder.arm, *controls(ladder)]
        rows: list[dict[str, Any]] = []
        for rung in ladder.rungs:
            cells: list[dict[str, Any] | None] = []
            for arm in arms:
                result, contrast = ladder.result(arm, rung), ladder.contrast(arm, rung)
                if result is None:
                    cells.append(None)
                    continue
                low, high = (contrast.difference.low, contrast.difference.high) if contrast else (0.0, 0.0)
                cells.append(
                    {
                        "level": result.level,
                        "sides": (result.one, result.other),
                        "sampled": result.sampled,
                        "difference": over_units(contrast.difference, contrast.seeds) if contrast else "",
                        "way": direction(low, high),
                        "one_sided": contrast.one_sided if contrast else False,
                        "finds": contrast.detectable if contrast and not direction(low, high) else None,
                    }
                )
            mine = ladder.result(ladder.arm, rung)
            rows.append({"rung": rung, "where": _WHERE[rung], "pairs": mine.pairs if mine else 0, "cells": cells})
        shown.append(
            {"arm": ladder.arm, "arms": arms, "rows": rows, "picture": ladder_figure(ladder, order)} | _primary(ladder)
        )
    return shown


def _primary(ladder: Ladder) -> dict[str, Any]:
    """What the page shows beside the ladder that bears the primary measure: its families, and the mixed model."""
    families = [
        {
            "family": one.family,
            "pairs": one.pairs,
            "level": one.level,
            "control": one.control,
            "difference": over_units(one.difference, one.seeds),
            "p": one.p,
            "q": one.q,
            "words": family_words(one),
        }
        for one in ladder.families
    ]
    mixed = [_mixed_sentence(name, found) for name, found in ladder.mixed.items()]
    elsewhere = [
        {"rung": rung, "difference": over_units(one.difference, one.seeds), "of": one}
        for rung, contrasts in ladder.elsewhere.items()
        for one in contrasts
    ]
    return {"families": families, "elsewhere": elsewhere, "mixed": mixed, "wordings": _wordings(ladder)}


def _wordings(ladder: Ladder) -> list[dict[str, Any]]:
    """What the page shows of the primary measure by wording: a row for each family."""
    numbers = sorted({w.wording for w in ladder.wordings})
    found = {(w.family, w.wording): w for w in ladder.wordings}
    families = dict.fromkeys(w.family for w in ladder.wordings)
    return [{"family": f, "cells": [(n, found.get((f, n))) for n in numbers]} for f in families]


def _mixed_sentence(control: str, found: MixedEstimate) -> str:
    said = f"Against {the(control)}, by a mixed model of seed, family and item: "
    if found.difference is None:
        return f"{said}no interval, because {found.reason}."
    one = found.difference
    spread = ", ".join(
        f"{points(value, sign=False)} over {words}"
        for value, words in ((found.seed, "seeds"), (found.family, "families"), (found.item, "items"))
    )
    caution = f" Beware: {found.reason}." if found.reason else ""
    return f"{said}{points(one.estimate)} points {bounds(one.low, one.high)}; spread {spread}.{caution}"
