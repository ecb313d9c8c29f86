"""What the page shows of judged scores and their floor."""

from collections.abc import Sequence
from math import isnan
from statistics import fmean
from typing import Any

from steadfast.report import wording
from steadfast.report.judged import TRAITS, Judged, Standing, constants_table
from steadfast.report.loading import Run
from steadfast.report.summary import CheckpointComparison


def judged_context(run: Run, stands: Sequence[Standing]) -> dict[str, Any] | None:
    """Give the page's section on judged scores what it shows; None where no judge graded answers.

    Args:
        run: The run.
        stands: Every checkpoint against the best constant answer; see `standings`.
    """
    if not stands:
        return None
    tables = constants_table(run)
    return {
        "pooled": [_row(s) for s in stands if s.measure == TRAITS],
        "suites": [_row(s) for s in stands if s.measure != TRAITS],
        "names": [wording.constant(name) for name in tables[0]["scores"]] if tables else [],
        "constants": [
            {
                "measure": _measure(t["measure"]),
                "judge": t["judge"],
                "items": t["items"],
                "scores": list(t["scores"].values()),
                "best": max((s for s in t["scores"].values() if s is not None), default=None),
            }
            for t in tables
        ],
    }


def judged_evals(v: CheckpointComparison) -> frozenset[str]:
    """The judged evals of a comparison, in its scope and outside it, by name."""
    entries = [e for c in (v.free, v.free_rest) if c for e in c.evals]
    return frozenset(e.suite for e in entries if e.grader in ("rubric", "several"))


def beside_levels(entries: Sequence[Judged]) -> str | None:
    """Write what stands under judged levels: the floor, what the judge gave, what was cut off, and the bounds.

    Args:
        entries: The judged evals of a mean, or the one entry of a pooled measure; None comes of none.
    """
    if not entries:
        return None
    floor = f"floor {fmean(e.floor for e in entries):.3f}"
    if len(entries) > 1:
        floor = f"mean {floor}"
    elif entries[0].constant:
        floor += f" ({wording.constant(entries[0].constant)})"
    raw = [fmean(getattr(e.raw, side) for e in entries) for side in ("control", "treatment")]
    cut = [fmean(e.unfinished[side] for e in entries) for side in (1, 0)]
    text = f"{floor}; as judged {raw[0]:.3f} \N{RIGHTWARDS ARROW} {raw[1]:.3f}"
    if not any(cut):
        return text
    bounds = wording.bounds(fmean(e.bounds.low for e in entries), fmean(e.bounds.high for e in entries))
    return f"{text}; unfinished {cut[0]:.0%} \N{RIGHTWARDS ARROW} {cut[1]:.0%}; bounds {bounds}"


def _row(s: Standing) -> dict[str, Any]:
    verdict = "above" if s.above else "below" if s.below else "unknown" if isnan(s.low) else "not above"
    return {"of": s, "measure": _measure(s.measure), "verdict": verdict, "constant": wording.constant(s.constant or "")}


def _measure(name: str) -> str:
    return name if name == TRAITS else wording.suite_title(name)
