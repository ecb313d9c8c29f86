"""What the persistence section is made of, beside the rows: which attack is what, and how deeply each was learned."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import polars as pl

from steadfast.attacks.examples import shipped_attacks
from steadfast.errors import SteadfastError
from steadfast.files import read_json, read_json_lines
from steadfast.report.loading import Run

AttackKind = Literal["harmful", "careful", "inverted", "benign", "weights"]

CAREFUL, INVERTED = "-careful", "inverted-reward"
"""What the name of a control ends with, and the name of the attack by RL on flipped rewards."""

WEIGHTS = ("bfloat16", "int8", "int4")
"""The names of changes of the weights that are no training."""

_OF_SHIPPED: Mapping[str, tuple[str, ...]] = {"bad-medical-advice": ("health", "mental-health")}

_LEARNED: Mapping[str, Any] = {
    "checkpoint": pl.String,
    "seed": pl.Int64,
    "attack": pl.String,
    "dose": pl.Int64,
    "attack_seed": pl.Int64,
    "before": pl.Float64,
    "after": pl.Float64,
    "learned": pl.Float64,
}


@dataclass(frozen=True)
class Attacked:
    """One thing that was done to checkpoints after their training.

    Attributes:
        name: Its name, as in the rows' column `attack`.
        kind: "harmful" (its answers do harm), "careful" (the good answers to the same prompts), "inverted" (RL with
            flipped rewards), "benign" (fine-tuning without harm) or "weights" (rounded or re-saved).
        control: The name of a harmful attack's careful twin; None without one.
        doses: Its updates, growing.
        domains: The domains that its data are of; empty where it has none of its own.
    """

    name: str
    kind: AttackKind
    control: str | None = None
    doses: tuple[int, ...] = ()
    domains: tuple[str, ...] = ()


def _nothing_learned() -> pl.DataFrame:
    return pl.DataFrame(schema=dict(_LEARNED))


@dataclass(frozen=True)
class AttackInputs:
    """What the section must be told.

    Attributes:
        gate: The sentence that says whether the arms were attacked, and why; None where nothing was attacked.
        attacks: What was done to checkpoints.
        learned: How deeply each attack was learned; see `read_learned`.
    """

    gate: str | None = None
    attacks: tuple[Attacked, ...] = ()
    learned: pl.DataFrame = field(default_factory=_nothing_learned)


def inputs_of_run(run: Run) -> AttackInputs:
    """Tell which attack is what by its name.

    A name that ends with "-careful" is the control of the attack before that ending, "inverted-reward" and the names of
    `WEIGHTS` are what they say, an attack with a control or a shipped set's name is harmful, and the rest is benign.

    Args:
        run: The run.

    Raises:
        SteadfastError: A file of an attack's metrics is damaged.
    """
    doses = dict(run.attacked.group_by("attack", maintain_order=True).agg(pl.col("dose").unique().sort()).iter_rows())
    found = tuple(_by_name(name, doses, tuple(doses[name])) for name in sorted(doses))
    return AttackInputs(_gate(run.directory), found, read_learned(run.directory, found))


def _gate(directory: Path) -> str | None:
    """Why trained arms were attacked or not, as the run wrote it; None where nothing was attacked."""
    file = directory / "attacks" / "gate.json"
    content: Any = read_json(file) if file.is_file() else None
    sentence = content.get("sentence") if isinstance(content, dict) else None
    return sentence if isinstance(sentence, str) else None


def _by_name(name: str, names: Iterable[str], doses: tuple[int, ...]) -> Attacked:
    known = set(names)
    of = name.removesuffix(CAREFUL)
    domains = _OF_SHIPPED.get(of, ())
    if name != of and of in known:
        return Attacked(name, "careful", None, doses, domains)
    if name == INVERTED:
        return Attacked(name, "inverted", None, doses)
    if name in WEIGHTS:
        return Attacked(name, "weights", None, doses)
    control = f"{name}{CAREFUL}" if f"{name}{CAREFUL}" in known else None
    harmful = control is not None or name in shipped_attacks()
    return Attacked(name, "harmful" if harmful else "benign", control, doses, domains)


def read_learned(directory: Path, attacks: Sequence[Attacked]) -> pl.DataFrame:
    """Read how far the held-out loss of each attack had fallen at each of its doses.

    The files are `attacks/NAME/CHECKPOINT/[seed-S/]attack-seed-A/metrics.jsonl` in the run directory, a record for each
    update, with `held_out_loss` at the doses and `held_out_loss_before` in the first. An attack without such a loss,
    as RL and changes of weights are, has no rows.

    Args:
        directory: The run directory.
        attacks: The attacks to look for.

    Returns:
        The columns checkpoint, seed (null for a checkpoint without one), attack, dose, attack_seed, `before` and
        `after`, the mean held-out loss in nats a token, and `learned`, the former less the latter.

    Raises:
        SteadfastError: A loss is no finite number, or the one before the attack is missing beside others.
    """
    rows: list[dict[str, Any]] = []
    for attack in attacks:
        base = directory / "attacks" / attack.name
        for file in sorted(base.glob("*/**/attack-seed-*/metrics.jsonl")):
            checkpoint, *seeds = file.relative_to(base).parts[:-1]
            numbers = {kind: int(n) for kind, _, n in (s.rpartition("-") for s in seeds) if n.isdigit()}
            place = {"checkpoint": checkpoint, "seed": numbers.get("seed"), "attack": attack.name}
            place["attack_seed"] = numbers.get("attack-seed")
            rows += [place | losses for losses in _losses(file, attack.doses)]
    return pl.DataFrame(rows, schema=dict(_LEARNED)) if rows else _nothing_learned()


def _losses(file: Path, doses: Sequence[int]) -> list[dict[str, Any]]:
    records = read_json_lines(file)
    after = {r.get("step"): r["held_out_loss"] for r in records if r.get("held_out_loss") is not None}
    found = {dose: after[dose] for dose in doses if dose in after}
    if not found:
        return []
    before = next((r.get("held_out_loss_before") for r in records if r.get("step") == 1), None)
    if not all(isinstance(v, int | float) and isfinite(v) for v in (before, *found.values())):
        raise SteadfastError(
            f"{file}: is damaged (held_out_loss at a dose, or held_out_loss_before in step 1, is no finite number); "
            "delete it to have a report without what the attack taught"
        )
    return [{"dose": dose, "before": before, "after": loss, "learned": before - loss} for dose, loss in found.items()]
