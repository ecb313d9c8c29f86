"""Run or resume a recipe: train its arms, measure every checkpoint, write the results.

The run is a list of stages. Each writes files that the next one reads, and a stage whose output is complete is not run
again. The model is loaded once; every checkpoint is an adapter that it carries for a while.
"""

import gc
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from steadfast.errors import JudgeError, ModelLoadError, SteadfastError
from steadfast.evals.completion import complete, rows_of, unscored
from steadfast.evals.evaluate import inspect_model, part_protocol
from steadfast.evals.inspect_logs import write_logs
from steadfast.evals.local_subject import LocalSubject
from steadfast.evals.measure import Condition, Measured, Part, measure
from steadfast.evals.public import check_reach, public_evals
from steadfast.evals.public_run import run_public
from steadfast.evals.rows import ROW_SCHEMA, Place
from steadfast.files import read_parquet, write_atomically, write_json, write_json_lines, write_text
from steadfast.graders import BudgetedJudge, CachedJudge, Judge, make_judge, protocol_hash
from steadfast.graders.config import WITHOUT_COST
from steadfast.locking import sole_use
from steadfast.models.doctor import examine, refused
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.pretrained import LoadedModel, as_before, load_model
from steadfast.models.scoring import LowerLayers
from steadfast.progress import Progress
from steadfast.rollouts import Rollout
from steadfast.rundir import RunDirectory
from steadfast.study.arms import PRE_RL, Arm
from steadfast.study.data import StudyData
from steadfast.study.recipe import Recipe
from steadfast.study.second_opinion import second_opinion
from steadfast.tasks import Task
from steadfast.tasks.programs import source_hashes
from steadfast.training.loop import is_trained, steps_done, train

_FREE_BYTES = 1_000_000_000
"""Room that a run may take: rollouts, states and logs of a small one stay well below."""

_PROMPT_TOKENS, _REQUEST_UNITS = 150, 250
"""Tokens of a usual prompt, and of a usual request of an evaluation with its replies."""

_COST: dict[str, Any] = {"judge_limits": True, "evaluation": {"judge_limits"}, "model": {"device"}}
"""What of a recipe changes no number: a run may be resumed with another budget, or on another device."""


@dataclass(frozen=True)
class Stage:
    """A part of a run.

    Attributes:
        name: Its name, as progress shows it.
        done: Whether its output is complete.
        units: Its work, in tokens through the model, roughly, for the estimate of what is left.
        run: Does it.
    """

    name: str
    done: Callable[[], bool]
    units: float
    run: Callable[[], None]


@dataclass
class Study:
    """A run directory with all that is needed to go on in it."""

    recipe: Recipe
    directory: RunDirectory
    data: StudyData
    parts: list[Part]
    training_judge: Judge
    evaluation_judge: Judge
    model: LoadedModel
    progress: Progress
    lower_layers: LowerLayers | None = None

    @property
    def checkpoints(self) -> list[str]:
        """The pre-RL model and the arms, in order."""
        return [PRE_RL, *self.recipe.arm_names]

    @property
    def condition(self) -> Condition:
        """How checkpoints are asked."""
        return Condition("plain", self.recipe.training.style)

    def arm_directory(self, arm: str) -> Path:
        """Where an arm's training is written."""
        return self.directory.path / "arms" / arm

    def rows_file(self, checkpoint: str) -> Path:
        """The rows of one checkpoint."""
        return self.directory.rows_file(checkpoint, self.condition.name)

    def public_file(self, checkpoint: str, benchmark: str) -> Path:
        """The rows of one checkpoint on a public benchmark."""
        return self.directory.rows_file(checkpoint, f"public-{benchmark}")


def run_recipe(recipe: Recipe, directory: str | Path, progress: Progress | None = None) -> Path:
    """Run a recipe in a directory, or finish the run that was begun there; returns the directory.

    Raises:
        SteadfastError: anything that the user can mend, before long work begins wherever it can be seen by then;
            another process at work in the directory is one of them.
    """
    started = time.time()
    path = Path(directory)
    progress = progress or Progress()
    progress.note("checking recipe, data and judges")
    data = StudyData.load(recipe)
    _ = data.slices
    path.mkdir(parents=True, exist_ok=True)
    with sole_use(path):
        _run(data, RunDirectory(path), progress, started)
    return path


def _run(data: StudyData, directory: RunDirectory, progress: Progress, started: float) -> None:
    study = _prepare(data, directory, progress)
    stages = _stages(study)
    progress.plan({s.name: s.units for s in stages})
    left = [s for s in stages if not s.done()]
    with directory.timed(started) if left else nullcontext():
        try:
            for stage in stages:
                if stage.done():
                    progress.skip(stage.name)
                else:
                    stage.run()
                    progress.end(stage.name)
        finally:
            progress.finish()
    files = [study.rows_file(c) for c in study.checkpoints]
    files += [study.public_file(c, b) for c in study.checkpoints for b in study.recipe.evaluation.public]
    directory.write_results(files, ROW_SCHEMA)


def _stages(study: Study) -> list[Stage]:
    """The run's stages, in order."""
    recipe = study.recipe
    found: list[Stage] = []
    for arm in recipe.arms:
        units = recipe.training.steps * _step_units(recipe)
        found.append(
            Stage(
                f"train {arm.name}",
                lambda arm=arm: _is_trained(study, arm),
                units,
                lambda arm=arm: _train_arm(study, arm),
            )
        )
    requests = sum(p.requests for p in study.parts)
    for name in study.checkpoints:
        found.append(
            Stage(
                f"measure {name}",
                lambda name=name: _is_measured(study, name),
                requests * _REQUEST_UNITS,
                lambda name=name: _measure(study, name),
            )
        )
        for benchmark in recipe.evaluation.public:
            found.append(
                Stage(
                    f"{benchmark} on {name}",
                    study.public_file(name, benchmark).is_file,
                    _REQUEST_UNITS * (recipe.evaluation.public_limit or 100),
                    lambda name=name, benchmark=benchmark: _measure_public(study, name, benchmark),
                )
            )
    return found


def _prepare(data: StudyData, directory: RunDirectory, progress: Progress) -> Study:
    """Everything else that can fail fast, in order of cost."""
    free = shutil.disk_usage(directory.path).free
    if free < _FREE_BYTES:
        raise SteadfastError(f"{directory.path}: only {free / 1e9:.1f} GB free; a run needs {_FREE_BYTES / 1e9:.0f} GB")
    recipe = data.recipe
    training = make_judge(recipe.judge, recipe.judge_limits)
    evaluation = make_judge(recipe.evaluation.judge, recipe.evaluation.judge_limits)
    data.check_graders(training, evaluation)
    by_name = {e.name: e for e in public_evals()}
    for name in recipe.evaluation.public:
        check_reach(by_name[name], graded=recipe.evaluation.judge.is_model)
    training, evaluation = (BudgetedJudge(CachedJudge(j, directory.grades_file)) for j in (training, evaluation))
    _probe(data, training, evaluation)
    compared = data.prove_pools_disjoint()
    progress.note(f"pools are disjoint: {sum(compared.values()):,} pairs compared, exact and near-duplicate")
    progress.note(f"loading {recipe.model.name}")
    model = _load(recipe, directory, progress)
    data.check_prompts(model.chat)
    study = Study(recipe, directory, data, data.parts(), training, evaluation, model, progress)
    if recipe.training.adapter.layers != "all":
        layers = int(model.lm.config.get_text_config().num_hidden_layers)
        study.lower_layers = LowerLayers(layers - recipe.training.adapter.layers)
    new = directory.claim(_protocol(study))
    if new or not (directory.path / "recipe.yaml").is_file():  # a kill may have come between the two
        text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        write_text(directory.path / "recipe.yaml", text)
        directory.write_environment(model_source=model.source)
        write_json(directory.path / "disjoint.json", compared)
    return study


def _probe(data: StudyData, *judges: Judge) -> None:
    """See that each judge answers at all."""
    asked = next((t for t in (*data.held_out, *data.training) if t.grader.kind == "rubric"), None)
    if asked is None:
        return
    for judge in judges:
        (grade,) = judge.grade([Rollout.of_text(asked, "A short answer, to see whether this judge answers at all.")])
        if grade.score is None:
            raise JudgeError(f"judge {judge.name!r} cannot grade: {grade.error or 'it gave no score'}")


def _load(recipe: Recipe, directory: RunDirectory, progress: Progress) -> LoadedModel:
    """The model, looked over as `steadfast doctor` does it; the same commit and date as in an earlier session.

    Raises:
        ModelLoadError: with what doctor would refuse.
    """
    m = recipe.model
    settings: dict[str, Any] = {"revision": m.revision} if m.revision else {}
    model = load_model(
        m.name,
        dtype=m.dtype,
        device=m.device,
        trust_remote_code=m.trust_remote_code,
        chat_template_kwargs=m.chat_template_kwargs,
        **{**settings, **as_before(directory.protocol().get("model"))},
    )
    checks = examine(model)
    if faults := refused(checks):
        raise ModelLoadError("\n".join(f"{c.name}: {c.sentence}" for c in faults))
    for check in checks:
        if check.status == "note":
            progress.note(f"{check.name}: {check.sentence}")
    return model


def _protocol(study: Study) -> dict[str, Any]:
    """What decides the run's numbers, as names and hashes."""
    data, recipe = study.data, study.recipe
    return {
        "recipe": recipe.model_dump(mode="json", exclude=_COST, context=WITHOUT_COST),
        "model": {k: v for k, v in study.model.identity.as_dict().items() if k != "combined"},
        "judges": {
            kind: {"name": judge.name, "protocol": protocol_hash(judge.name, judge.settings)}
            for kind, judge in (("training", study.training_judge), ("evaluation", study.evaluation_judge))
        },
        "training data": {
            name: protocol_hash(name, {"tasks": [t.row() for t in tasks]}) for name, tasks in data.slices.items()
        },
        "suites": {p.suite.name: part_protocol(p) for p in study.parts},
        "programs": source_hashes(t for tasks in data.slices.values() for t in tasks),
    }


def _is_trained(study: Study, arm: Arm) -> bool:
    """Whether an arm has its adapter, and the second opinion on its rollouts where it gets one."""
    directory = study.arm_directory(arm.name)
    return is_trained(directory) and (not _opinion_tasks(study, arm) or (directory / "second_opinion.jsonl").is_file())


def _train_arm(study: Study, arm: Arm) -> None:
    recipe, directory = study.recipe, study.arm_directory(arm.name)
    stage, units = f"train {arm.name}", _step_units(recipe)
    study.progress.begin(stage, steps_done(directory) * units)

    def on_step(step: int, metrics: Mapping[str, Any]) -> None:
        study.progress.reach(stage, step * units, _describe(step, recipe, metrics))

    policy = study.model.fresh_policy(recipe.training.adapter, recipe.seed)
    try:
        schedule = study.data.schedule(arm)
        train(policy, schedule, study.training_judge, recipe.training, directory, seed=recipe.seed, on_step=on_step)
    finally:
        study.model.release(policy)
        gc.collect()  # PEFT's modules refer to one another in circles
    _second_opinion(study, arm)


def _second_opinion(study: Study, arm: Arm) -> None:
    """Have the evaluation judge grade a sample of an arm's rollouts, to show both judges over training."""
    if tasks := _opinion_tasks(study, arm):
        rollouts = read_parquet(study.arm_directory(arm.name) / "rollouts.parquet")
        records = second_opinion(rollouts, arm.pool, tasks, study.evaluation_judge)
        write_json_lines(study.arm_directory(arm.name) / "second_opinion.jsonl", records)


def _opinion_tasks(study: Study, arm: Arm) -> dict[str, Task]:
    """The tasks of an arm whose rollouts another judge can grade by the same rubric; none where it was replaced."""
    if arm.grader != "own":
        return {}
    return {t.id: t for t in study.data.slices[arm.name] if t.grader.kind == "rubric"}


def _describe(step: int, recipe: Recipe, metrics: Mapping[str, Any]) -> str:
    rewards = [
        f"{k.removeprefix('reward/')} {v:.2f}" for k, v in metrics.items() if k.startswith("reward/") and v is not None
    ]
    return f"step {step}/{recipe.training.steps}  reward {', '.join(rewards)}  dead {metrics['dead_group_share']:.0%}"


def _is_measured(study: Study, checkpoint: str) -> bool:
    file = study.rows_file(checkpoint)
    return file.is_file() and not unscored(study.parts, rows_of(file, checkpoint))


def _measure(study: Study, checkpoint: str) -> None:
    stage = f"measure {checkpoint}"
    study.progress.begin(stage)

    def run(left: list[Part]) -> Measured:
        requests, done = sum(p.requests for p in left), 0

        def on_done(count: int) -> None:
            nonlocal done
            done += count
            study.progress.reach(stage, done * _REQUEST_UNITS, f"{done}/{requests} requests")

        with _applied(study, checkpoint):
            measured = measure(
                _subject(study, checkpoint),
                left,
                study.evaluation_judge,
                place=Place(checkpoint, study.recipe.seed, study.condition.name),
                condition=study.condition,
                training_judge=study.training_judge,
                on_done=on_done,
            )
        logs = study.directory.logs / checkpoint / study.condition.name
        write_logs(logs, checkpoint, left, measured, study.condition.name)
        return measured

    complete(study.rows_file(checkpoint), checkpoint, study.parts, run)
    gc.collect()


def _measure_public(study: Study, checkpoint: str, benchmark: str) -> None:
    stage = f"{benchmark} on {checkpoint}"
    study.progress.begin(stage)
    evaluation = next(e for e in public_evals() if e.name == benchmark)
    judge = study.recipe.evaluation.judge
    grader = None
    if evaluation.needs_grader and judge.model is not None:
        from inspect_ai.model import GenerateConfig, get_model

        grader = get_model(judge.model, config=GenerateConfig(temperature=0.0))
    with _applied(study, checkpoint):
        rows = run_public(
            Place(checkpoint, study.recipe.seed, study.condition.name),
            inspect_model(_subject(study, checkpoint)),
            evaluation,
            study.directory.logs / checkpoint / "public",
            grader=grader,
            limit=study.recipe.evaluation.public_limit,
        )
    write_atomically(study.public_file(checkpoint, benchmark), lambda p: rows.write_parquet(p))


def _applied(study: Study, checkpoint: str) -> Any:
    """The context in which the model is the checkpoint."""
    if checkpoint == PRE_RL:
        return nullcontext()
    return study.model.with_adapter(study.arm_directory(checkpoint) / "adapter")


def _subject(study: Study, checkpoint: str) -> LocalSubject:
    prepack_frozen_linears(study.model.lm)
    limit = study.recipe.evaluation.max_new_tokens
    return LocalSubject(checkpoint, study.model.lm, study.model.chat, limit, study.lower_layers)


def _step_units(recipe: Recipe) -> float:
    """A prompt is read twice; completions use about half of their limit, once sampled and once trained on."""
    t = recipe.training
    return t.prompts_per_step * (2 * _PROMPT_TOKENS + t.group_size * t.max_new_tokens)
