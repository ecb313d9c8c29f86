"""What was found inside a run, as a section of the report."""

from collections.abc import Sequence
from typing import Any

from steadfast.report.probing import (
    LEVEL,
    Probing,
    projection_rows,
    separation_rows,
    steering_rows,
    weight_rows,
)
from steadfast.report.probing_figure import probing_figure

_MINUS = "\N{MINUS SIGN}"


def probing_context(found: Probing, arms: Sequence[str], lead: str) -> dict[str, Any]:
    """Collect what the section's template shows.

    Args:
        found: The results.
        arms: The run's arms, in the order that gives them their colours.
        lead: The arm that the run is about.
    """
    trained = list(dict.fromkeys(name for name, *_ in found.projections["arms"].values()))
    return {
        "layer": found.layer,
        "verdict": _verdict(found),
        "findings": [*_separated(found), *_twins(found), *_moved(found, lead), *_carried(found, lead)],
        "picture": probing_figure(found, arms),
        "separation": separation_rows(found),
        "moved": [_moved_cells(row) for row in projection_rows(found, trained)],
        "weights": [_weight_cells(row) for row in weight_rows(found, trained)],
        "steered": [_steered_cells(row) for row in steering_rows(found)],
        "pairs": None if found.steering is None else found.steering["pairs"],
        "limits": _limits(found),
    }


def _verdict(found: Probing) -> str:
    """Say of the direction that the section follows whether it is more than what length, sentiment and chance give."""
    name = found.shown_set
    at = found.at(name)
    rivals = {"the length": at["length"]["auc"], "the sentiment": at["sentiment"]["auc"]}
    best = max(rivals, key=lambda key: rivals[key])
    auc = f"{at['auc']:.2f}"
    said = f"At layer {found.layer} the direction of {name} tells {at['pairs']} unseen pairs apart with an AUC of {auc}"
    if at["shuffled"]["p"] > LEVEL:
        return (
            f"{said}, which directions of shuffled labels reach too (p = {at['shuffled']['p']:.2f}): nothing is shown."
        )
    if rivals[best] >= at["auc"] - 0.02:
        return f"{said}, but {best} direction reaches {rivals[best]:.2f}: it may be no more than that."
    return f"{said}; shuffled labels reach {at['shuffled']['high']:.2f} and {best} direction {rivals[best]:.2f}."


def _separated(found: Probing) -> list[str]:
    """Count the traits whose direction beats each rival, and say what is left without length and sentiment."""
    traits = [found.at(n) for n in found.names[1:] if n != "twins"]
    if not traits:
        return []
    beyond = sum(t["shuffled"]["p"] <= LEVEL for t in traits)
    rivals = sum(t["auc"] > max(t["length"]["auc"], t["sentiment"]["auc"]) for t in traits)
    left = sum(t["without_both"]["auc"] for t in traits) / len(traits)
    mean = sum(t["auc"] for t in traits) / len(traits)
    return [
        f"Of {len(traits)} traits with a direction of their own, {beyond} have p \N{LESS-THAN OR EQUAL TO} 0.05 "
        f"against shuffled labels, uncorrected, and {rivals} tell unseen pairs apart better than the directions of "
        f"length and of sentiment do. Their mean AUC is {mean:.2f}, and {left:.2f} when both of these are taken out."
    ]


def _twins(found: Probing) -> list[str]:
    """Say so where right and wrong answers to the run's twins have no direction that tells them apart."""
    if "twins" not in found.names or found.shown_set == "twins":
        return []
    at = found.at("twins")
    return [
        f"Right and wrong answers to twins, which have the same words, are not told apart: AUC {at['auc']:.2f}, and "
        f"{at['within']:.0%} of pairs in order. What follows is along the direction of {found.shown_set}."
    ]


def _moved(found: Probing, lead: str) -> list[str]:
    """Say how far the leading arm moved along the direction, against chance and against the other arms."""
    arms = list(dict.fromkeys(name for name, *_ in found.projections["arms"].values()))
    rows = {r["arm"]: r["fixed"] for r in projection_rows(found, arms) if r["direction"] == found.shown_set}
    if lead not in rows:
        return []
    mine = rows[lead]
    others = ", ".join(f"{arm} {signed(row['gaps'])}" for arm, row in rows.items() if arm != lead)
    cos = ""
    if mine["cosine"] is not None:
        inside = "within" if abs(mine["cosine"]) <= mine["chance"] else "beyond"
        cos = (
            f" The cosine of its shift with the direction is {signed(mine['cosine'])}, {inside} what chance gives "
            f"({mine['chance']:.2f})."
        )
    return [
        f"On the same texts training moved {lead} {signed(mine['gaps'])} of the gap between good and bad along the "
        f"direction of {found.shown_set}{f' ({others})' if others else ''}.{cos}"
    ]


def _carried(found: Probing, lead: str) -> list[str]:
    """Say what of the leading arm's gain goes with the direction, against random directions."""
    if found.steering is None:
        return ["The cause was not tried: the run measures no checked twins."]
    sentences: list[str] = []
    of = [c for c in found.steering["carried"] if c["measure"] == "nats"]
    for c in [c for c in of if not c["direction"].startswith("random-")]:
        random = [r["lost"]["estimate"] for r in of if r["direction"].startswith("random-") and r["seed"] == c["seed"]]
        share = c["share_lost"]
        told = f" ({share['estimate']:.0%} of its gain)" if share else "; its gain is too small for a share"
        sentences.append(
            f"Taking the direction of {c['direction']} out of {lead}, seed {c['seed']}, costs it "
            f"{signed(c['lost']['estimate'])} nats {bounds(c['lost'])} more than it costs the baseline{told}; random "
            f"directions cost {signed(min(random))} to {signed(max(random))}."
        )
    return sentences


def _moved_cells(row: dict[str, Any]) -> dict[str, Any]:
    def cell(of: dict[str, Any] | None) -> str:
        if of is None:
            return "none"
        spread = f" [{signed(of['least'])}, {signed(of['most'])}]" if of["seeds"] > 1 else ""
        return f"{signed(of['gaps'])}{spread}"

    fixed = row["fixed"]
    return {
        "direction": row["direction"],
        "arm": row["arm"],
        **{way: cell(row[way]) for way in ("fixed", "own", "behaviour")},
        "cosine": "none" if fixed["cosine"] is None else signed(fixed["cosine"]),
        "chance": "none" if fixed["chance"] is None else f"{fixed['chance']:.2f}",
        "length": f"{fixed['length']:.3f}",
    }


def _weight_cells(row: dict[str, Any]) -> dict[str, str]:
    digits = {"relative": 4, "rank": 1}
    return {
        k: v if k == "arm" else "none" if v is None else f"{v:.{digits.get(k, 3)}f}".replace("-", _MINUS)
        for k, v in row.items()
    }


def _steered_cells(row: dict[str, Any]) -> dict[str, str]:
    done = (
        "as it is" if not row["direction"] else "taken out" if row["dose"] is None else f"{signed(row['dose'])} added"
    )
    level = row["cells"][0]["level"]
    plain = not row["direction"]

    def cell(measure: str, scale: float) -> str:
        if plain:
            return f"{scale * level[measure]:.1f}" if scale > 1 else signed(level[measure])
        return f"{signed(scale * row[measure]['estimate'])} {bounds(row[measure], scale)}"

    name = row["direction"] or "nothing"
    return {
        "checkpoint": row["checkpoint"],
        "direction": f"{row['count']} random" if name == "random" else name,
        "done": done,
        "nats": cell("nats", 1),
        "preferred": cell("preferred", 100),
        "score": cell("score", 100),
        "pairs": cell("pairs", 100),
        "neutral": signed(row["neutral_nats_per_token"]),
        "looping": f"{row['looping']:.0%}",
        "finished": f"{row['finished']:.0%}",
    }


def _limits(found: Probing) -> list[str]:
    tried = found.at(found.names[0])["pairs"]
    found_limits = [
        f"Good and bad gold replies were written by us, and differ in more than the trait: {tried} unseen pairs by the "
        "same hands cannot tell a trait from a manner of writing.",
        "A direction that tells replies apart need not be one that the model uses; only adding it and taking it out "
        "can show that, and only for what twins measure.",
        "The layer was chosen among those looked at, on the half of the pairs that made the directions. The range over "
        "few seeds is no interval.",
    ]
    if found.steering is not None:
        found_limits.append(
            f"Cause was tried on {found.steering['pairs']} pairs of twins, on one training seed unless more were asked "
            "for: its intervals are over pairs and say nothing of other training runs."
        )
    return found_limits


def signed(value: float) -> str:
    """Write a number with its sign, as in "+0.12"."""
    return f"{value:+.2f}".replace("-", _MINUS)


def bounds(of: dict[str, Any], scale: float = 1.0) -> str:
    """Write the interval of an effect; it is empty where the spread is unknown."""
    if of["low"] is None or of["high"] is None:
        return ""
    return f"[{signed(scale * of['low'])}, {signed(scale * of['high'])}]"
