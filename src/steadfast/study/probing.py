"""Look inside a finished run: directions, how far checkpoints moved along them, weights, and the cause.

Each part writes a file of its own in RUN/probing, and what is there is not made again:

    protocol.json                        the settings and what they were made with
    activations/CHECKPOINT.safetensors   activations of the texts that each checkpoint read
    directions.json, .safetensors        directions by trait and layer, and what they are worth
    projections.json                     how far each checkpoint moved, on fixed texts and on its own answers
    weights.json                         the adapters' changes, and how far they overlap
    steering/CELL.json, steering.json    the cause: directions added and taken out
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from steadfast.errors import SteadfastError
from steadfast.evals.rows import ROW_SCHEMA
from steadfast.files import read_json, read_parquet, write_json
from steadfast.locking import sole_use
from steadfast.models.forward import decoder_of
from steadfast.models.pretrained import LoadedModel
from steadfast.probing.config import ProbingConfig
from steadfast.progress import Progress
from steadfast.rundir import RunDirectory
from steadfast.study.data import StudyData
from steadfast.study.probe_analysis import find_directions, find_projections, find_weights
from steadfast.study.probe_checkpoints import Probed, checkpoints_of
from steadfast.study.probe_reading import Probe, is_read, read_checkpoint, texts_to_read
from steadfast.study.recipe import Recipe, load_recipe
from steadfast.study.running import load_study_model
from steadfast.study.stages import Stage
from steadfast.study.steering import cells_of, is_measured, measure_cell, sum_up

FOLDER = "probing"
_FREE_BYTES = 500_000_000
_UNITS_OF_A_FIT = 2000
"""What a part that runs no model costs, counted in tokens through it."""
_UNITS_OF_COHERENCE = 2000
"""What plain texts and open questions of a cell cost, in tokens."""


def probe_run(
    directory: str | Path,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Look inside a finished run, or go on where an earlier call stopped.

    Args:
        directory: The run directory.
        overrides: Settings in place of the recipe's `probing`, such as {"layers": (6, 12)}; without any, those of an
            earlier call are taken.
        progress: It is told how far the work is; None tells nobody.

    Returns:
        The folder of the results.

    Raises:
        SteadfastError: The run is unfinished, an adapter is missing, a setting is wrong or another one than before, or
            the model cannot be looked into; all of it before long work begins.
    """
    path, progress = Path(directory), progress or Progress()
    progress.note("checking the run")
    recipe = _finished(path)
    checkpoints = checkpoints_of(recipe, path)
    config = _config(recipe, path / FOLDER, overrides or {})
    if shutil.disk_usage(path).free < _FREE_BYTES:
        raise SteadfastError(f"{path}: less than {_FREE_BYTES / 1e9:.1f} GB free; activations need some room")
    with sole_use(path):
        probe = _open(recipe, path, config, checkpoints, progress)
        _run(_stages(probe, progress), progress, RunDirectory(path).threads())
    return path / FOLDER


def _finished(path: Path) -> Recipe:
    """Read the recipe of a run that is finished."""
    for name in ("recipe.yaml", "protocol.json", "results.parquet"):
        if not (path / name).is_file():
            raise SteadfastError(
                f"{path}: is no finished run, {name} is missing; give the directory of one, or finish this one with "
                f"`steadfast run RECIPE --out {path}`"
            )
    return load_recipe(path / "recipe.yaml")


def _config(recipe: Recipe, folder: Path, overrides: Mapping[str, Any]) -> ProbingConfig:
    """The settings: the recipe's with what was given in their place, or those of an earlier call."""
    own = recipe.probing or ProbingConfig()
    file = folder / "protocol.json"
    before = read_json(file).get("settings") if file.is_file() else None
    if before is not None and not overrides:
        return ProbingConfig.model_validate(before)
    return ProbingConfig.model_validate({**own.model_dump(), **overrides})


def _open(recipe: Recipe, path: Path, config: ProbingConfig, checkpoints: list[Probed], progress: Progress) -> Probe:
    """Load the model and the texts, and check that results of an earlier call were made with the same."""
    data = StudyData.load(recipe)
    progress.note(f"loading {recipe.model.name}")
    model = load_study_model(recipe, RunDirectory(path))
    _refuse_another_model(model, path)
    layers = _layers(config, len(decoder_of(model.lm).layers))
    results = read_parquet(path / "results.parquet")
    if missing := [c for c in ("checkpoint", "seed", "condition", "task", "answer") if c not in results.columns]:
        raise SteadfastError(
            f"{path / 'results.parquet'}: has no column {missing[0]!r}; it needs {len(ROW_SCHEMA)} of ours"
        )
    probe = Probe.of(recipe, data, model, path / FOLDER, config, layers, checkpoints, results, progress.note)
    _claim(probe, progress)
    return probe


def _refuse_another_model(model: LoadedModel, path: Path) -> None:
    now = {k: v for k, v in model.identity.as_dict().items() if k != "combined"}
    before: Any = read_json(path / "protocol.json").get("model", {})
    if changed := sorted(k for k in {*now, *before} if now.get(k) != before.get(k)):
        raise SteadfastError(
            f"{path}: its adapters were trained on another model ({', '.join(changed)} differ): bring back the files "
            "of the model that the run began with"
        )


def _layers(config: ProbingConfig, count: int) -> tuple[int, ...]:
    """The layers that are looked at.

    Raises:
        SteadfastError: The model has no such layer.
    """
    if isinstance(config.layers, tuple):
        if beyond := [layer for layer in config.layers if layer >= count]:
            raise SteadfastError(f"layers: the model has no layer {beyond[0]}; it has {count}, counted from 0")
        return tuple(sorted(set(config.layers)))
    if config.layers == "all" or count <= 12:
        return tuple(range(count))
    return tuple(sorted({round((i + 1) * count / 12) - 1 for i in range(12)}))


def _claim(probe: Probe, progress: Progress) -> None:
    """Write what the results are made with, or see that those of an earlier call were made with the same."""
    file, now = probe.folder / "protocol.json", probe.protocol
    if not file.is_file():
        write_json(file, now)
        return
    before = read_json(file)
    settings: Any = before.get("settings", {})
    changed = [
        f"settings.{k} ({settings.get(k)} before, {v} now)" for k, v in now["settings"].items() if settings.get(k) != v
    ]
    changed += [k for k in now if k != "settings" and before.get(k) != now[k]]
    if changed:
        raise SteadfastError(
            f"{probe.folder} holds results of other {'; other '.join(changed)}. Call it without settings to go on, or "
            "delete that folder to begin anew"
        )
    progress.note(f"going on in {probe.folder}")


Work = Callable[[Callable[[int], None]], Any]


def _stages(probe: Probe, progress: Progress) -> list[Stage]:
    """The parts, in order; each is told how to say that some of its things are done."""
    folder, now = probe.folder, probe.hashes()

    def part(
        name: str, units: float, total: int, run: Work, done: Callable[[], bool], file: str | None = None
    ) -> Stage:
        def work() -> None:
            progress.begin(name)
            found = run(progress.counter(name, total, units=units / max(total, 1)))
            if file is not None:
                write_json(folder / file, found)

        return Stage(name, done, units, work)

    def analysis(name: str, total: int, run: Work, labels: Sequence[str]) -> Stage:
        file = folder / f"{name}.json"
        same = {label: now[label] for label in labels}
        return part(
            name,
            _UNITS_OF_A_FIT,
            total,
            run,
            lambda: file.is_file() and read_json(file)["checkpoints"] == same,
            file.name,
        )

    every = list(now)
    stages: list[Stage] = []
    for one in probe.checkpoints:
        texts = texts_to_read(probe, one)
        stages.append(
            part(
                f"read {one.label}",
                sum(len(prompt) + len(reply) for prompt, reply in texts),
                len(texts),
                lambda tell, one=one: read_checkpoint(probe, one, tell),
                lambda one=one: is_read(probe, one),
            )
        )
    stages.append(analysis("directions", len(probe.sets), lambda tell: find_directions(probe, tell), every[:1]))
    stages.append(analysis("projections", len(every), lambda tell: find_projections(probe, tell), every))
    stages.append(analysis("weights", len(every), lambda tell: find_weights(probe, tell), every))
    if not probe.twins:
        progress.note("the cause is not tried: the run measures no checked twins, or steering_pairs is 0")
        return stages
    cells = cells_of(probe)
    units = float(sum(2 * len(probe.model.chat.encode(t.messages)) for t in probe.twins) + _UNITS_OF_COHERENCE)
    stages += [
        part(
            f"steer {cell.name}",
            units,
            3,
            lambda tell, cell=cell: measure_cell(probe, cell, tell),
            lambda cell=cell: is_measured(probe, cell),
            f"steering/{cell.name}.json",
        )
        for cell in cells
    ]
    steered = list(dict.fromkeys(cell.checkpoint.label for cell in cells))
    return [*stages, analysis("steering", 1, lambda _: sum_up(probe, cells), steered)]


def _run(stages: list[Stage], progress: Progress, threads: int | None) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    left = [s for s in stages if not s.done()]
    progress.plan({s.name: s.units for s in stages})
    try:
        for stage in stages:
            if stage in left:
                stage.run()
                progress.end(stage.name)
            else:
                progress.skip(stage.name)
    finally:
        progress.finish()
        torch.set_num_threads(before)
