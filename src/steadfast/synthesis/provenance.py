"""The output file and the record of how each of its lines came about; both survive a kill at any byte.

An accepted scenario is written to the provenance first and to the output after that, by one process without a pause.
A kill can therefore cut at most the last line of each file, and whatever the output lacks the last record still holds.
"""

import json
import os
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from steadfast.errors import DataError, SteadfastError
from steadfast.tasks import Scenario, read_jsonl, read_jsonl_by_line


class Stage(BaseModel):
    """One call: its name, its seed, what came back word for word, what was wrong with it, and what it cost."""

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
        id: the scenario's.
        attempt: from 1; a rejected attempt is followed by another one with other seeds.
        status: "unfinished" where the run stopped in the middle; such an attempt is made again.
        reason: kind of rejection.
        details: of the rejection, or of the stop.
        model: by its full name.
        prompts: hash of what it is told.
        seed: the run's.
        stages: every call, in order.
        scenario: as it was accepted.
        started: UTC, ISO 8601.
        seconds: from start to end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    attempt: int
    status: Literal["accepted", "rejected", "unfinished"]
    reason: Literal["malformed", "duplicate", "unusable", "withheld"] | None = None
    details: tuple[str, ...] = ()
    model: str
    prompts: str
    seed: int
    trait: str
    domain: str
    pressure: str
    turns: int
    stages: tuple[Stage, ...]
    scenario: Scenario | None = None
    started: str
    seconds: float


class Store:
    """An output file with its provenance.

    Attributes:
        out: scenarios, a user's own data file.
        beside: records, `NAME.provenance.jsonl` beside `NAME.jsonl`.
        scenarios: in the output, by id.
        records: all of them, in order.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.beside = provenance_path(out)
        self.scenarios: dict[str, Scenario] = {}
        self.records: list[Record] = []

    @classmethod
    def open(cls, out: Path, model: str, prompts: str, *, allow_mixed: bool = False) -> Self:
        """Read both files as a kill may have left them, and put them right.

        Raises:
            DataError: a line that this command did not write, by file and line.
            SteadfastError: they are another model's or another version's, and `allow_mixed` is off.
        """
        store = cls(out)
        _drop_half_line(store.beside, b'{"id":')
        if _holds_text(store.beside):
            store.records = read_jsonl(store.beside, Record)
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
        """Write a record, and the scenario of an accepted one; on the disk when this returns."""
        _append(self.beside, record.model_dump_json().encode())
        self.records.append(record)
        if record.scenario is not None:
            self._append_scenario(record.scenario)

    def attempts(self, scenario_id: str) -> int:
        """Finished attempts at a scenario."""
        return sum(r.id == scenario_id and r.status != "unfinished" for r in self.records)

    def _append_scenario(self, scenario: Scenario) -> None:
        _append(self.out, _line(scenario))
        self.scenarios[scenario.id] = scenario

    def _refuse_others(self, model: str, prompts: str) -> None:
        for record in self.records:
            if (record.model, record.prompts) != (model, prompts):
                raise SteadfastError(
                    f"{self.beside}: {record.id} was written by {record.model} with prompts {record.prompts}, and "
                    f"this is {model} with prompts {prompts}; take another --out, or say --allow-mixed to go on"
                )

    def _read_scenarios(self) -> None:
        lines = read_jsonl_by_line(self.out, Scenario, key="id")
        known = {r.id for r in self.records if r.status == "accepted"}
        foreign = [
            f"{self.out}:{number}: id: {s.id!r} is not in {self.beside.name}, so this command did not write it; "
            "take another --out and join the files afterwards"
            for number, s in lines.items()
            if s.id not in known
        ]
        if foreign:
            raise DataError(foreign)
        self.scenarios = {s.id: s for s in lines.values()}


def provenance_path(out: Path) -> Path:
    """Where the records of an output file lie."""
    return out.with_name(f"{out.stem}.provenance.jsonl")


def _line(scenario: Scenario) -> bytes:
    return json.dumps(scenario.model_dump(mode="json"), ensure_ascii=False).encode()


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _holds_text(path: Path) -> bool:
    return path.is_file() and bool(path.read_bytes().strip())


def _drop_half_line(path: Path, line: bytes) -> None:
    """Cut off a last line without its end, if it and `line` begin alike: anything else is not ours to cut."""
    if not path.is_file():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    half = content[whole:]
    if half and half[: len(line)] == line[: len(half)]:
        os.truncate(path, whole)
