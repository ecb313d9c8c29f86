"""The local engine trains one arm step by step, keeps everything, and survives any kill.

What a step is, one of reinforcement learning or one of supervised learning, is given to the loop. Every step is a
function of the run's seed, the step's number and the state before it, so a run that was killed and resumed from its
last state goes through the same steps as one never killed, bit for bit.

An arm's directory holds `metrics.jsonl` and `tensorboard/` for the curves, `rollouts.parquet` with every completion and
its grade, and `adapter/` when the arm is done (`weights/` where all weights are trained); while it is not, `state/` is
there to resume from. Of steps that the settings name, `kept/` holds what was trained as it was then.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import torch
from torch.utils.tensorboard import SummaryWriter

from steadfast.errors import SteadfastError
from steadfast.files import (
    read_json,
    read_json_lines,
    recover_directory,
    replace_directory,
    write_atomically,
    write_json,
    write_json_lines,
)
from steadfast.graders.grade import VERDICTS, Judge
from steadfast.models.all_weights import shapes
from steadfast.models.identity import hash_file
from steadfast.models.policy import Policy
from steadfast.training.config import TrainingConfig
from steadfast.training.groups import GradedGroup
from steadfast.training.mixture import ScheduledTask
from steadfast.training.step import train_step

OnStep = Callable[[int, dict[str, Any]], None]
T = TypeVar("T")


def train(
    policy: Policy,
    schedule: Sequence[Sequence[ScheduledTask]],
    judge: Judge,
    config: TrainingConfig,
    directory: Path,
    *,
    seed: int,
    shuffled: bool = False,
    on_step: OnStep = lambda _step, _metrics: None,
) -> None:
    """Train a policy on a schedule of prompts, or go on where a killed run stopped.

    Args:
        policy: The model with a fresh adapter, whose weights are replaced if a state is found.
        schedule: The tasks of each step.
        judge: The judge that grades the rollouts of tasks with a rubric.
        config: The settings of the training.
        directory: The directory of the arm.
        seed: The seed of the rollouts.
        shuffled: Whether rewards are permuted within their group, for the control that learns nothing from them.
        on_step: A function that is told each step's number, from 1, and its metrics.

    Raises:
        SteadfastError: The disk is full, and the run can go on when there is room; or the saved state is damaged.
        TrainingError: A step raised it as `train_step` says; the last saved state is whole, and the same command goes
            on from it.
    """

    def step(optimizer: torch.optim.Optimizer, number: int) -> StepOutput:
        graded, metrics = train_step(
            policy,
            optimizer,
            schedule[number - 1],
            judge,
            config,
            seed_of_step(seed, number),
            shuffled=shuffled,
        )
        return StepOutput(rollout_rows(number, graded), metrics)

    run_steps(policy, step, len(schedule), config, directory, on_step)


def seed_of_step(seed: int, number: int) -> int:
    """Return the seed of a step's rollouts."""
    # A large odd multiplier keeps the steps of neighbouring seeds from sharing random numbers.
    return seed * 1_000_003 + number


@dataclass(frozen=True)
class StepOutput:
    """What a step leaves behind besides the trained weights.

    Attributes:
        rollouts: A row for each rollout of the step, as `rollout_rows` makes them.
        metrics: What is logged, as numbers by name; None stands for what could not be measured.
    """

    rollouts: list[dict[str, Any]]
    metrics: dict[str, Any]


Step = Callable[[torch.optim.Optimizer, int], StepOutput]
"""A step of training: it is given the optimizer and its number, counted from 1, and moves the weights."""


def run_steps(
    policy: Policy,
    step: Step,
    count: int,
    config: TrainingConfig,
    directory: Path,
    on_step: OnStep = lambda _step, _metrics: None,
) -> None:
    """Take a number of steps, or the rest of them where a killed run stopped, and write the adapter.

    Args:
        policy: The model with a fresh adapter, whose weights are replaced if a state is found.
        step: The step.
        count: The number of steps.
        config: The settings of the training.
        directory: The directory of the arm.
        on_step: A function that is told each step's number, from 1, and its metrics.

    Raises:
        SteadfastError: The disk is full, the saved state is damaged, or a step raised it.
    """
    if is_trained(directory):
        return
    optimizer = torch.optim.AdamW(policy.trainable(), lr=config.learning_rate, weight_decay=0.0, betas=(0.9, 0.95))
    state = _State(directory)
    done = state.restore(policy, optimizer)
    metrics_file = directory / "metrics.jsonl"
    history = [m for m in read_json_lines(metrics_file) if m["step"] <= done]
    write_json_lines(metrics_file, history)
    pending: list[dict[str, Any]] = []
    with SummaryWriter(str(directory / "tensorboard"), purge_step=done + 1) as board:
        for number in range(done + 1, count + 1):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate_at(number)
            made = step(optimizer, number)
            metrics = {"step": number, "learning_rate": optimizer.param_groups[0]["lr"], **made.metrics}
            with metrics_file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(metrics) + "\n")
            for name, value in metrics.items():
                if name != "step" and value is not None:
                    board.add_scalar(name, value, number)
            pending.extend(made.rollouts)
            if number in config.keep:  # before the state, so that a kill between them only writes it again
                replace_directory(kept_after(directory, number), policy.save)
            if number % config.save_every == 0 or number == count:
                state.save(policy, optimizer, number, pending)
                pending = []
            on_step(number, metrics)
    state.finish(policy, count)


def kept_after(directory: Path, step: int) -> Path:
    """Return the folder of what was trained as it was after a step that the settings name in `keep`."""
    return directory / "kept" / f"step-{step}"


_TRAINED = "trained.json"
"""The file that a finished arm has: the hashes of what training wrote, by file."""


def is_trained(directory: Path) -> bool:
    """Whether an arm is finished, and what training wrote is still there as it was.

    Raises:
        SteadfastError: A file that training wrote was changed or is gone since.
    """
    if not (directory / _TRAINED).is_file():
        return False
    record: Any = read_json(directory / _TRAINED)
    for name, digest in (record if isinstance(record, dict) else {_TRAINED: None}).items():
        file = directory / name
        if not file.is_file() or hash_file(file) != digest:
            raise SteadfastError(
                f"{file} is not what training wrote there: put it back, or delete the folder {directory} and run the "
                "same command again, which trains the arm anew"
            )
    return True


def take_adapters(source: Path, directory: Path, steps: Sequence[int]) -> None:
    """Take the adapters of some steps over from another training of the same arm.

    Args:
        source: The directory of the other training, which kept them and is finished.
        directory: The directory of the arm, which is finished too.
        steps: The steps.

    Raises:
        SteadfastError: The other training ended in another adapter, so it did not go the same way.
    """
    record, other = (read_json(d / _TRAINED) for d in (directory, source))
    last = "adapter/adapter_model.safetensors"
    if record[last] != other[last]:
        raise SteadfastError(f"{directory / last} is not what the same training gives when it is repeated")
    for step in steps:
        fill = partial(shutil.copytree, kept_after(source, step), dirs_exist_ok=True)
        replace_directory(kept_after(directory, step), fill)
    folders = [kept_after(source, s).relative_to(source) for s in steps]
    taken = {name: digest for name, digest in other.items() if Path(name).parent in folders}
    write_json(directory / _TRAINED, {**record, **taken})


def discard(directory: Path) -> None:
    """Delete an arm, so that it is trained anew; a kill on the way leaves none that would be taken for finished."""
    (directory / _TRAINED).unlink(missing_ok=True)
    shutil.rmtree(directory)


def steps_done(directory: Path) -> int:
    """Return how many steps an unfinished arm has behind it and would go on from."""
    return _State(directory).step()


def rollout_rows(step: int, groups: Sequence[GradedGroup], *, rewarded: bool = True) -> list[dict[str, Any]]:
    """Return every rollout of a step with its grade as a row that a person can read.

    Args:
        step: The number of the step.
        groups: The rollouts and their grades.
        rewarded: Whether the update learned from the rewards; if not, `learned_reward` is null.
    """
    rows: list[dict[str, Any]] = []
    for g in groups:
        learned = dict(zip(g.graded, g.learned_rewards, strict=True)) if rewarded else {}
        rows += [_row(step, g, i, learned.get(i)) for i in range(len(g.grades))]
    return rows


def _row(step: int, g: GradedGroup, place: int, learned: float | None) -> dict[str, Any]:
    rollout, grade = g.group.rollouts[place], g.grades[place]
    return {
        "step": step,
        "task": g.group.scheduled.task.id,
        "pool": g.pool,
        "completion": place,
        "text": rollout.transcript,
        "thoughts": rollout.thoughts or None,
        "reward": grade.score,
        "learned_reward": learned,
        "verdicts": [{"criterion": v.criterion, "score": v.score, "reason": v.reason} for v in grade.verdicts],
        "gate": grade.gate,
        "reason": grade.error,
        "finished": rollout.finished,
        "tokens": sum(len(s.token_ids) for s in rollout.segments if s.trained),
    }


_SCHEMA = {
    "step": pl.Int32,
    "task": pl.String,
    "pool": pl.String,
    "completion": pl.Int32,
    "text": pl.String,
    "thoughts": pl.String,
    "reward": pl.Float64,
    "learned_reward": pl.Float64,
    "verdicts": VERDICTS,
    "gate": pl.String,
    "reason": pl.String,
    "finished": pl.Boolean,
    "tokens": pl.Int32,
}


class _State:
    """An unfinished arm keeps this to go on from: what is trained, its optimizer, and the rollouts up to that step."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "state"
        self.parts = directory / "rollouts"

    def step(self) -> int:
        """Return the step of the last state; it is 0 if there is none.

        Raises:
            SteadfastError: The state is damaged.
        """
        saved = self._load(mmap=True)  # the number alone is read, and not the weights, which may be gigabytes
        return 0 if saved is None else int(saved["step"])

    def restore(self, policy: Policy, optimizer: torch.optim.Optimizer) -> int:
        """Load the last state, if there is one, and return the number of steps that it holds.

        Raises:
            SteadfastError: The state is damaged, or belongs to another adapter.
        """
        saved = self._load()
        if saved is None:
            return 0
        if shapes(saved["weights"]) != shapes(policy.weights()):
            raise self._unusable(self._file, "it is of another adapter or model")
        policy.load(saved["weights"])
        self._read(self._file, lambda: optimizer.load_state_dict(saved["optimizer"]))
        return int(saved["step"])

    @property
    def _file(self) -> Path:
        return self.path / "state.pt"

    def _load(self, *, mmap: bool = False) -> dict[str, Any] | None:
        recover_directory(self.path)
        if not self._file.is_file():
            return None
        # On the CPU, since the device that it was saved on may not be here.
        saved: Any = self._read(
            self._file, lambda: torch.load(self._file, map_location="cpu", weights_only=True, mmap=mmap)
        )
        if not isinstance(saved, dict) or not {"weights", "optimizer", "step"} <= saved.keys():
            raise self._unusable(self._file, "it is damaged")
        return saved

    def _read(self, file: Path, read: Callable[[], T]) -> T:
        try:
            return read()
        except Exception as error:  # torch and polars raise whatever a damaged file leads them to
            raise self._unusable(file, "it is damaged") from error

    def _unusable(self, file: Path, why: str) -> SteadfastError:
        return SteadfastError(
            f"{file}: {why}, so this arm cannot go on from it; delete the folder {self.directory} and run the same "
            "command again, which trains the arm anew"
        )

    def save(self, policy: Policy, optimizer: torch.optim.Optimizer, step: int, rollouts: list[dict[str, Any]]) -> None:
        part = self.parts / f"{step:06d}.parquet"
        frame = pl.DataFrame(rollouts, schema=_SCHEMA)
        write_atomically(part, lambda p: frame.write_parquet(p))
        saved = {
            "weights": policy.weights(),
            "optimizer": optimizer.state_dict(),
            "step": step,
        }
        replace_directory(self.path, lambda folder: torch.save(saved, folder / "state.pt"))

    def finish(self, policy: Policy, step: int) -> None:
        """Join the rollouts, write what was trained, and drop the state.

        All weights are not written a second time where those of the last step are kept.
        """
        parts = sorted(self.parts.glob("[0-9]*.parquet"))
        tables = [self._read(p, lambda p=p: pl.read_parquet(p)) for p in parts]
        joined = pl.concat(tables) if tables else pl.DataFrame(schema=_SCHEMA)
        write_atomically(self.directory / "rollouts.parquet", lambda p: joined.write_parquet(p))
        if policy.folder == "adapter" or not kept_after(self.directory, step).is_dir():
            replace_directory(self.directory / policy.folder, policy.save)
        folders = [self.directory / policy.folder, *sorted(self.directory.glob("kept/step-*"))]
        files = [f for folder in folders for f in sorted(folder.glob("*")) if f.suffix != ".md"]
        made = [self.directory / "rollouts.parquet", *files]
        write_json(self.directory / _TRAINED, {str(f.relative_to(self.directory)): hash_file(f) for f in made})
        for leftover in [*parts, *self.path.glob("*")]:
            leftover.unlink()
        for folder in (self.parts, self.path):
            if folder.is_dir():
                folder.rmdir()
