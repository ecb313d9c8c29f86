"""Run or resume a recipe: train its arms, measure every checkpoint, write the results.

Each step writes files that the next one reads, and a step whose output is complete is not run again.
"""

import gc
import json
import platform
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import torch
import yaml

from steadfast.errors import JudgeError, RecipeError, SteadfastError
from steadfast.evals.run import evaluate
from steadfast.evals.schema import RESULT_SCHEMA
from steadfast.files import write_atomically, write_json, write_json_lines, write_text
from steadfast.graders import BudgetedJudge, CachedJudge, make_judge, protocol_hash, refuse_ungradable
from steadfast.graders.config import WITHOUT_COST
from steadfast.graders.grade import Answer, Judge
from steadfast.locking import sole_use
from steadfast.models.policy import add_adapter, load_adapter
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.pretrained import LoadedModel, load_model
from steadfast.models.scoring import LowerLayers
from steadfast.progress import Progress
from steadfast.study.arms import ARMS, PRE_RL
from steadfast.study.data import StudyData
from steadfast.study.recipe import Recipe
from steadfast.study.second_opinion import second_opinion
from steadfast.tasks.environment import episode_protocol
from steadfast.training.loop import steps_done, train

_FREE_BYTES = 1_000_000_000
"""Room a run may take: rollouts, states and logs of a small one stay well below."""

_PROMPT_TOKENS, _REQUEST_UNITS = 150, 250
"""Tokens of a usual prompt, and of a usual request of an evaluation with its replies."""


_COST: dict[str, Any] = {"judge_limits": True, "evaluation": {"judge_limits"}}
"""What of a recipe changes no number: a run may be resumed with another budget."""


@dataclass
class Study:
    """A run directory with all that is needed to go on in it."""

    recipe: Recipe
    directory: Path
    data: StudyData
    training_judge: Judge
    evaluation_judge: Judge
    progress: Progress
    compared: Mapping[str, int]
    lower_layers: LowerLayers | None = None

    @property
    def checkpoints(self) -> list[str]:
        """The pre-RL model and the arms, in order."""
        return [PRE_RL, *self.recipe.arms]

    def arm_directory(self, arm: str) -> Path:
        """Where an arm's training is written."""
        return self.directory / "arms" / arm

    def results_file(self, checkpoint: str) -> Path:
        """The rows of one checkpoint."""
        return self.directory / "evals" / checkpoint / "results.parquet"


def run_recipe(recipe: Recipe, directory: str | Path, progress: Progress | None = None) -> Path:
    """Run a recipe in a directory, or finish the run that was begun there; returns the directory.

    Raises:
        SteadfastError: anything the user can mend, before long work begins wherever it can be seen by then; another
            process at work in the directory is one of them.
    """
    started = time.time()
    directory = Path(directory)
    progress = progress or Progress()
    progress.note("checking recipe, data and judges")
    data = StudyData.load(recipe)
    data.check_slices()
    directory.mkdir(parents=True, exist_ok=True)
    with sole_use(directory):
        _run(_prepare(data, directory, progress), started)
    return directory


def _run(study: Study, started: float) -> None:
    recipe, directory, progress = study.recipe, study.directory, study.progress
    progress.note(f"loading {recipe.model.name}")
    model = _load(recipe)
    _claim(study, model)
    if recipe.training.adapter.layers != "all":
        study.lower_layers = LowerLayers(int(model.lm.config.num_hidden_layers) - recipe.training.adapter.layers)
    progress.plan(_units(study))
    worked = not all(study.results_file(c).is_file() for c in study.checkpoints)
    try:
        for name in recipe.arms:
            _train_arm(study, name)
            _second_opinion(study, name)
            gc.collect()  # PEFT's modules refer to one another in circles; the next arm loads a model of its own
        for checkpoint in study.checkpoints:
            _evaluate_checkpoint(study, checkpoint)
            gc.collect()
    finally:
        progress.finish()
        if worked:
            _record_time(directory, time.time() - started)
    results = pl.concat([pl.read_parquet(study.results_file(c)) for c in study.checkpoints])
    write_atomically(directory / "results.parquet", lambda p: results.write_parquet(p))


def _prepare(data: StudyData, directory: Path, progress: Progress) -> Study:
    """Everything else that can fail fast, in order of cost."""
    free = shutil.disk_usage(directory).free
    if free < _FREE_BYTES:
        raise SteadfastError(f"{directory}: only {free / 1e9:.1f} GB free; a run needs {_FREE_BYTES / 1e9:.0f} GB")
    recipe, grades = data.recipe, directory / "grades.sqlite"
    training = BudgetedJudge(CachedJudge(make_judge(recipe.judge, recipe.judge_limits), grades))
    chosen = recipe.evaluation
    evaluation = BudgetedJudge(CachedJudge(make_judge(chosen.judge, chosen.judge_limits), grades))
    for judge in (training, evaluation):
        refuse_ungradable(judge, data.scenarios)
        (probe,) = judge.grade([Answer(data.held_out[0], "A short answer, to see whether this judge answers at all.")])
        if probe.score is None:
            raise JudgeError(f"judge {judge.name!r} cannot grade: {probe.error or 'it gave no score'}")
    compared = data.prove_pools_disjoint()
    progress.note(f"pools are disjoint: {sum(compared.values()):,} pairs compared, exact and near-duplicate")
    return Study(recipe, directory, data, training, evaluation, progress, compared)


def _load(recipe: Recipe) -> LoadedModel:
    return load_model(recipe.model.name, dtype=recipe.model.dtype)


def _claim(study: Study, model: LoadedModel) -> None:
    """Write the recipe and the protocol, or check that the directory belongs to the same ones.

    Raises:
        RecipeError: the directory holds a run of another recipe, data, judge or model.
    """
    protocol = _protocol(study, model)
    file = study.directory / "protocol.json"
    if file.is_file():
        before: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        changed = sorted(k for k in protocol.keys() | before.keys() if protocol.get(k) != before.get(k))
        if changed:
            raise RecipeError(
                f"{study.directory} holds a run with another {', '.join(changed)}; "
                "resume it with what it was begun with, or give another --out"
            )
        return
    recipe = yaml.safe_dump(study.recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_text(study.directory / "recipe.yaml", recipe)
    write_json(study.directory / "environment.json", _environment(model))
    write_json(study.directory / "disjoint.json", study.compared)
    write_json(file, protocol)


def _protocol(study: Study, model: LoadedModel) -> dict[str, Any]:
    """What decides the run's numbers, as hashes and names."""
    data, recipe = study.data, study.recipe
    texts = {
        "scenarios": [s.model_dump(mode="json") for s in data.scenarios],
        "evals": [i.model_dump(mode="json") for e in data.evals for i in e.items()],
        "environments": episode_protocol(x for e in data.evals for x in e.environments().values()),
    }
    return {
        "recipe": protocol_hash("recipe", recipe.model_dump(mode="json", exclude=_COST, context=WITHOUT_COST)),
        "model": {"name": model.name, "weights": model.weights},
        "training judge": {
            "name": study.training_judge.name,
            "protocol": protocol_hash(study.training_judge.name, study.training_judge.settings),
        },
        "evaluation judge": {
            "name": study.evaluation_judge.name,
            "protocol": protocol_hash(study.evaluation_judge.name, study.evaluation_judge.settings),
        },
        **{name: protocol_hash(name, {"items": items}) for name, items in texts.items()},
    }


def _environment(model: LoadedModel) -> dict[str, Any]:
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "model_source": model.source,
        "packages": {
            name: version(name)
            for name in ("steadfast-rl", "torch", "transformers", "peft", "inspect-ai", "reasoning-gym")
        },
    }


def _train_arm(study: Study, name: str) -> None:
    recipe, directory = study.recipe, study.arm_directory(name)
    stage = f"train {name}"
    if (directory / "adapter" / "adapter_config.json").is_file():
        study.progress.skip(stage)
        return
    model = _load(recipe)
    policy = add_adapter(model.lm, model.tokenizer, recipe.training.adapter, seed=recipe.seed)
    schedule = study.data.schedule(ARMS[name], study.training_judge)
    study.progress.begin(stage, steps_done(directory) * _step_units(recipe))

    def on_step(step: int, metrics: Mapping[str, Any]) -> None:
        study.progress.reach(stage, step * _step_units(recipe), _describe(step, recipe, metrics))

    train(policy, schedule, recipe.training, directory, seed=recipe.seed, on_step=on_step)
    study.progress.end(stage)


def _second_opinion(study: Study, name: str) -> None:
    """Have the evaluation judge grade a sample of an arm's trait rollouts, to show both judges over training."""
    file = study.arm_directory(name) / "second_opinion.jsonl"
    if file.is_file() or ARMS[name].reward != "rubric":
        return
    rollouts = pl.read_parquet(study.arm_directory(name) / "rollouts.parquet")
    scenarios = {s.id: s for s in study.data.training}
    write_json_lines(file, second_opinion(rollouts, scenarios, study.evaluation_judge))


def _describe(step: int, recipe: Recipe, metrics: Mapping[str, Any]) -> str:
    rewards = [
        f"{k.removeprefix('reward/')} {v:.2f}" for k, v in metrics.items() if k.startswith("reward/") and v is not None
    ]
    return f"step {step}/{recipe.training.steps}  reward {', '.join(rewards)}  dead {metrics['dead_group_share']:.0%}"


def _evaluate_checkpoint(study: Study, checkpoint: str) -> None:
    stage, file = f"evaluate {checkpoint}", study.results_file(checkpoint)
    if file.is_file():
        study.progress.skip(stage)
        return
    recipe = study.recipe
    model = _load(recipe)
    if checkpoint != PRE_RL:
        lm = load_adapter(model.lm, study.arm_directory(checkpoint) / "adapter")
        model = LoadedModel(lm, model.tokenizer, model.name, model.source, model.weights)
    prepack_frozen_linears(model.lm.requires_grad_(False))
    measurement = study.data.measurement(study.evaluation_judge, study.training_judge)
    shutil.rmtree(file.parent, ignore_errors=True)
    study.progress.begin(stage)
    done = 0

    def on_done(count: int) -> None:
        nonlocal done
        done += count
        study.progress.reach(stage, done * _REQUEST_UNITS, f"{done}/{measurement.requests} requests")

    rows = evaluate(checkpoint, model, measurement, file.parent, on_done, study.lower_layers)
    write_atomically(file, lambda p: rows.select(RESULT_SCHEMA.keys()).write_parquet(p))
    study.progress.end(stage)


def _units(study: Study) -> dict[str, float]:
    """Work of each stage in tokens through the model, roughly, for the estimate of what is left."""
    recipe = study.recipe
    training = {f"train {a}": recipe.training.steps * _step_units(recipe) for a in recipe.arms}
    requests = study.data.measurement(study.evaluation_judge, study.training_judge).requests
    evaluation = {f"evaluate {c}": requests * _REQUEST_UNITS for c in study.checkpoints}
    return training | evaluation


def _step_units(recipe: Recipe) -> float:
    """A prompt is read twice; completions use about half of their limit, once sampled and once trained on."""
    t = recipe.training
    return t.prompts_per_step * (2 * _PROMPT_TOKENS + t.group_size * t.max_new_tokens)


def _record_time(directory: Path, seconds: float) -> None:
    """Add this session's seconds to the run's."""
    file = directory / "timing.json"
    sessions: list[float] = json.loads(file.read_text(encoding="utf-8"))["sessions"] if file.is_file() else []
    write_json(file, {"sessions": [*sessions, round(seconds, 1)]})
