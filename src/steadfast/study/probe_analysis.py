"""The parts of a probed run that need no model: directions, projections and weights, from arrays to plain data."""

from collections.abc import Callable
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from steadfast.files import read_json, write_atomically
from steadfast.models.adapters import read_adapter
from steadfast.models.all_weights import WEIGHTS_FILE
from steadfast.models.forward import decoder_of
from steadfast.probing.directions import (
    PairSet,
    areas_of,
    cosine,
    cosines,
    left_out_auc,
    length_direction,
    null_of,
    random_directions,
    shuffled_directions,
    tried_on,
    turned,
    without,
)
from steadfast.probing.shifts import projection
from steadfast.probing.weights import LowRank, overlap
from steadfast.strict_files import finite
from steadfast.study.probe_checkpoints import Probed
from steadfast.study.probe_reading import ALL_TRAITS, Probe, Read, load_read
from steadfast.study.probe_texts import TWINS_SET

Tell = Callable[[int], None]
Array = NDArray[np.float64]


def find_directions(probe: Probe, tell: Tell) -> dict[str, Any]:
    """Find the direction of each set at each layer and kind, and hold it against what else tells replies apart.

    The directions themselves, [L, D] for each set, are written to directions.safetensors.
    """
    by_set: dict[str, Any] = {}
    sets = {kind: probe.of_pairs(kind) for kind in ("mean", "last")}
    for number, name in enumerate(probe.sets):
        found: dict[str, Any] = {}
        for kind, of_kind in sets.items():
            of, sentiment = of_kind[name], of_kind["sentiment"]
            found[kind] = [
                _at_layer(probe, of, sentiment, place, seed=[probe.config.seed, number, place])
                for place in range(len(probe.layers))
            ]
        mean = sets["mean"][name]
        halves = {"make": mean.half("make"), "try": mean.half("try")}
        by_set[name] = {
            "pairs": {half: len(s.units) for half, s in halves.items()},
            "clusters": {half: s.clusters for half, s in halves.items()},
            "length_alone": _length_alone(halves["make"], halves["try"]),
            **found,
        }
        tell(1)
    place = _chosen_place(probe, by_set)
    directions = {name: _directions(sets["mean"][name], len(probe.layers)) for name in probe.sets}
    arrays = {name: d.astype(np.float32) for name, d in directions.items()}
    write_atomically(probe.folder / "directions.safetensors", lambda p: save_file(arrays, p))
    return finite(
        {
            "checkpoints": {probe.checkpoints[0].label: ""},
            "layers": list(probe.layers),
            "norms": probe.norms().tolist(),
            "chosen_layer": probe.layers[place],
            "sets": by_set,
            "names": probe.sets,
            "cosines": [
                cosines(np.stack([directions[n][p] for n in probe.sets])).tolist() for p in range(len(probe.layers))
            ],
            "transfer": _transfer(sets["mean"], probe.sets, place),
        }
    )


def _at_layer(probe: Probe, of: PairSet, sentiment: PairSet, place: int, seed: list[int]) -> dict[str, Any]:
    """One direction at one layer, beside everything that it is held against."""
    make, tried = of.half("make"), of.half("try")
    own = make.direction(place)
    generator = np.random.default_rng(seed)
    found = tried_on(own, tried, place)
    count, width = probe.config.random_directions, own.shape[0]
    length, feeling = length_direction(make, place), sentiment.direction(place)
    left = without(own, [length, feeling])
    return {
        "layer": probe.layers[place],
        **asdict(found),
        "left_out": left_out_auc(make, place),
        "gap": float(np.linalg.norm(own)),
        "reliability": cosine(own, tried.direction(place)),
        "random": asdict(null_of(random_directions(count, width, generator), make, tried, place, found.auc)),
        "shuffled": asdict(null_of(shuffled_directions(make, place, count, generator), make, tried, place, found.auc)),
        "length": {"auc": tried_on(turned(length, make, place), tried, place).auc, "cosine": cosine(own, length)},
        "sentiment": {"auc": tried_on(turned(feeling, make, place), tried, place).auc, "cosine": cosine(own, feeling)},
        "without_both": asdict(tried_on(left, tried, place)),
    }


def _length_alone(make: PairSet, tried: PairSet) -> float:
    """The AUC of the number of tokens itself, turned by the half that makes directions."""

    def of(pairs: PairSet) -> float:
        return float(areas_of(pairs.good_tokens_N[:, None], pairs.bad_tokens_N[:, None])[0])

    return of(tried) if of(make) >= 0.5 else 1 - of(tried)


def _directions(of: PairSet, layers: int) -> Array:
    make = of.half("make")
    return np.stack([make.direction(place) for place in range(layers)])


def _chosen_place(probe: Probe, by_set: dict[str, Any]) -> int:
    """The layer at which directions are added and taken out, chosen on the half that makes them; never the last one.

    What is added after the last layer would reach the words directly, without the model making anything of it.
    """
    aucs = np.array([[at["left_out"] for at in by_set[name]["mean"]] for name in probe.leading])
    last = len(decoder_of(probe.model.lm).layers) - 1
    allowed = [p for p, layer in enumerate(probe.layers) if layer != last] or [0]
    return max(allowed, key=lambda p: float(np.nanmean(aucs[:, p])))


def _transfer(sets: dict[str, PairSet], names: list[str], place: int) -> list[list[float]]:
    """How well each set's direction tells apart the pairs of each other set that made no direction."""
    made = [sets[n].half("make").direction(place) for n in names]
    tried = [sets[n].half("try") for n in names]
    return [
        [float(areas_of((t.good_NLD[:, place] @ d)[:, None], (t.bad_NLD[:, place] @ d)[:, None])[0]) for t in tried]
        for d in made
    ]


def find_projections(probe: Probe, tell: Tell) -> dict[str, Any]:
    """Say how far each checkpoint moved along the leading directions and each trait's, in two ways."""
    directions = load_file(probe.folder / "directions.safetensors")
    norms, generator = probe.norms(), np.random.default_rng([probe.config.seed, 7])
    nothing = _nothing(probe, generator)
    read = {one.label: load_read(probe, one) for one in probe.checkpoints}
    moved: dict[str, Any] = {}
    shifts: dict[str, Array] = {}
    for one in probe.checkpoints:
        if one.reference is not None:
            of, start = read[one.label], read[one.reference]
            moved[one.label] = _moved(probe, of, start, directions, nothing, norms)
            shifts[one.label] = np.asarray((of.fixed_mean - start.fixed_mean).mean(axis=(0, 1)), dtype=np.float64)
        tell(1)
    chosen = read_json(probe.folder / "directions.json")["chosen_layer"]
    labels = list(shifts)
    return finite(
        {
            "checkpoints": probe.hashes(),
            "layers": list(probe.layers),
            "reference": {one.label: one.reference for one in probe.checkpoints if one.reference},
            "arms": {one.label: [one.name, one.seed, one.attack, one.dose] for one in probe.checkpoints},
            "moved": moved,
            "compared": labels,
            "cosines": [cosines(np.stack([shifts[n][p] for n in labels])).tolist() for p in range(len(probe.layers))],
            "chosen_layer": chosen,
        }
    )


def _nothing(probe: Probe, generator: np.random.Generator) -> dict[str, list[Array]]:
    """Directions that know nothing, for each leading set and layer."""
    sets = probe.of_pairs()
    count = probe.config.random_directions
    return {
        name: [shuffled_directions(sets[name].half("make"), p, count, generator) for p in range(len(probe.layers))]
        for name in probe.sets
    }


def _moved(
    probe: Probe,
    of: Read,
    start: Read,
    directions: dict[str, Any],
    nothing: dict[str, list[Array]],
    norms: Array,
) -> dict[str, Any]:
    """The shift of one checkpoint, along each set's direction and at each layer: on fixed texts and on own answers."""
    pairs = [probe.pairs[i] for i in probe.fixed]
    common = [i for i in of.own if i in set(start.own)]
    mine, theirs = ([r.own.index(i) for i in common] for r in (of, start))
    own = {
        "own": of.own_by_itself[mine] - start.own_by_itself[theirs],
        "behaviour": of.own_by_start[mine] - start.own_by_start[theirs],
    }
    found: dict[str, Any] = {}
    for name in probe.sets:
        chosen = [i for i, p in enumerate(pairs) if (name == ALL_TRAITS and p.set != TWINS_SET) or p.set == name]
        moved = of.fixed_mean[chosen] - start.fixed_mean[chosen]
        flat = moved.reshape(-1, *moved.shape[2:])
        units = [pairs[i].unit for i in chosen for _ in range(2)]
        ways = {"fixed": (flat, units)}
        if name in probe.leading and len(common) > 1:
            ways |= {way: (states, common) for way, states in own.items()}
        found[name] = {
            way: [
                asdict(
                    projection(states[:, p], directions[name][p].astype(np.float64), nothing[name][p], norms[p], groups)
                )
                for p in range(len(probe.layers))
            ]
            for way, (states, groups) in ways.items()
        }
    return {"sets": found, "own_answers": len(common), "changed_answers": _changed(own["behaviour"])}


def _changed(moved_NLD: NDArray[np.float32]) -> float:
    """The share of own answers that differ from those of the checkpoint that training began from."""
    return float(np.abs(moved_NLD).max(axis=(1, 2)).astype(bool).mean()) if len(moved_NLD) else float("nan")


def find_weights(probe: Probe, tell: Tell) -> dict[str, Any]:
    """Say how much each checkpoint's last adapter changed, by layer and kind of matrix, and how training's overlap.

    An arm that goes on from a warm start is taken less that: its change since then. Of an attack that trained all
    weights nothing is said: its change is no product of thin matrices.
    """
    by_label = {one.label: one for one in probe.checkpoints}
    changes: dict[str, dict[str, LowRank]] = {}
    sizes = {n: float(w.detach().float().norm()) for n, w in probe.model.lm.named_parameters() if w.dim() == 2}
    found: dict[str, Any] = {}
    for one in probe.checkpoints:
        if one.trained and not (one.trained[-1] / WEIGHTS_FILE).is_file():
            start = by_label.get(one.reference or "")
            changes[one.label] = _change(one, start)
            found[one.label] = [
                {
                    **_place(name),
                    "norm": change.norm,
                    "relative": change.norm / sizes[f"{name}.weight"] if sizes.get(f"{name}.weight") else None,
                    "effective_rank": change.effective_rank,
                }
                for name, change in changes[one.label].items()
            ]
        tell(1)
    trained = [label for label in changes if by_label[label].attack is None]
    overlaps = [
        {"one": a, "other": b, **shared}
        for a, b in combinations(trained, 2)
        if (shared := _overlap(changes[a], changes[b])) is not None
    ]
    return finite({"checkpoints": probe.hashes(), "changes": found, "overlaps": overlaps})


def _change(one: Probed, start: Probed | None) -> dict[str, LowRank]:
    """The change by module that training made of what it began from."""
    own = _matrices(one)
    if one.attack is not None or start is None or not start.trained:
        return own
    before = _matrices(start)
    return {name: change.minus(before[name]) if name in before else change for name, change in own.items()}


def _matrices(one: Probed) -> dict[str, LowRank]:
    adapter = read_adapter(one.trained[-1])
    tensors = {n.removeprefix("base_model.model."): t.double().numpy() for n, t in adapter.tensors.items()}
    found: dict[str, LowRank] = {}
    for name, into in tensors.items():
        module, mark, _ = name.partition(".lora_A")
        if mark:
            rank = into.shape[0]
            scale = adapter.config.lora_alpha / (rank**0.5 if adapter.config.use_rslora else rank)
            found[module] = LowRank(scale * tensors[name.replace(".lora_A", ".lora_B")], into)
    return found


def _place(name: str) -> dict[str, Any]:
    parts = name.split(".")
    layer = next((int(part) for part in parts if part.isdigit()), None)
    return {"module": name, "layer": layer, "kind": parts[-1]}


def _overlap(one: dict[str, LowRank], other: dict[str, LowRank]) -> dict[str, Any] | None:
    """The overlap of two checkpoints' changes, the mean over the modules that both changed."""
    found = [o for name in one if name in other and (o := overlap(one[name], other[name])) is not None]
    if not found:
        return None
    return {key: float(np.mean([getattr(o, key) for o in found])) for key in asdict(found[0])} | {"modules": len(found)}
