"""This module reads a finished run directory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, cast

import polars as pl
from pydantic import ValidationError

from steadfast.analysis.floors import split_unfinished
from steadfast.errors import SteadfastError
from steadfast.evals.completion import read_rows
from steadfast.evals.rows import BY_ANSWER, CONSTANT, EARLIER, PLAIN, UNATTACKED
from steadfast.files import read_json, read_json_lines, read_parquet
from steadfast.rundir import RunDirectory, Timing, check_format, read_timing
from steadfast.study.arms import BASELINE, CONTROLS, PRE_RL, SCENARIOS, STANDARD, TWINS, WARM_START
from steadfast.study.rungs import TrainedTwins
from steadfast.tasks import Task, Taxonomy, built_in_scenarios, find_suite, load_tasks
from steadfast.tasks.jsonl import faults
from steadfast.tasks.suite import catalogue

if TYPE_CHECKING:
    from steadfast.study.recipe import Recipe

_ROLLOUT_COLUMNS: Mapping[str, Any] = {
    "step": pl.Int64,
    "task": pl.String,
    "pool": pl.String,
    "completion": pl.Int64,
    "text": pl.String,
    "reward": pl.Float64,
    "finished": pl.Boolean,
}


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        directory: The directory that it was read from.
        recipe: The recipe that it followed.
        protocol: The hashes and names of what decides its numbers.
        environment: The versions of the software, and the machine.
        disjoint: The number of pairs of texts that were compared, by pair of pools.
        timing: How long it took.
        results: The results of checkpoints before any attack; see `steadfast.evals.rows.ROW_SCHEMA`.
        attacked: Those of checkpoints after an attack, which have the same names; a table of its own, so that what
            compares checkpoints by name never meets them.
        earlier: Those of earlier checkpoints of an arm, before an attack and after it, which are no arms.
        metrics: One mapping for each training step, by arm; the mean over training seeds.
        second_opinions: The scores by both judges of a sample of the rollouts, one mapping for each step, by arm; the
            mean over training seeds.
        warm_start: The metrics of the warm start; empty where there was none.
    """

    directory: Path
    recipe: "Recipe"
    protocol: Mapping[str, Any]
    environment: Mapping[str, Any]
    disjoint: Mapping[str, int]
    timing: Timing
    results: pl.DataFrame
    attacked: pl.DataFrame
    earlier: pl.DataFrame
    metrics: Mapping[str, Sequence[Mapping[str, Any]]]
    second_opinions: Mapping[str, Sequence[Mapping[str, Any]]]
    warm_start: Sequence[Mapping[str, Any]] = ()

    @property
    def arms(self) -> tuple[str, ...]:
        """The names of the trained arms, in the recipe's order."""
        return self.recipe.arm_names

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """The names of the checkpoints: the pre-RL model, the warm start where there is one, and the arms."""
        return (PRE_RL, *_trained_names(self.recipe))

    @property
    def treatments(self) -> tuple[str, ...]:
        """The arms but the baseline. The one that the run is about leads, and the other controls come last."""
        lead, own = self.recipe.leading_arm, self.recipe.treatments
        controls = [a for a in CONTROLS if a in self.arms]
        return tuple(a for a in dict.fromkeys((lead, *own, *controls)) if a != BASELINE)

    @property
    def trained_twins(self) -> TrainedTwins | None:
        """What of twins the arms were trained on; None for nothing.

        Raises:
            SteadfastError: The protocol is damaged.
        """
        found = self.protocol.get("twins")
        if found is None:
            return None
        try:
            return TrainedTwins.model_validate(found)
        except ValidationError as error:
            file = RunDirectory(self.directory).protocol_file
            fault = faults(error, found)[0]
            raise SteadfastError(f"{file}: is damaged (twins: {fault}); put back a copy of it") from error

    @property
    def training_judge(self) -> str:
        """The name of the judge that rewarded training."""
        return self.protocol["judges"]["training"]["name"]

    @property
    def evaluation_judge(self) -> str:
        """The name of the judge that graded free answers."""
        return self.protocol["judges"]["evaluation"]["name"]

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The run's scenarios and the tasks of the user's suites, by id, as far as their files can still be read.

        Suites that a function makes are left out: reading a report runs nobody's code.
        """
        recipe = self.recipe
        try:
            taxonomy = Taxonomy.load(recipe.traits, recipe.domains)
        except SteadfastError:
            taxonomy = Taxonomy.load()
        path = recipe.data.scenarios
        names = dict.fromkeys((*recipe.suites, *(s for arm in recipe.arms for s in arm.suites or ())))
        known = {SCENARIOS, STANDARD, TWINS, *(i.name for i in catalogue())}
        found: dict[str, Task] = {}
        for name in names:
            if name not in known and Path(name).expanduser().is_file():
                found |= _by_id(lambda name=name: find_suite(name, taxonomy).tasks)
        return found | _by_id(lambda: built_in_scenarios() if path is None else load_tasks(path, taxonomy))

    @cached_property
    def plain(self) -> pl.DataFrame:
        """The rows of checkpoints asked under the plain condition: one for each task, the mean over training seeds.

        `finished` and `refused` are shares, 0 or 1 where there is one seed. Answers are those of the first seed.
        `length` is the mean number of characters of an answer; `kept` and `unfinished` are those of `split_unfinished`.
        """
        rows = self.results.filter(pl.col("condition") == PLAIN).with_columns(
            pl.col("answer").str.len_chars().alias("length"), *split_unfinished()
        )
        means = ["score", "nats", "finished", "refused", "length", "kept", "unfinished"]
        firsts = ["gate", "reason", "answer", "thoughts", "verdicts"]
        key = [c for c in rows.columns if c not in ("seed", *means, *firsts)]
        return rows.group_by(key, maintain_order=True).agg(
            *(pl.col(c).cast(pl.Float64).mean() for c in means), *(pl.col(c).first() for c in firsts)
        )

    def scored(self, kind: str, grader: str) -> pl.DataFrame:
        """Select the rows of one kind of suite under one grader."""
        return self.plain.filter((pl.col("kind") == kind) & (pl.col("grader") == grader))

    def by_seed(self, kind: str, grader: str | None = None) -> pl.DataFrame:
        """Select the plain rows of one kind of suite, training seed by training seed.

        Args:
            kind: The kind of the suites.
            grader: Selects the rows of this grader; None those of answers.
        """
        graded = pl.col("grader") == grader if grader else self._by_judge(None)
        return self.results.filter((pl.col("condition") == PLAIN) & (pl.col("kind") == kind) & graded)

    def answers(self, kind: str, judge: str | None = None) -> pl.DataFrame:
        """Select the rows of answers to suites of one kind, each scored by its task's own grader.

        A suite whose tasks have several graders is still one suite: its grader becomes "several". `judged` says
        which rows a judge scored.

        Args:
            kind: The kind of the suites.
            judge: The judge by whom rows of tasks with a rubric are selected, and no other rows. None selects rows by
                the evaluation judge, and those of tasks with any other grader.
        """
        one = pl.col("grader").n_unique().over("suite") == 1
        return self.plain.filter((pl.col("kind") == kind) & self._by_judge(judge)).with_columns(
            pl.when(one).then(pl.col("grader")).otherwise(pl.lit("several")).alias("grader"),
            (pl.col("grader") == "rubric").alias("judged"),
        )

    def constants(self, kind: str, judge: str | None = None) -> pl.DataFrame:
        """Select the rows of constant answers that stand beside `answers`."""
        chosen = (pl.col("condition") == CONSTANT) & (pl.col("kind") == kind) & self._by_judge(judge)
        return self.results.filter(chosen)

    def _by_judge(self, judge: str | None) -> pl.Expr:
        rubric = pl.col("grader") == "rubric"
        by_judge = rubric & (pl.col("judge") == (judge or self.evaluation_judge))
        return by_judge if judge else by_judge | (pl.col("grader").is_in(BY_ANSWER) & ~rubric)

    @property
    def curves(self) -> dict[str, list[Mapping[str, Any]]]:
        """The metrics of each step by arm, with the scores of the judge that did not train beside them."""
        merged: dict[str, list[Mapping[str, Any]]] = {}
        for arm, steps in self.metrics.items():
            other = {o["step"]: o["other"] for o in self.second_opinions.get(arm, [])}
            key = f"other_judge/{self.recipe.arm(arm).pool}"
            merged[arm] = [{**m, key: other.get(m["step"])} for m in steps]
        return merged

    @property
    def ungraded_rollouts(self) -> dict[str, int]:
        """The number of rollouts of each arm's training that could not be graded."""
        return {arm: sum(int(m.get("ungraded") or 0) for m in steps) for arm, steps in self.metrics.items()}

    @property
    def ungraded_results(self) -> dict[str, int]:
        """The number of rows of each checkpoint without a score."""
        missing = self.results.filter(pl.col("score").is_null())
        counts = dict(missing.group_by("checkpoint", maintain_order=True).len().iter_rows())
        return {c: counts.get(c, 0) for c in self.checkpoints}

    def rollouts(self, arm: str) -> pl.DataFrame | None:
        """Read every completion of an arm's training with the first seed; None where they were not kept.

        Raises:
            SteadfastError: The file is damaged, or another version wrote it.
        """
        file = _arm(self.directory, arm, self.recipe.seeds[0]) / "rollouts.parquet"
        if not file.is_file():
            return None
        found = read_parquet(file)
        try:
            return found.select(pl.col(name).cast(kind) for name, kind in _ROLLOUT_COLUMNS.items())
        except pl.exceptions.PolarsError as error:
            raise SteadfastError(
                f"{file}: is no table of rollouts that this version reads ({str(error).splitlines()[0]}); "
                "delete it to have a report without rollouts"
            ) from error


def load_run(directory: Path) -> Run:
    """Read a run directory.

    Raises:
        SteadfastError: The run is unfinished, another version wrote it, or a file of it cannot be read.
    """
    from steadfast.study.recipe import load_recipe  # it loads torch, which nothing else here needs

    files = RunDirectory(directory)
    for file in (directory / "recipe.yaml", files.protocol_file, files.results_file):
        if not file.is_file():
            raise SteadfastError(
                f"{directory}: no results yet, {file.name} is missing; give the directory of a finished run, "
                f"or finish this one with `steadfast run RECIPE --out {directory}`"
            )
    protocol = _read_protocol(files.protocol_file)
    recipe = load_recipe(directory / "recipe.yaml")
    rows = read_rows(files.results_file)
    _refuse_doubled(rows, files.results_file)
    earlier, rows = rows.filter(EARLIER), rows.filter(~EARLIER)
    results, attacked = rows.filter(UNATTACKED), rows.filter(~UNATTACKED)
    measured = results.filter(pl.col("condition") == PLAIN)["checkpoint"].to_list()
    names = _trained_names(recipe)
    if unmeasured := sorted({PRE_RL, *names} - set(measured)):
        raise SteadfastError(f"{files.results_file}: nothing measured of {', '.join(unmeasured)}; finish the run first")
    trained = results.filter(pl.col("checkpoint") != PRE_RL).select("checkpoint", "seed").unique().rows()
    if missing := [f"{a} with seed {s}" for a in names for s in recipe.seeds if (a, s) not in trained]:
        raise SteadfastError(f"{files.results_file}: nothing measured of {', '.join(missing)}; finish the run first")
    _refuse_without_floor(results, protocol["judges"]["evaluation"]["name"], files.results_file)
    return Run(
        directory=directory,
        recipe=recipe,
        protocol=protocol,
        environment=_read_mapping(directory / "environment.json"),
        disjoint=_read_counts(directory / "disjoint.json"),
        timing=read_timing(files.timing_file),
        results=results,
        attacked=attacked,
        earlier=earlier,
        metrics={arm: _over_seeds(directory, recipe, arm, "metrics.jsonl") for arm in recipe.arm_names},
        warm_start=_over_seeds(directory, recipe, WARM_START, "metrics.jsonl") if WARM_START in names else [],
        second_opinions={
            arm: _over_seeds(directory, recipe, arm, "second_opinion.jsonl", ("trained", "other"))
            for arm in recipe.arm_names
        },
    )


def _refuse_doubled(results: pl.DataFrame, file: Path) -> None:
    """Refuse a task with two scores, of which nothing would tell the one that counts."""
    key = ["checkpoint", "seed", "attack", "dose", "attack_seed"]
    key += ["condition", "kind", "suite", "grader", "judge", "task"]
    scored = results.filter(pl.col("score").is_not_null())
    twice = scored.filter(pl.struct(key).is_duplicated()).sort(key)
    if not twice.is_empty():
        checkpoint, suite, grader, task = twice.select("checkpoint", "suite", "grader", "task").row(0)
        raise SteadfastError(
            f"{file}: several scores of task {task!r} in suite {suite!r}, grader {grader!r}, on {checkpoint!r}; delete "
            "the file and run the same command again to make it anew"
        )


def _refuse_without_floor(results: pl.DataFrame, judge: str, file: Path) -> None:
    """Refuse judged answers beside which no constant answer was graded: nothing would tell what they are worth."""
    judged = (pl.col("grader") == "rubric") & (pl.col("judge") == judge) & pl.col("kind").is_in(["eval", "trait"])
    conditions = results.filter(judged)["condition"].unique().to_list()
    if PLAIN in conditions and CONSTANT not in conditions:
        raise SteadfastError(f"{file}: nothing measured of constant answers; finish the run first")


def _trained_names(recipe: "Recipe") -> tuple[str, ...]:
    return recipe.arm_names if recipe.training.warm_start is None else (WARM_START, *recipe.arm_names)


def _arm(directory: Path, arm: str, seed: int) -> Path:
    return directory / "arms" / arm / f"seed-{seed}"


def _over_seeds(
    directory: Path, recipe: "Recipe", arm: str, name: str, needed: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Read a file with a record for each step of each seed, and take the mean of each value over the seeds."""
    by_step: dict[int, list[Mapping[str, Any]]] = {}
    for seed in recipe.seeds:
        for record in _read_steps(_arm(directory, arm, seed) / name, needed):
            by_step.setdefault(record["step"], []).append(record)
    return [
        {"step": step} | {key: _mean([r.get(key) for r in records]) for key in records[0] if key != "step"}
        for step, records in sorted(by_step.items())
    ]


def _mean(values: Sequence[Any]) -> float | None:
    known = [v for v in values if v is not None]
    return fmean(known) if known else None


def _by_id(read: Callable[[], Sequence[Task]]) -> dict[str, Task]:
    """Index tasks by id; there are none where their file has moved or become faulty since."""
    try:
        return {t.id: t for t in read()}
    except SteadfastError:
        return {}


def _read_protocol(file: Path) -> dict[str, Any]:
    content = read_json(file)
    check_format(content, file.parent)
    judges = content.get("judges")
    for which in ("training", "evaluation"):
        judge = judges.get(which) if isinstance(judges, dict) else None
        if not isinstance(judge, dict) or not isinstance(judge.get("name"), str):
            raise SteadfastError(
                f"{file}: is damaged (it does not name the {which} judge); put back a copy of it, or begin anew in "
                "another directory"
            )
    return content


def _read_mapping(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    content = read_json(file)
    if not isinstance(content, dict):
        raise SteadfastError(f"{file}: is damaged (it holds no mapping); delete it to have a report without it")
    return cast("dict[str, Any]", content)


def _read_counts(file: Path) -> dict[str, int]:
    content = _read_mapping(file)
    if not all(isinstance(v, int) and not isinstance(v, bool) for v in content.values()):
        raise SteadfastError(f"{file}: is damaged (a count is no number); delete it to have a report without it")
    return content


def _read_steps(file: Path, needed: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Read a file with one record for each step, whose values are numbers or null."""
    records = read_json_lines(file)
    for number, record in enumerate(records, start=1):
        fault = _fault(record, needed)
        if fault:
            raise SteadfastError(f"{file}: line {number}: {fault}; delete the file to have a report without it")
    return records


def _fault(record: Mapping[str, Any], needed: Sequence[str]) -> str | None:
    step = record.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or step < 1:
        return "step: is no number of a step"
    for name in needed:
        if record.get(name) is None:
            return f"{name}: is missing"
    wrong = [k for k, v in record.items() if v is not None and (isinstance(v, bool) or not _is_finite(v))]
    return f"{wrong[0]}: is no finite number" if wrong else None


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e300
