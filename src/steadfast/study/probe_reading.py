"""What a probed run reads with each checkpoint, and the files that keep it.

A file of activations holds float32 arrays. P stands for all pairs, F for the fixed ones that every checkpoint reads, N
for a checkpoint's own answers, 2 for the good and the bad reply, L for layers and D for features:

    pre-RL       pairs_mean [P, 2, L, D], pairs_last [P, 2, L, D], pairs_norm [P, 2, L], own_by_start [N, L, D]
    the others   fixed_mean [F, 2, L, D], own_by_itself [N, L, D], own_by_start [N, L, D]

`own_by_start` are a checkpoint's own answers as the model before any training reads them: the behaviour alone.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from steadfast.errors import SteadfastError
from steadfast.files import write_atomically
from steadfast.models.activations import Activations, Text, read_activations
from steadfast.models.identity import hash_file
from steadfast.models.lower_layers import LowerLayers
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.pretrained import LoadedModel
from steadfast.probing.config import ProbingConfig
from steadfast.probing.directions import PairSet, half_of, joined
from steadfast.study.arms import PRE_RL
from steadfast.study.data import StudyData
from steadfast.study.probe_checkpoints import Probed
from steadfast.study.probe_texts import (
    FEWEST_PAIRS,
    TWINS_SET,
    Pair,
    gold_pairs,
    own_answers,
    sentiment_pairs,
    steered_twins,
    twin_pairs,
)
from steadfast.study.recipe import Recipe
from steadfast.tasks import Task

ALL_TRAITS = "all traits"
"""The name of the set that has the pairs of every trait."""

_FIXED_TWINS = 4
"""Every checkpoint reads so many times as many pairs of twins as of each trait."""


@dataclass(frozen=True)
class Probe:
    """A finished run with all that is needed to look inside it.

    Attributes:
        recipe: The run's recipe.
        data: Its data.
        model: The model that it began with.
        folder: Where the results are written.
        config: The settings.
        layers: The decoder layers that are looked at, in order.
        checkpoints: The checkpoints, the pre-RL model first.
        results: The run's table of results.
        pairs: The pairs of replies, trait by trait, then twins, then sentiment.
        fixed: The places in `pairs` of those that every checkpoint reads.
        twins: The twins that the cause is tried on.
        lower_layers: What the layers below all arms' adapters make of the texts, shared by the checkpoints; None where
            adapters lie in all layers.
    """

    recipe: Recipe
    data: StudyData
    model: LoadedModel
    folder: Path
    config: ProbingConfig
    layers: tuple[int, ...]
    checkpoints: tuple[Probed, ...]
    results: pl.DataFrame
    pairs: tuple[Pair, ...]
    fixed: tuple[int, ...]
    twins: tuple[Task, ...]
    lower_layers: LowerLayers | None = None

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        data: StudyData,
        model: LoadedModel,
        folder: Path,
        config: ProbingConfig,
        layers: tuple[int, ...],
        checkpoints: Sequence[Probed],
        results: pl.DataFrame,
        note: Callable[[str], None],
    ) -> "Probe":
        """Make the texts, and choose those that every checkpoint reads.

        Raises:
            SteadfastError: There are too few gold replies.
        """
        chat = model.chat
        pairs = [
            *gold_pairs(data, chat, config.gold_pairs, note),
            *twin_pairs(data, chat, config.twin_pairs, note),
            *sentiment_pairs(chat),
        ]
        twins = steered_twins(data, config.steering_pairs)
        fixed = _fixed(pairs, config.fixed_pairs)
        adapted, lower = recipe.training.adapter.layers, None
        if adapted != "all":
            lower = LowerLayers(int(model.lm.config.get_text_config().num_hidden_layers) - adapted)
        return cls(
            recipe,
            data,
            model,
            folder,
            config,
            layers,
            tuple(checkpoints),
            results,
            tuple(pairs),
            fixed,
            tuple(twins),
            lower,
        )

    @property
    def sets(self) -> list[str]:
        """The sets that have a direction of their own: all traits, twins, and each trait with enough pairs."""
        names = dict.fromkeys(p.set for p in self.pairs if p.set != "sentiment")
        halves = {n: [half_of(p.unit) for p in self.pairs if p.set == n] for n in names}
        enough = [n for n, found in halves.items() if min(found.count("make"), found.count("try")) >= FEWEST_PAIRS]
        return [ALL_TRAITS, *[n for n in enough if n == TWINS_SET], *[n for n in enough if n != TWINS_SET]]

    @property
    def leading(self) -> list[str]:
        """The sets whose direction is added and taken out: all traits, and twins."""
        return [n for n in self.sets if n in (ALL_TRAITS, TWINS_SET)]

    @property
    def protocol(self) -> dict[str, Any]:
        """The settings, and what else decides the results."""
        digest = hashlib.sha256()
        for pair in self.pairs:
            digest.update(json.dumps([pair.set, pair.id, *map(list, (*pair.good, *pair.bad))]).encode())
        twins = hashlib.sha256(json.dumps([t.row() for t in self.twins], sort_keys=True, default=str).encode())
        return {
            "settings": self.config.model_dump(mode="json"),
            "texts": digest.hexdigest()[:16],
            "twins": twins.hexdigest()[:16],
            "model": self.model.weights,
        }

    def file(self, one: Probed) -> Path:
        """The file of a checkpoint's activations."""
        return self.folder / "activations" / f"{one.label}.safetensors"

    def hashes(self) -> dict[str, str]:
        """What each checkpoint's adapters are, by its label."""
        return {one.label: hash_of(one) for one in self.checkpoints}

    def of_pairs(self, kind: str = "mean") -> dict[str, PairSet]:
        """Read the pre-RL model's activations of the pairs, by set, and with all traits put together.

        Args:
            kind: "mean" over a reply's tokens, or at its "last" one.
        """
        states = load_file(self.file(self.checkpoints[0]))[f"pairs_{kind}"]
        names = list(dict.fromkeys(p.set for p in self.pairs))
        found = {n: _set(n, self.pairs, states, [i for i, p in enumerate(self.pairs) if p.set == n]) for n in names}
        traits = [s for n, s in found.items() if n not in (TWINS_SET, "sentiment")]
        return {ALL_TRAITS: joined(traits, ALL_TRAITS), **found}

    def norms(self) -> NDArray[np.float64]:
        """Return the mean activation norm [L] of gold replies, as the pre-RL model reads them."""
        norms = load_file(self.file(self.checkpoints[0]))["pairs_norm"]
        of_gold = [i for i, p in enumerate(self.pairs) if p.set not in (TWINS_SET, "sentiment")]
        return np.asarray(norms[of_gold].mean(axis=(0, 1)), dtype=np.float64)


def hash_of(one: Probed) -> str:
    """Return a hash of what makes a checkpoint of the model; it is empty for the pre-RL model."""
    return "/".join(hash_file(file)[:16] for folder in one.trained for file in sorted(folder.glob("*.safetensors")))


def is_read(probe: Probe, one: Probed) -> bool:
    """Return whether a checkpoint's activations are there, and were read with the adapters that it has now.

    Raises:
        SteadfastError: The file is damaged.
    """
    file = probe.file(one)
    return file.is_file() and _metadata(file).get("adapters") == hash_of(one)


def read_checkpoint(probe: Probe, one: Probed, tell: Callable[[int], None]) -> None:
    """Read a checkpoint's texts and write its file."""
    lm, layers = probe.model.lm, probe.layers
    own = _own(probe, one)
    arrays: dict[str, NDArray[np.float32]] = {}

    def read(texts: Sequence[Text]) -> Activations:
        prepack_frozen_linears(lm)
        return read_activations(lm, texts, layers, lower_layers=probe.lower_layers, on_done=tell)

    if own:
        arrays["own_by_start"] = read([text for _, text in own]).mean_NLD
    with one.applied(probe.model):
        if one.name == PRE_RL and one.attack is None:
            found = read([text for p in probe.pairs for text in (p.good, p.bad)])
            shape = (len(probe.pairs), 2)
            arrays["pairs_mean"] = found.mean_NLD.reshape(*shape, *found.mean_NLD.shape[1:])
            arrays["pairs_last"] = found.last_NLD.reshape(*shape, *found.last_NLD.shape[1:])
            arrays["pairs_norm"] = found.norm_NL.reshape(*shape, len(layers))
        else:
            mean = read([t for i in probe.fixed for t in (probe.pairs[i].good, probe.pairs[i].bad)]).mean_NLD
            arrays["fixed_mean"] = mean.reshape(len(probe.fixed), 2, *mean.shape[1:])
            if own:
                arrays["own_by_itself"] = read([text for _, text in own]).mean_NLD
    told = {"adapters": hash_of(one), "own": json.dumps([i for i, _ in own]), "layers": json.dumps(layers)}
    write_atomically(probe.file(one), lambda p: save_file(arrays, p, metadata=told))


def texts_to_read(probe: Probe, one: Probed) -> list[Text]:
    """Return the texts that a checkpoint reads, as often as it reads them."""
    own = [text for _, text in _own(probe, one)]
    if one.name == PRE_RL and one.attack is None:
        return [*own, *(t for p in probe.pairs for t in (p.good, p.bad))]
    return [*own, *own, *(t for i in probe.fixed for t in (probe.pairs[i].good, probe.pairs[i].bad))]


@dataclass(frozen=True)
class Read:
    """What a checkpoint has read, for comparison with the one that it began from.

    Attributes:
        fixed_mean: The activations [F, 2, L, D] of the fixed pairs.
        own: The ids of the tasks of its own answers.
        own_by_itself: The activations [N, L, D] of these answers.
        own_by_start: The same as the pre-RL model reads them.
    """

    fixed_mean: NDArray[np.float32]
    own: tuple[str, ...]
    own_by_itself: NDArray[np.float32]
    own_by_start: NDArray[np.float32]


def load_read(probe: Probe, one: Probed) -> Read:
    """Load what a checkpoint has read."""
    file = probe.file(one)
    arrays, own = load_file(file), tuple(json.loads(_metadata(file)["own"]))
    fixed = arrays["pairs_mean"][list(probe.fixed)] if "pairs_mean" in arrays else arrays["fixed_mean"]
    nothing = np.empty((0, *fixed.shape[2:]), dtype=np.float32)
    by_start = arrays.get("own_by_start", nothing)
    return Read(fixed, own, arrays.get("own_by_itself", by_start), by_start)


def _own(probe: Probe, one: Probed) -> list[tuple[str, Text]]:
    rows = one.rows(probe.results)
    return own_answers(probe.data, rows, probe.model.chat, one.name, one.seed, probe.config.own_answers)


def _fixed(pairs: Sequence[Pair], count: int) -> tuple[int, ...]:
    """Choose, of each set, the first clusters of the half that makes no direction."""
    found: list[int] = []
    for name in dict.fromkeys(p.set for p in pairs if p.set != "sentiment"):
        places = [i for i, p in enumerate(pairs) if p.set == name and half_of(p.unit) == "try"]
        units = list(dict.fromkeys(pairs[i].unit for i in places))[: count * (_FIXED_TWINS if name == TWINS_SET else 1)]
        found += [i for i in places if pairs[i].unit in units]
    return tuple(found)


def _set(name: str, pairs: Sequence[Pair], states: NDArray[np.float32], places: Sequence[int]) -> PairSet:
    good, bad = (np.array([len(t[1]) for t in of], dtype=np.float64) for of in _texts(pairs, places))
    units = tuple(pairs[i].unit for i in places)
    return PairSet(name, units, states[list(places), 0], states[list(places), 1], good, bad)


def _texts(pairs: Sequence[Pair], places: Sequence[int]) -> tuple[list[Text], list[Text]]:
    return [pairs[i].good for i in places], [pairs[i].bad for i in places]


def _metadata(file: Path) -> dict[str, str]:
    try:
        with safe_open(file, framework="np") as content:
            return dict(content.metadata() or {})
    except Exception as error:  # safetensors raises its own error, and OSError
        raise SteadfastError(f"{file}: is damaged ({error}); delete it, and the same command reads it anew") from error
