"""What the persistence section is made of, beside the rows: which attack is what, and how deeply each was learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, cast

import polars as pl
from pydantic import ValidationError

from steadfast.attacks.kinds import AttackInfo, Kind, Method
from steadfast.errors import SteadfastError
from steadfast.files import read_json, read_json_lines
from steadfast.report.loading import Run
from steadfast.rundir import RunDirectory
from steadfast.tasks.jsonl import faults

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
        kind: What it trains on or does; see `AttackInfo`.
        control: The name of a harmful attack's careful twin; None without one that was measured.
        doses: Its updates, growing.
        domains: The domains that its data are of; empty where it has none of its own.
        method: Whether it trains a fresh adapter upon the model, or all of the model's weights.
    """

    name: str
    kind: Kind
    control: str | None = None
    doses: tuple[int, ...] = ()
    domains: tuple[str, ...] = ()
    method: Method = "adapter"


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
    """Read which attack is what from the run's protocol.

    Args:
        run: The run.

    Raises:
        SteadfastError: The protocol does not say what an attack is, or a file of the attacks' is damaged.
    """
    doses = dict(run.attacked.group_by("attack", maintain_order=True).agg(pl.col("dose").unique().sort()).iter_rows())
    infos = {name: _info(run, name) for name in sorted(doses)}
    found = tuple(
        Attacked(
            name, one.kind, one.control if one.control in infos else None, tuple(doses[name]), one.domains, one.method
        )
        for name, one in infos.items()
    )
    return AttackInputs(_gate(run.directory), found, read_learned(run.directory, found))


def _info(run: Run, name: str) -> AttackInfo:
    """What the protocol says of an attack that results.parquet has rows of.

    Raises:
        SteadfastError: It says nothing, or what it says is damaged.
    """
    entries = run.protocol.get("attacks")
    entry: Any = cast("dict[str, Any]", entries).get(name) if isinstance(entries, dict) else None
    if entry is None:
        fault = "is missing"
    else:
        try:
            return AttackInfo.model_validate(entry)
        except ValidationError as error:
            fault = faults(error)[0]
    raise SteadfastError(
        f"{RunDirectory(run.directory).protocol_file}: does not say what the attack {name!r} is, of which "
        f"results.parquet has rows (attacks.{name}: {fault}); put back a copy of it, or begin anew in another directory"
    )


def _gate(directory: Path) -> str | None:
    """Why trained arms were attacked or not, as the run wrote it; None where nothing was attacked.

    Raises:
        SteadfastError: The file is damaged.
    """
    file = directory / "attacks" / "gate.json"
    if not file.is_file():
        return None
    content: Any = read_json(file)
    sentence = cast("dict[str, Any]", content).get("sentence") if isinstance(content, dict) else None
    if not isinstance(sentence, str):
        raise SteadfastError(
            f"{file}: is damaged (it holds no sentence); delete it to have a report that does not say why trained arms "
            "were attacked or not"
        )
    return sentence


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
