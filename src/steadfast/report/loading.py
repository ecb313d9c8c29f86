"""Reading a finished run directory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from steadfast.errors import SteadfastError
from steadfast.evals.schema import RESULT_SCHEMA
from steadfast.files import read_json_lines
from steadfast.study.arms import ARMS, BASELINE, PRE_RL
from steadfast.study.recipe import Recipe, load_recipe
from steadfast.tasks import Scenario, built_in_scenarios, load_scenarios


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        directory: it was read from.
        recipe: it followed.
        protocol: hashes and names of what decides its numbers.
        environment: versions and machine.
        disjoint: pairs of texts compared, by pair of pools.
        sessions: seconds of each session.
        results: one row an item and checkpoint.
        metrics: one mapping a training step, by arm.
        second_opinions: scores by both judges of a sample of the trait rollouts, one mapping a step, by arm.
    """

    directory: Path
    recipe: Recipe
    protocol: Mapping[str, Any]
    environment: Mapping[str, Any]
    disjoint: Mapping[str, int]
    sessions: Sequence[float]
    results: pl.DataFrame
    metrics: Mapping[str, Sequence[Mapping[str, Any]]]
    second_opinions: Mapping[str, Sequence[Mapping[str, Any]]]

    @property
    def arms(self) -> tuple[str, ...]:
        """The trained arms, in the recipe's order."""
        return self.recipe.arms

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """The pre-RL model and the arms."""
        return (PRE_RL, *self.arms)

    @property
    def treatments(self) -> tuple[str, ...]:
        """The arms that are no control, the leading one first."""
        return tuple(a for a in ARMS if a in self.arms and a != BASELINE)

    @cached_property
    def scenarios(self) -> dict[str, Scenario]:
        """The run's scenarios by id, as far as they can still be read; a moved file of the user's gives none."""
        path = self.recipe.data.scenarios
        try:
            found = built_in_scenarios() if path is None else load_scenarios(path)
        except SteadfastError:
            return {}
        return {s.id: s for s in found}

    def rows(self, kind: str, scoring: str | None = None) -> pl.DataFrame:
        """The results of one kind, and one scoring."""
        chosen = self.results.filter(pl.col("kind") == kind)
        return chosen if scoring is None else chosen.filter(pl.col("scoring") == scoring)

    @property
    def curves(self) -> dict[str, list[Mapping[str, Any]]]:
        """Metrics by step and arm, the scores of the judge that did not train beside them."""
        merged: dict[str, list[Mapping[str, Any]]] = {}
        for arm, steps in self.metrics.items():
            other = {o["step"]: o["other"] for o in self.second_opinions.get(arm, [])}
            merged[arm] = [{**m, "other_judge/trait": other.get(m["step"])} for m in steps]
        return merged

    def rollouts(self, arm: str) -> pl.DataFrame | None:
        """Every completion of an arm's training; None where they were not kept."""
        file = self.directory / "arms" / arm / "rollouts.parquet"
        return _read_parquet(file) if file.is_file() else None


def load_run(directory: Path) -> Run:
    """Read a run directory.

    Raises:
        SteadfastError: the run is unfinished, or a file of it cannot be read.
    """
    for name in ("recipe.yaml", "protocol.json", "results.parquet"):
        if not (directory / name).is_file():
            raise SteadfastError(
                f"{directory}: no results yet, {name} is missing; give the directory of a finished run, "
                f"or finish this one with `steadfast run RECIPE --out {directory}`"
            )
    recipe = load_recipe(directory / "recipe.yaml")
    results = read_results(directory / "results.parquet")
    unmeasured = sorted({PRE_RL, *recipe.arms} - set(results["checkpoint"].to_list()))
    if unmeasured:
        raise SteadfastError(
            f"{directory / 'results.parquet'}: nothing measured of {', '.join(unmeasured)}; finish the run first"
        )
    timing = _read_json(directory / "timing.json")
    return Run(
        directory=directory,
        recipe=recipe,
        protocol=_read_json(directory / "protocol.json"),
        environment=_read_json(directory / "environment.json"),
        disjoint=_read_json(directory / "disjoint.json"),
        sessions=timing.get("sessions", []),
        results=results,
        metrics={arm: read_json_lines(_arm(directory, arm) / "metrics.jsonl") for arm in recipe.arms},
        second_opinions={arm: read_json_lines(_arm(directory, arm) / "second_opinion.jsonl") for arm in recipe.arms},
    )


def read_results(file: Path) -> pl.DataFrame:
    """A table of results, one row an item and checkpoint; a NaN score is null.

    Raises:
        SteadfastError: it cannot be read, or lacks columns.
    """
    results = _read_parquet(file)
    missing = sorted(RESULT_SCHEMA.keys() - set(results.columns))
    if missing:
        raise SteadfastError(f"{file}: columns missing: {', '.join(missing)}")
    return results.with_columns(pl.col("score").cast(pl.Float64).fill_nan(None))


def _arm(directory: Path, arm: str) -> Path:
    return directory / "arms" / arm


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise SteadfastError(f"{file}: not valid JSON: {error.msg} on line {error.lineno}") from error


def _read_parquet(file: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(file)
    except (PolarsError, OSError) as error:
        raise SteadfastError(f"{file}: not a readable Parquet table: {error}") from error
