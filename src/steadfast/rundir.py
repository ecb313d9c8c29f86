"""A run directory: what decides its numbers, how long it took, and the tables that its stages write.

protocol.json     what decides every number, by name and hash; a session that would change one is refused
environment.json  versions and machine of the first session
timing.json       seconds of each session
grades.sqlite     every grade, under its judge's protocol
rows/             tables of results, one for each thing that is measured in one go
logs/             the same as logs of Inspect's
results.parquet   all rows
"""

import platform
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from steadfast.errors import RecipeError, SteadfastError
from steadfast.files import clear_leftovers, read_json, read_parquet, write_atomically, write_json

FORMAT = 2
"""Raised when a directory of an earlier version can no longer be read."""

_PACKAGES = ("steadfast-rl", "torch", "transformers", "peft", "inspect-ai", "reasoning-gym")


class RunDirectory:
    """The files of a run or of an evaluation.

    Args:
        path: The directory; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.protocol_file = path / "protocol.json"
        self.timing_file = path / "timing.json"
        self.grades_file = path / "grades.sqlite"
        self.results_file = path / "results.parquet"
        self.logs = path / "logs"

    def rows_file(self, *names: str) -> Path:
        """The table of one thing that is measured, by its names from the outermost."""
        *folders, name = (n.replace(":", "-") for n in names)
        return self.path.joinpath("rows", *folders, f"{name}.parquet")

    def protocol(self) -> dict[str, Any]:
        """What an earlier session wrote; empty if there was none.

        Raises:
            SteadfastError: the file is damaged.
            RecipeError: another version wrote it.
        """
        if not self.protocol_file.is_file():
            return {}
        before: Any = read_json(self.protocol_file)
        check_format(before, self.path)
        return before

    def claim(self, protocol: Mapping[str, Any], may_grow: Sequence[str] = ()) -> bool:
        """Write the protocol, or check that what the directory holds was made under the same one.

        What kills of earlier sessions left half written is cleared first.

        Args:
            protocol: What decides the numbers; plain data, nested as deep as names can usefully be told.
            may_grow: Keys whose mappings may gain entries, as when evals are added to an evaluation.

        Returns:
            Whether the directory was new.

        Raises:
            RecipeError: it holds results of another protocol, each key that changed named, of another version, or
                without any protocol.
        """
        clear_leftovers(self.path)
        protocol = {"format": FORMAT, **protocol}
        before = self.protocol()
        if not before:
            if any((self.path / name).exists() for name in ("arms", "rows")):
                raise RecipeError(
                    f"{self.protocol_file} is missing, so nothing says what the results in {self.path} were made with; "
                    "put back a copy of it, or begin anew with another --out"
                )
            write_json(self.protocol_file, protocol)
            return True
        changed = _changed(before, protocol, frozenset(may_grow))
        if changed:
            raise RecipeError(
                f"{self.path} holds results of another {'; another '.join(changed)}. "
                "Go on with what it was begun with, or give another --out"
            )
        for key in may_grow:
            protocol[key] = {**before.get(key, {}), **protocol[key]}
        write_json(self.protocol_file, protocol)
        return False

    def write_environment(self, **more: Any) -> None:
        """Record the versions and the machine."""
        import torch

        write_json(
            self.path / "environment.json",
            {
                "python": sys.version.split()[0],
                "platform": platform.platform(),
                "threads": torch.get_num_threads(),
                "cpu_capability": torch.backends.cpu.get_cpu_capability(),
                "packages": {name: version(name) for name in _PACKAGES},
                **more,
            },
        )

    @contextmanager
    def timed(self, started: float) -> Generator[None]:
        """Add this session's seconds to the run's, also where it ends with an error."""
        before = sessions(self.timing_file)
        try:
            yield
        finally:
            write_json(self.timing_file, {"sessions": [*before, round(time.time() - started, 1)]})

    def write_results(self, files: Sequence[Path], schema: Mapping[str, Any]) -> pl.DataFrame:
        """Join the tables of some things measured into results.parquet; those that are missing are left out."""
        tables = [read_parquet(f) for f in files if f.is_file()]
        rows = pl.concat(tables) if tables else pl.DataFrame(schema=dict(schema))
        write_atomically(self.results_file, lambda p: rows.write_parquet(p))
        return rows


def sessions(timing_file: Path) -> list[float]:
    """The seconds of each session so far; none if nothing was timed yet.

    Raises:
        SteadfastError: the file is damaged.
    """
    if not timing_file.is_file():
        return []
    content = read_json(timing_file)
    found = content.get("sessions") if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(s, int | float) for s in found):
        raise SteadfastError(f"{timing_file}: is damaged (it holds no list of sessions); delete it to time anew")
    return found


def check_format(protocol: Any, directory: Path) -> None:
    """Refuse a directory that another version wrote.

    Raises:
        RecipeError: saying which.
    """
    found = protocol.get("format", 1) if isinstance(protocol, dict) else None
    if found != FORMAT:
        raise RecipeError(
            f"{directory} was written by another version of Steadfast (run directory format {found}, this version "
            f"reads {FORMAT}); read it with that version, or begin anew with another --out"
        )


def _changed(before: Any, after: Any, may_grow: frozenset[str], path: str = "") -> list[str]:
    """The paths of the values that differ, the innermost names that can be told."""
    if isinstance(before, dict) and isinstance(after, dict):
        found: list[str] = []
        for key in sorted({*before, *after}, key=str):
            if (key not in before or key not in after) and path in may_grow:
                continue
            name = f"{path}.{key}" if path else str(key)
            found += _changed(before.get(key), after.get(key), may_grow, name)
        return found
    if before == after:
        return []
    return [f"{path} ({_short(before)} before, {_short(after)} now)"]


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
