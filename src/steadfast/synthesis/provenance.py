"""The output file and the records of how each of its lines came about both survive a kill at any byte.

An accepted scenario is written to the provenance first and to the output after that, by one process without a pause.
A kill can therefore cut at most the last line of each file, and whatever the output lacks the last record still holds.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, field_serializer

from steadfast.errors import DataError, SteadfastError
from steadfast.messages import printable
from steadfast.tasks import Task, read_jsonl, read_jsonl_by_line
from steadfast.tasks.shapes import scenario_row


class Stage(BaseModel):
    """One call of the model.

    Attributes:
        name: The name of what was asked for.
        seed: The seed of the model's sampling.
        output: The text that came back.
        faults: The faults of that text.
        input_tokens: The number of tokens sent.
        output_tokens: The number of tokens received.
        seconds: The time in seconds that the provider took.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["draft", "critique", "revision"]
    seed: int
    output: str
    faults: tuple[str, ...] = ()
    input_tokens: int
    output_tokens: int
    seconds: float


class Record(BaseModel):
    """One attempt at one scenario.

    Attributes:
        id: The scenario's id.
        attempt: The number of the attempt, from 1. A rejected attempt is followed by another with other seeds.
        status: What came of it. It is "unfinished" where the run stopped in the middle; the attempt is made again.
        reason: The kind of rejection; None if it was not rejected.
        details: The reasons of the rejection, or why the run stopped.
        model: The model's full name.
        prompts: The hash of what the model is told.
        definitions: The hash of how the trait and the domain are defined; empty in records of earlier versions.
        seed: The run's seed.
        trait: The id of the trait that was asked for.
        domain: The id of the domain that was asked for.
        pressure: The pressure that was asked for.
        turns: The number of turns that was asked for.
        stages: Every call, in order.
        scenario: The scenario as it was accepted; None if it was not.
        started: The time when the attempt began, in UTC and ISO 8601.
        seconds: The time in seconds from its start to its end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    attempt: int
    status: Literal["accepted", "rejected", "unfinished"]
    reason: Literal["malformed", "duplicate", "unusable", "withheld"] | None = None
    details: tuple[str, ...] = ()
    model: str
    prompts: str
    definitions: str = ""
    seed: int
    trait: str
    domain: str
    pressure: str
    turns: int
    stages: tuple[Stage, ...]
    scenario: Task | None = None
    started: str
    seconds: float

    @field_serializer("scenario")
    def _as_in_the_output(self, scenario: Task | None) -> dict[str, Any] | None:
        return None if scenario is None else scenario_row(scenario)


class Store:
    """An output file with its provenance.

    Attributes:
        out: The file of scenarios, which `load_tasks` reads.
        records_file: The file of records, `NAME.provenance.jsonl` beside `NAME.jsonl`.
        allow_mixed: Whether other models, prompts and definitions may have written part of it.
        scenarios: The scenarios in the output, by id.
        records: All records, in order.
    """

    def __init__(self, out: Path, *, allow_mixed: bool = False) -> None:
        self.out = out
        self.allow_mixed = allow_mixed
        self.records_file = provenance_path(out)
        self.scenarios: dict[str, Task] = {}
        self.records: list[Record] = []

    @classmethod
    def open(cls, out: Path, model: str, prompts: str, *, allow_mixed: bool = False) -> Self:
        """Read both files as a kill may have left them, and repair them.

        Args:
            out: The file of scenarios; it need not exist.
            model: The full name of the model that is to go on with it.
            prompts: The hash of what that model is told.
            allow_mixed: Whether to go on where another model or other prompts wrote part of it.

        Raises:
            DataError: This command did not write some line of the output; the message names the file and the line.
            SteadfastError: Another model or other prompts wrote part of it, and `allow_mixed` is off.
        """
        store = cls(out, allow_mixed=allow_mixed)
        _drop_half_line(store.records_file, b'{"id":')
        if _holds_text(store.records_file):
            store.records = read_jsonl(store.records_file, Record)
        if not allow_mixed:
            store._refuse_others(model, prompts)
        last = store.records[-1].scenario if store.records else None
        if last is not None:
            _drop_half_line(out, _line(last))
        if _holds_text(out):
            store._read_scenarios()
        if last is not None and last.id not in store.scenarios:
            store._append_scenario(last)
        return store

    def add(self, record: Record) -> None:
        """Write a record and, if it was accepted, its scenario. Both are on the disk when this returns."""
        _append(self.records_file, record.model_dump_json().encode())
        self.records.append(record)
        if record.scenario is not None:
            self._append_scenario(record.scenario)

    def refuse_redefined(self, definitions: Mapping[tuple[str, str], str]) -> None:
        """Refuse traits and domains that meant something else when part of the output was written.

        Args:
            definitions: The hash of how a trait and a domain are defined, by their ids.

        Raises:
            SteadfastError: One of them was redefined, and `allow_mixed` is off.
        """
        for record in self.records if not self.allow_mixed else ():
            now = definitions.get((record.trait, record.domain), "")
            if record.definitions and now and record.definitions != now:
                raise SteadfastError(
                    f"{self.records_file}: {printable(record.id)} was written when the trait "
                    f"{printable(record.trait)!r} or the domain {printable(record.domain)!r} was defined in other "
                    "words; take another --out, or say --allow-mixed to go on"
                )

    def attempts(self, scenario_id: str) -> int:
        """Count the finished attempts at a scenario."""
        return sum(r.id == scenario_id and r.status != "unfinished" for r in self.records)

    def _append_scenario(self, scenario: Task) -> None:
        _append(self.out, _line(scenario))
        self.scenarios[scenario.id] = scenario

    def _refuse_others(self, model: str, prompts: str) -> None:
        for record in self.records:
            if (record.model, record.prompts) != (model, prompts):
                raise SteadfastError(
                    f"{self.records_file}: {printable(record.id)} was written by {printable(record.model)} with "
                    f"prompts {printable(record.prompts)}, and this is {model} with prompts {prompts}; take another "
                    "--out, or say --allow-mixed to go on"
                )

    def _read_scenarios(self) -> None:
        lines = read_jsonl_by_line(self.out, Task, key="id")
        known = {r.id for r in self.records if r.status == "accepted"}
        foreign = [
            f"{self.out}:{number}: id: {printable(s.id)!r} is not in {self.records_file.name}, so this command did not "
            "write it; take another --out and join the files afterwards"
            for number, s in lines.items()
            if s.id not in known
        ]
        if foreign:
            raise DataError(foreign)
        self.scenarios = {s.id: s for s in lines.values()}


def provenance_path(out: Path) -> Path:
    """Give the path of the records of an output file."""
    return out.with_name(f"{out.stem}.provenance.jsonl")


def _line(scenario: Task) -> bytes:
    return json.dumps(scenario_row(scenario), ensure_ascii=False).encode()


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _holds_text(path: Path) -> bool:
    return path.is_file() and bool(path.read_bytes().strip())


def _drop_half_line(path: Path, line: bytes) -> None:
    """Cut off an unfinished last line if it begins as `line` does; this command wrote no other."""
    if not path.is_file():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    half = content[whole:]
    if half and half[: len(line)] == line[: len(half)]:
        os.truncate(path, whole)
