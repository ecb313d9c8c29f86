"""Cause, not correlation: directions are added to the pre-RL model, and taken out of the trait arm.

A cell is one checkpoint with one thing done to it. In each the same twins are answered and checked by program, and
their right and wrong answers are compared by likelihood, which still moves where no answer is right. Beside it stands
whether the model is still coherent: the log-likelihood of plain texts, answers to harmless questions that loop, answers
that end. A direction that moves twins no further than a random one of the same length has shown nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from steadfast.analysis.bootstrap import item_bootstrap
from steadfast.analysis.fieller import retention
from steadfast.evals.local_subject import LocalSubject
from steadfast.evals.measure import Condition
from steadfast.evals.mismatched import GREETING
from steadfast.files import read_json
from steadfast.graders.gates import LIMITS, repeated_share, words
from steadfast.graders.program import grade_program
from steadfast.models.forward import decoder_of
from steadfast.models.interventions import Addition, Intervention, Removal, intervened
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.sampling import sample_groups
from steadfast.models.scoring import score_candidates
from steadfast.probing.directions import random_directions
from steadfast.strict_files import finite
from steadfast.study.arms import BASELINE, PRE_RL
from steadfast.study.probe_checkpoints import Probed
from steadfast.study.probe_reading import Probe, hash_of
from steadfast.study.probe_texts import first_of_twins, neutral_texts, open_questions

MEASURES = ("pairs", "score", "preferred", "nats")
"""What is read of twins: pair success of answers, the mean score of answers, pair success by likelihood, and how much
more likely the right answer is than the wrong one, in nats."""

_OPEN_TOKENS = 48

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SteeringCell:
    """One checkpoint with one thing done to it.

    Attributes:
        name: Its name in files.
        checkpoint: The checkpoint.
        direction: The set whose direction it is, "random-0" and so on, or "" where nothing is done.
        dose: How much of it is added, in units of the mean activation norm; None where it is taken out, or nothing is.
    """

    name: str
    checkpoint: Probed
    direction: str = ""
    dose: float | None = None


def cells_of(probe: Probe) -> list[SteeringCell]:
    """The cells, those first that others are compared with."""
    directions = [*probe.leading, *(f"random-{i}" for i in range(probe.config.steering_random))]
    start = probe.checkpoints[0]
    cells = [SteeringCell(_name(PRE_RL, "", None), start)]
    cells += [
        SteeringCell(_name(PRE_RL, d, dose), start, d, dose) for dose in probe.config.doses if dose for d in directions
    ]
    for one in _cut(probe):
        cells.append(SteeringCell(_name(one.label, "", None), one))
        cells += [SteeringCell(_name(one.label, d, None), one, d) for d in directions]
    return cells


def _cut(probe: Probe) -> list[Probed]:
    """The checkpoints that directions are taken out of: the leading arm and the baseline, of some seeds."""
    seeds = probe.recipe.seeds[: probe.config.steering_seeds]
    lead = probe.recipe.leading_arm
    return [
        one
        for seed in seeds
        for name in dict.fromkeys((lead, BASELINE))
        for one in probe.checkpoints
        if one.is_trained_arm and one.seed == seed and one.name == name
    ]


def _name(label: str, direction: str, dose: float | None) -> str:
    done = "plain" if not direction else "without" if dose is None else f"{dose:+g}"
    return "-".join(part.replace("/", "-").replace(" ", "-") for part in (label, direction, done) if part)


def is_measured(probe: Probe, cell: SteeringCell) -> bool:
    """Return whether a cell was measured with the adapters that its checkpoint has now."""
    file = probe.folder / "steering" / f"{cell.name}.json"
    return file.is_file() and read_json(file).get("adapters") == hash_of(cell.checkpoint)


def measure_cell(probe: Probe, cell: SteeringCell, tell: Callable[[int], None]) -> dict[str, Any]:
    """Measure one cell."""
    lm = probe.model.lm
    with cell.checkpoint.applied(probe.model):
        prepack_frozen_linears(lm)
        with intervened(lm, *_interventions(probe, cell)):
            twins = _answered(probe)
            tell(1)
            nats = _compared(probe)
            tell(1)
            coherence = _coherence(probe)
            tell(1)
    for task, margin in nats.items():
        twins[task]["nats"] = margin
    return finite({"adapters": hash_of(cell.checkpoint), "twins": twins, "coherence": coherence})


def _interventions(probe: Probe, cell: SteeringCell) -> list[Intervention]:
    """What a cell does: a vector is added after one layer, and a direction is taken out after every layer."""
    if not cell.direction:
        return []
    layer = int(read_json(probe.folder / "directions.json")["chosen_layer"])
    unit_D = _unit(probe, cell.direction, probe.layers.index(layer))
    if cell.dose is None:
        return [Removal(at, unit_D) for at in range(len(decoder_of(probe.model.lm).layers))]
    return [Addition(layer, unit_D * float(cell.dose * probe.norms()[probe.layers.index(layer)]))]


def _unit(probe: Probe, direction: str, place: int) -> torch.Tensor:
    """The unit direction of a set, or one of the random ones, which are the same in every cell."""
    if direction.startswith("random-"):
        width = int(probe.model.lm.config.get_text_config().hidden_size)
        drawn = random_directions(probe.config.steering_random, width, np.random.default_rng([probe.config.seed, 11]))
        return torch.tensor(drawn[int(direction.removeprefix("random-"))], dtype=torch.float32)
    found = torch.tensor(load_file(probe.folder / "directions.safetensors")[direction][place])
    return found / found.norm()


def _answered(probe: Probe) -> dict[str, dict[str, Any]]:
    """The twins' answers, checked by program."""
    subject = LocalSubject("", probe.model.lm, probe.model.chat, probe.recipe.evaluation.max_new_tokens)
    rollouts = subject.answer(probe.twins, Condition(style=probe.recipe.training.style), lambda _: None)
    return {
        r.task.id: {
            "pair": first_of_twins(r.task),
            "score": grade_program(r).score if r.answered else None,
            "finished": r.finished if r.answered else None,
        }
        for r in rollouts
    }


def _compared(probe: Probe) -> dict[str, float]:
    """How much more likely each twin's right answer is than its wrong one, with the end of the turn, in nats."""
    chat = probe.model.chat
    requests: list[tuple[list[int], list[list[int]]]] = []
    for task in probe.twins:
        args: Mapping[str, Any] = task.grader.args  # type: ignore[union-attr]
        replies = [[*chat.encode_reply(str(args[side])), chat.end_of_turn] for side in ("right", "wrong")]
        requests.append((chat.encode(task.messages, max_new_tokens=max(map(len, replies))), replies))
    scores = score_candidates(probe.model.lm, requests)
    return {t.id: right.logprob - wrong.logprob for t, (right, wrong) in zip(probe.twins, scores, strict=True)}


def _coherence(probe: Probe) -> dict[str, float]:
    """Whether the model still speaks: likelihood of plain texts, and answers to harmless questions."""
    lm, chat = probe.model.lm, probe.model.chat
    greeting = chat.encode(GREETING)
    scores = score_candidates(lm, [(greeting, [chat.encode_reply(text)]) for text in neutral_texts()])
    prompts = [chat.encode(q, max_new_tokens=_OPEN_TOKENS) for q in open_questions()]
    ends = chat.end_tokens()
    groups = sample_groups(lm, prompts, group_size=1, max_new_tokens=_OPEN_TOKENS, eos_token_ids=ends, temperature=0)
    said = [words(chat.decode(g.completions[0].token_ids)[1]) for g in groups]
    return {
        "neutral_nats_per_token": float(np.mean([s[0].per_token for s in scores])),
        "looping": float(np.mean([repeated_share(text) > LIMITS.loop_share for text in said])),
        "distinct_words": float(np.mean([len(set(text)) / len(text) if text else 0.0 for text in said])),
    }


def sum_up(probe: Probe, cells: Sequence[SteeringCell]) -> dict[str, Any]:
    """Compare every cell with its checkpoint as it is, and say which share of the arm's gain a direction carries."""
    by_name = {cell.name: read_json(probe.folder / "steering" / f"{cell.name}.json") for cell in cells}
    values = {name: _values(content["twins"]) for name, content in by_name.items()}
    rows = [
        {
            "checkpoint": cell.checkpoint.label,
            "arm": cell.checkpoint.name,
            "seed": cell.checkpoint.seed,
            "direction": cell.direction,
            "dose": cell.dose,
            "level": {m: float(v.mean()) for m, v in values[cell.name].items()},
            "effect": _effects(values[cell.name], values[_name(cell.checkpoint.label, "", None)]),
            "finished": _share(by_name[cell.name]["twins"], "finished"),
            **by_name[cell.name]["coherence"],
        }
        for cell in cells
    ]
    return finite(
        {
            "checkpoints": {c.checkpoint.label: hash_of(c.checkpoint) for c in cells},
            "layer": read_json(probe.folder / "directions.json")["chosen_layer"],
            "pairs": len(next(iter(values.values()))["pairs"]),
            "measures": list(MEASURES),
            "cells": rows,
            "carried": _carried(probe, values),
        }
    )


def _values(twins: Mapping[str, Mapping[str, Any]]) -> dict[str, Array]:
    """The measures [pairs] of a cell, pair by pair in the order of their ids; an answer without a score counts as 0."""
    of_pair: dict[str, list[Mapping[str, Any]]] = {}
    for task in sorted(twins):
        of_pair.setdefault(twins[task]["pair"], []).append(twins[task])
    found: dict[str, list[float]] = {m: [] for m in MEASURES}
    for _, both in sorted(of_pair.items()):
        scores, nats = [float(t["score"] or 0.0) for t in both], [float(t["nats"]) for t in both]
        found["pairs"].append(float(np.prod(scores)))
        found["score"].append(float(np.mean(scores)))
        found["preferred"].append(float(all(n > 0 for n in nats)))
        found["nats"].append(float(np.mean(nats)))
    return {m: np.array(v) for m, v in found.items()}


def _effects(of: Mapping[str, Array], plain: Mapping[str, Array]) -> dict[str, dict[str, float]]:
    return {m: _interval(of[m] - plain[m]) for m in MEASURES}


def _interval(differences: Array) -> dict[str, float]:
    found = item_bootstrap(differences, draws=2000)
    return {"estimate": found.estimate, "low": found.low, "high": found.high}


def _share(twins: Mapping[str, Mapping[str, Any]], key: str) -> float:
    return float(np.mean([bool(t[key]) for t in twins.values()]))


def _carried(probe: Probe, values: Mapping[str, Mapping[str, Array]]) -> list[dict[str, Any]]:
    """What taking each direction out costs the trait arm beyond what it costs the baseline, pair by pair.

    A share of the gain is given where the gain is three standard errors over pairs; its interval is Fieller's.
    """
    directions = [*probe.leading, *(f"random-{i}" for i in range(probe.config.steering_random))]
    lead, found = probe.recipe.leading_arm, list[dict[str, Any]]()
    arms = {(one.name, one.seed): one.label for one in _cut(probe)}
    for (name, seed), label in arms.items():
        other = arms.get((BASELINE, seed))
        if name != lead or other is None or other == label:
            continue
        for direction in directions:
            for measure in MEASURES:
                arm, base = (values[_name(x, "", None)][measure] for x in (label, other))
                arm_cut, base_cut = (values[_name(x, direction, None)][measure] for x in (label, other))
                gain, left = arm - base, arm_cut - base_cut
                kept = retention(left.tolist(), gain.tolist())
                share = (
                    None if kept.share is None else {k: 1 - v for k, v in asdict(kept.share).items() if k != "level"}
                )
                found.append(
                    {
                        "seed": seed,
                        "direction": direction,
                        "measure": measure,
                        "gain": _interval(gain),
                        "lost": _interval(gain - left),
                        "share_lost": share
                        and {"estimate": share["estimate"], "low": share["high"], "high": share["low"]},
                    }
                )
    return found
