"""What `steadfast probe` found in a run, as the report and the command line show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steadfast.files import read_json

LEVEL = 0.05
"""At or below this share of directions that know nothing, a direction is said to tell replies apart."""

_PARTS = ("directions", "projections", "weights")


@dataclass(frozen=True)
class Probing:
    """The results in RUN/probing.

    Attributes:
        directions: The content of directions.json.
        projections: The content of projections.json.
        weights: The content of weights.json.
        steering: The content of steering.json; None where the cause was not tried.
    """

    directions: dict[str, Any]
    projections: dict[str, Any]
    weights: dict[str, Any]
    steering: dict[str, Any] | None

    @property
    def layers(self) -> list[int]:
        """The layers that were looked at."""
        return self.directions["layers"]

    @property
    def layer(self) -> int:
        """The layer that was chosen on the half of pairs that made the directions."""
        return self.directions["chosen_layer"]

    @property
    def place(self) -> int:
        """The place of that layer among those looked at."""
        return self.layers.index(self.layer)

    @property
    def names(self) -> list[str]:
        """The sets that have a direction: all traits, twins, then each trait."""
        return self.directions["names"]

    @property
    def shown_set(self) -> str:
        """The set whose direction the section follows: twins, where theirs beats shuffled labels, or all traits.

        A direction that tells nothing apart has a gap of next to nothing, and a shift in such gaps says nothing.
        """
        twins = "twins" in self.names and self.at("twins")["shuffled"]["p"] <= LEVEL
        return "twins" if twins else self.names[0]

    def at(self, name: str, kind: str = "mean") -> dict[str, Any]:
        """What a set's direction is worth at the chosen layer."""
        return self.directions["sets"][name][kind][self.place]

    def checkpoints(self, arm: str) -> list[str]:
        """The labels of an arm as training left it, seed by seed; none of the model that training began from."""
        arms = self.projections["arms"]
        return [label for label in self.projections["moved"] if arms[label][0] == arm and not arms[label][2]]

    def moved(self, arm: str, name: str, way: str) -> list[list[dict[str, Any]]]:
        """How far an arm's checkpoints moved along a set's direction: for each seed a value at each layer."""
        sets = [self.projections["moved"][label]["sets"][name] for label in self.checkpoints(arm)]
        return [of[way] for of in sets if way in of]


def load_probing(directory: Path) -> Probing | None:
    """Read the results of `steadfast probe`; None if a run was not looked into, or not to the end.

    Raises:
        SteadfastError: A file is damaged.
    """
    folder = directory / "probing"
    if not all((folder / f"{part}.json").is_file() for part in _PARTS):
        return None
    directions, projections, weights = (read_json(folder / f"{part}.json") for part in _PARTS)
    steering = folder / "steering.json"
    return Probing(directions, projections, weights, read_json(steering) if steering.is_file() else None)


def separation_rows(found: Probing) -> list[dict[str, Any]]:
    """Tabulate how well each set's direction tells unseen replies apart at the chosen layer, and what else does."""
    rows: list[dict[str, Any]] = []
    for name in found.names:
        at, of = found.at(name), found.directions["sets"][name]
        rows.append(
            {
                "direction": name,
                "pairs": at["pairs"],
                "AUC": f"{at['auc']:.2f} {interval(at['low'], at['high'])}",
                "own pair": f"{at['within']:.0%}",
                "random": interval(at["random"]["low"], at["random"]["high"]),
                "shuffled": interval(at["shuffled"]["low"], at["shuffled"]["high"]),
                "p": f"{at['shuffled']['p']:.3f}",
                "length": f"{at['length']['auc']:.2f}",
                "tokens alone": f"{of['length_alone']:.2f}",
                "sentiment": f"{at['sentiment']['auc']:.2f}",
                "without both": f"{at['without_both']['auc']:.2f}",
            }
        )
    return rows


def projection_rows(found: Probing, arms: Sequence[str]) -> list[dict[str, Any]]:
    """Tabulate how far each arm moved along the leading directions at the chosen layer, the mean over its seeds."""
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys((found.names[0], found.shown_set)):
        for arm in arms:
            cells = {
                way: [at[found.place] for at in found.moved(arm, name, way)] for way in ("fixed", "own", "behaviour")
            }
            if cells["fixed"]:
                rows.append({"direction": name, "arm": arm} | {way: _over_seeds(of) for way, of in cells.items()})
    return rows


def _over_seeds(of: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The mean and the extremes over seeds of a projection; None where none was measured."""
    if not of:
        return None
    gaps = [at["gaps"] for at in of]
    known = [at for at in of if at["cosine"] is not None]
    return {
        "gaps": float(np.mean(gaps)),
        "least": min(gaps),
        "most": max(gaps),
        "cosine": float(np.mean([at["cosine"] for at in known])) if known else None,
        "chance": float(np.mean([at["chance"] for at in known])) if known else None,
        "length": float(np.mean([at["length"] for at in of])),
        "seeds": len(of),
    }


def weight_rows(found: Probing, arms: Sequence[str]) -> list[dict[str, Any]]:
    """Tabulate each arm's change of weights: how large, of which rank, and how alike between seeds and arms."""
    rows: list[dict[str, Any]] = []
    of_label = {label: arm for label, (arm, _, attack, _) in found.projections["arms"].items() if not attack}
    seeds = {label: seed for label, (_, seed, _, _) in found.projections["arms"].items()}
    for arm in arms:
        changes = [c for label, of in found.weights["changes"].items() if of_label.get(label) == arm for c in of]
        if not changes:
            continue
        known = [o for o in found.weights["overlaps"] if {o["one"], o["other"]} <= set(of_label)]
        own = [o for o in known if of_label[o["one"]] == arm == of_label[o["other"]]]
        others = [
            o
            for o in known
            if (of_label[o["one"]] == arm) != (of_label[o["other"]] == arm) and seeds[o["one"]] == seeds[o["other"]]
        ]
        rows.append(
            {
                "arm": arm,
                "relative": _mean(c["relative"] for c in changes if c["relative"] is not None),
                "rank": _mean(c["effective_rank"] for c in changes),
                "between_seeds": _mean(o["written"] for o in own),
                "with_other_arms": _mean(o["written"] for o in others),
                "chance": _mean(o["written_by_chance"] for o in (*own, *others)),
                "cosine_seeds": _mean(o["cosine"] for o in own),
                "cosine_arms": _mean(o["cosine"] for o in others),
            }
        )
    return rows


def _mean(values: Any) -> float | None:
    found = list(values)
    return float(np.mean(found)) if found else None


def steering_rows(found: Probing) -> list[dict[str, Any]]:
    """Tabulate what was done to each checkpoint and what it did; random directions are put together."""
    if found.steering is None:
        return []
    groups: dict[tuple[str, str, float | None], list[dict[str, Any]]] = {}
    for cell in found.steering["cells"]:
        direction = "random" if cell["direction"].startswith("random-") else cell["direction"]
        groups.setdefault((cell["checkpoint"], direction, cell["dose"]), []).append(cell)
    return [
        {"checkpoint": checkpoint, "direction": direction, "dose": dose, "cells": cells, "count": len(cells)}
        | {m: _effect(cells, m) for m in found.steering["measures"]}
        | {key: _mean(c[key] for c in cells) for key in ("neutral_nats_per_token", "looping", "finished")}
        for (checkpoint, direction, dose), cells in groups.items()
    ]


def _effect(cells: Sequence[dict[str, Any]], measure: str) -> dict[str, float]:
    """The effect with its interval over pairs, or of several random directions the mean with the extremes."""
    effects = [c["effect"][measure] for c in cells]
    if len(effects) == 1:
        return effects[0]
    estimates = [e["estimate"] for e in effects]
    return {"estimate": float(np.mean(estimates)), "low": min(estimates), "high": max(estimates)}


def interval(low: float | None, high: float | None) -> str:
    """Write an interval of shares, as in "[0.41, 0.63]"; it is empty where the spread is unknown."""
    return "" if low is None or high is None else f"[{low:.2f}, {high:.2f}]"


def probing_json(found: Probing) -> dict[str, Any]:
    """Collect the headline numbers, ready for JSON."""
    arms = list(dict.fromkeys(name for name, *_ in found.projections["arms"].values()))
    return {
        "layer": found.layer,
        "separation": {name: found.at(name) for name in found.names},
        "moved": projection_rows(found, arms),
        "weights": weight_rows(found, arms),
        "carried": [] if found.steering is None else found.steering["carried"],
        "steered": [{k: v for k, v in row.items() if k != "cells"} for row in steering_rows(found)],
    }
