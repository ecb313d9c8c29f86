"""A run directory holds what decides a run's numbers, how long the run took, and the tables of its stages.

protocol.json     names and hashes of all that decides a number; a session that would change one is refused
environment.json  the versions and the machine of the first session
timing.json       the seconds that each session took, and those of finished stages by part of the run
grades.sqlite     every grade, under its judge's protocol
rows/             the tables of results, one for each thing that is measured in one go
logs/             the same results as logs of Inspect's
results.parquet   the rows of all tables
"""

import platform
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any

import polars as pl

from steadfast.errors import RecipeError, SteadfastError
from steadfast.files import clear_leftovers, read_json, read_parquet, write_atomically, write_json

FORMAT = 3
"""The format's number is raised when a directory of an earlier version can no longer be read."""

_PACKAGES = ("steadfast-rl", "torch", "transformers", "peft", "inspect-ai", "reasoning-gym")


class RunDirectory:
    """The files of a run or of an evaluation are found here.

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
        """Return the path of one table of rows, given its names from the outermost to the innermost."""
        *folders, name = (n.replace(":", "-") for n in names)
        return self.path.joinpath("rows", *folders, f"{name}.parquet")

    def protocol(self) -> dict[str, Any]:
        """Return the protocol that an earlier session wrote; it is empty if there was none.

        Raises:
            SteadfastError: The file is damaged.
            RecipeError: Another version wrote the directory.
        """
        if not self.protocol_file.is_file():
            return {}
        before: Any = read_json(self.protocol_file)
        check_format(before, self.path)
        return before

    def claim(self, protocol: Mapping[str, Any], may_grow: Sequence[str] = ()) -> bool:
        """Write the protocol, or check that the directory's content was made under the same one.

        What kills of earlier sessions left half written is cleared first.

        Args:
            protocol: All that decides the numbers, as plain data, nested as deeply as a change should be named.
            may_grow: The keys whose mappings may gain entries, as when evals are added to an evaluation.

        Returns:
            True if the directory was new.

        Raises:
            RecipeError: The directory holds results of another protocol, and each key that changed is named; or of
                another version, or without any protocol.
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

    def threads(self) -> int | None:
        """Return the CPU threads that stages have had so far; None if no session has recorded them."""
        file = self.path / "environment.json"
        recorded: Any = read_json(file) if file.is_file() else None
        threads = recorded.get("threads") if isinstance(recorded, dict) else None
        return threads if isinstance(threads, int) and threads > 0 else None

    def write_environment(self, **more: Any) -> None:
        """Record the versions of the packages and the machine; what else is given replaces or adds to it."""
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
        """Add this session's seconds to those of the run, even if the session ends with an error."""
        before = read_timing(self.timing_file).sessions
        try:
            yield
        finally:
            parts = read_timing(self.timing_file).parts
            write_json(self.timing_file, asdict(Timing((*before, round(time.time() - started, 1)), parts)))

    def add_seconds(self, part: str, seconds: float) -> None:
        """Add the seconds that a stage took to those of its part of the run."""
        found = read_timing(self.timing_file)
        parts = {**found.parts, part: round(found.parts.get(part, 0.0) + seconds, 1)}
        write_json(self.timing_file, asdict(Timing(found.sessions, parts)))

    def write_results(self, files: Sequence[Path], schema: Mapping[str, Any]) -> pl.DataFrame:
        """Join the tables of what was measured into results.parquet; tables that are missing are left out."""
        tables = [read_parquet(f) for f in files if f.is_file()]
        rows = pl.concat(tables) if tables else pl.DataFrame(schema=dict(schema))
        write_atomically(self.results_file, lambda p: rows.write_parquet(p))
        return rows


@dataclass(frozen=True)
class Timing:
    """How long a run took.

    Attributes:
        sessions: The seconds of each session.
        parts: The seconds of the stages that ended, by part of the run. Stages that ran side by side count each.
    """

    sessions: tuple[float, ...] = ()
    parts: Mapping[str, float] = field(default_factory=dict[str, float])


def read_timing(timing_file: Path) -> Timing:
    """Return how long a run took so far; nothing if it was not timed yet.

    Raises:
        SteadfastError: The file is damaged.
    """
    if not timing_file.is_file():
        return Timing()
    content: Any = read_json(timing_file)
    found: Any = content if isinstance(content, dict) else {}
    sessions, parts = found.get("sessions"), found.get("parts", {})
    if not isinstance(sessions, list) or not isinstance(parts, dict):
        raise SteadfastError(f"{timing_file}: is damaged (it holds no list of sessions); delete it to time anew")
    if not all(isinstance(s, int | float) and isfinite(s) and s >= 0 for s in (*sessions, *parts.values())):
        raise SteadfastError(f"{timing_file}: is damaged (a session or a part has no length); delete it to time anew")
    return Timing(tuple(sessions), parts)


def check_format(protocol: Any, directory: Path) -> None:
    """Refuse a directory that another version wrote.

    Raises:
        RecipeError: The directory has another format; the message says which.
    """
    found = protocol.get("format", 1) if isinstance(protocol, dict) else None
    if found != FORMAT:
        raise RecipeError(
            f"{directory} was written by another version of Steadfast (run directory format {found}, this version "
            f"reads {FORMAT}); read it with that version, or begin anew with another --out"
        )


def _changed(before: Any, after: Any, may_grow: frozenset[str], path: str = "") -> list[str]:
    """Return the paths of the values that differ, each by the innermost name that can be given."""
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
