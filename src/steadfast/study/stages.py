"""The stages of a run: each arm is trained with each seed, then constant answers and every checkpoint are measured.

A stage whose output is complete is not run again, and that is how a run resumes. The model is loaded once; every
checkpoint is an adapter that it carries for a while.
"""

import gc
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from steadfast.evals.completion import complete, rows_of, unscored
from steadfast.evals.constants import SUBJECTS, constants_done, measure_constants, parts_with_floor
from steadfast.evals.evaluate import inspect_model
from steadfast.evals.inspect_logs import write_logs
from steadfast.evals.local_subject import LocalSubject
from steadfast.evals.measure import Condition, Measured, Part, measure
from steadfast.evals.public import public_evals
from steadfast.evals.public_run import run_public
from steadfast.evals.rows import PLAIN, SAMPLED, Place
from steadfast.files import read_parquet, write_atomically, write_json_lines
from steadfast.graders import Judge
from steadfast.models.lower_layers import KEPT_BYTES, LowerLayers
from steadfast.models.policy import Policy
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.pretrained import LoadedModel
from steadfast.models.quantization import BY_NAME
from steadfast.progress import Progress
from steadfast.rundir import RunDirectory
from steadfast.study.arms import BASELINE, PRE_RL, WARM_START
from steadfast.study.checkpoints import Checkpoint
from steadfast.study.data import StudyData
from steadfast.study.personas import asked_under_personas
from steadfast.study.recipe import Recipe
from steadfast.study.second_opinion import second_opinion
from steadfast.tasks import Task
from steadfast.training.config import TrainingConfig
from steadfast.training.loop import OnStep, is_trained, kept_after, steps_done, train
from steadfast.training.supervised import demonstrations_of, train_supervised

_PROMPT_TOKENS, _REQUEST_UNITS, _GRADE_UNITS = 150, 40, 2
"""Tokens of a usual prompt, what a request of an evaluation costs beside its answer, and what a grade of an answer that
no model gave costs, counted in a step's tokens."""

Work = Literal["training", "measuring", "personas", "attacking", "measuring after attacks", "wear"]
"""The parts of a run, by what they are for."""


@dataclass(frozen=True)
class Stage:
    """A part of a run.

    Attributes:
        name: Its name, as progress shows it.
        done: Whether its output is complete.
        units: Its work, in tokens through the model, roughly, for the estimate of what is left.
        run: Does it.
        after: The name of the stage whose output it reads; None if it can be run at any time.
        part: The part of the run whose seconds it counts to.
    """

    name: str
    done: Callable[[], bool]
    units: float
    run: Callable[[], None]
    after: str | None = None
    part: Work = "measuring"


@dataclass(frozen=True)
class Asked:
    """What checkpoints are asked under one condition."""

    condition: Condition
    parts: list[Part]

    @property
    def requests(self) -> int:
        """How many requests they are."""
        return sum(p.requests for p in self.parts)


@dataclass
class Study:
    """A run directory with all that is needed to go on in it.

    Attributes:
        recipe: The recipe.
        directory: The run directory.
        data: What the recipe trains and measures on.
        parts: What of it every checkpoint is measured on.
        training_judge: The judge that rewards.
        evaluation_judge: The judge that grades what measures.
        open_model: It loads the model, when a stage first needs it.
        progress: It is told how far the run is.
        workers: How many processes share the machine's memory.
    """

    recipe: Recipe
    directory: RunDirectory
    data: StudyData
    parts: list[Part]
    training_judge: Judge
    evaluation_judge: Judge
    open_model: Callable[[], LoadedModel]
    progress: Progress
    workers: int = 1

    @cached_property
    def model(self) -> LoadedModel:
        """The model, which carries the adapter of one checkpoint at a time."""
        return self.open_model()

    def forget_model(self) -> None:
        """Give the model's memory back; a stage that is run loads it again."""
        self.__dict__.pop("model", None)

    @cached_property
    def lower_layers(self) -> LowerLayers | None:
        """What the layers below every adapter computed, which is the same for all checkpoints; None if none are."""
        return self._below_adapters(KEPT_BYTES // self.workers)

    @cached_property
    def lower_layers_of_attacks(self) -> LowerLayers | None:
        """The same for what attacks train on, which every arm meets; what is measured takes none of its room."""
        return self._below_adapters(KEPT_BYTES // self.workers // 4)

    def _below_adapters(self, limit: int) -> LowerLayers | None:
        if self.recipe.training.adapter.layers == "all":
            return None
        layers = int(self.model.lm.config.get_text_config().num_hidden_layers)
        return LowerLayers(layers - self.recipe.training.adapter.layers, limit)

    @property
    def trained(self) -> list[Checkpoint]:
        """Every arm with every seed: all arms of a seed before the next seed, so that comparisons come early.

        Where there is a warm start, that of a seed stands before the arms that go on from it.
        """
        first = () if self.recipe.training.warm_start is None else (WARM_START,)
        return [Checkpoint(name, seed) for seed in self.recipe.seeds for name in (*first, *self.recipe.arm_names)]

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The pre-RL model, and what is trained."""
        return [Checkpoint(PRE_RL), *self.trained]

    @property
    def constant_parts(self) -> list[Part]:
        """What constant answers are given to; none where no judge grades answers."""
        return parts_with_floor(self.parts)

    def asked_of(self, checkpoint: Checkpoint) -> list[Asked]:
        """What a checkpoint is asked, condition by condition; personas only where the recipe asks its arm."""
        training, ladder = self.recipe.training, self.recipe.evaluation.twins
        found = [Asked(Condition(PLAIN, training.style), self.parts)]
        if ladder is not None and ladder.sampled:
            sampled = Condition(SAMPLED, training.style, training.temperature, self.recipe.eval_seed)
            found.append(Asked(sampled, [p for p in self.parts if p.suite.kind == "twins"]))
        chosen = self.recipe.evaluation.personas
        if chosen is None or (chosen.arms is not None and checkpoint.name not in (PRE_RL, BASELINE, *chosen.arms)):
            return found
        under = asked_under_personas(self.data, self.parts)
        return found + [Asked(condition, parts) for condition, parts in under]

    def arm_directory(self, checkpoint: Checkpoint) -> Path:
        """Where an arm's training is written, whatever its step."""
        return self.directory.path.joinpath("arms", *replace(checkpoint.before, name=checkpoint.arm).folders)

    def adapter(self, checkpoint: Checkpoint) -> Path:
        """The adapter that training left of a checkpoint, before any attack."""
        directory = self.arm_directory(checkpoint)
        return directory / "adapter" if checkpoint.step is None else kept_after(directory, checkpoint.step)

    def attack_directory(self, checkpoint: Checkpoint) -> Path:
        """Where an attack's training is written, whatever its dose."""
        assert checkpoint.attack is not None
        folders = (*checkpoint.before.folders, f"attack-seed-{checkpoint.attack_seed}")
        return self.directory.path.joinpath("attacks", checkpoint.attack, *folders)

    def rows_file(self, checkpoint: Checkpoint, condition: Condition) -> Path:
        """The rows of one checkpoint under a condition."""
        return self.directory.rows_file(*checkpoint.folders, *condition.folders)

    def constants_file(self, label: str) -> Path:
        """The rows of one constant answer."""
        return self.directory.rows_file("constants", label)

    def public_file(self, checkpoint: Checkpoint, benchmark: str) -> Path:
        """The rows of one checkpoint on a public benchmark."""
        return self.directory.rows_file(*checkpoint.folders, f"public-{benchmark}")


def stages_of(study: Study) -> list[Stage]:
    """The run's stages, in order."""
    recipe = study.recipe
    training = [
        Stage(
            training_name(one),
            lambda one=one: _is_trained(study, one),
            _steps(recipe, one) * step_units(recipe, one),
            lambda one=one: _train(study, one),
            after=_begins_from(recipe, one),
            part="training",
        )
        for one in study.trained
    ]
    return [*training, *_constants(study), *(stage for one in study.checkpoints for stage in _measuring(study, one))]


def training_name(checkpoint: Checkpoint) -> str:
    """The name of the stage that trains a checkpoint."""
    return f"train {checkpoint}"


def _begins_from(recipe: Recipe, checkpoint: Checkpoint) -> str | None:
    """The name of the stage that an arm's training begins from, which is that of the warm start, if there is one."""
    if recipe.training.warm_start is None or checkpoint.name == WARM_START:
        return None
    return training_name(Checkpoint(WARM_START, checkpoint.seed))


def _constants(study: Study) -> list[Stage]:
    """The grading of constant answers, which needs no model; nothing where no judge grades answers."""
    parts = study.constant_parts
    if not parts:
        return []
    name, requests = "constant answers", len(SUBJECTS) * sum(p.requests for p in parts)

    def run() -> None:
        study.progress.begin(name)
        measure_constants(
            parts,
            study.evaluation_judge,
            study.constants_file,
            training_judge=study.training_judge,
            on_done=study.progress.counter(name, requests, "answers", units=_GRADE_UNITS),
        )

    return [Stage(name, lambda: constants_done(parts, study.constants_file), requests * _GRADE_UNITS, run)]


def _measuring(study: Study, checkpoint: Checkpoint) -> list[Stage]:
    evaluation = study.recipe.evaluation
    after = None if checkpoint.name == PRE_RL else training_name(checkpoint)
    own = [measuring(study, checkpoint, asked, after) for asked in study.asked_of(checkpoint)]
    public = [
        Stage(
            f"{benchmark} on {checkpoint}",
            study.public_file(checkpoint, benchmark).is_file,
            _request_units(study.recipe) * (evaluation.public_limit or 100),
            lambda benchmark=benchmark: _measure_public(study, checkpoint, benchmark),
            after,
        )
        for benchmark in evaluation.public
    ]
    return [*own, *public]


def measuring(study: Study, checkpoint: Checkpoint, asked: Asked, after: str | None) -> Stage:
    """The stage that measures a checkpoint under a condition, after the stage that makes it."""
    return Stage(
        _measuring_name(checkpoint, asked),
        lambda: _is_measured(study, checkpoint, asked),
        asked.requests * _request_units(study.recipe),
        lambda: _measure(study, checkpoint, asked),
        after,
        _part_of(checkpoint, asked.condition),
    )


def _part_of(checkpoint: Checkpoint, condition: Condition) -> Work:
    if checkpoint.attack is not None:
        return "measuring after attacks"
    return "personas" if condition.persona is not None else "measuring"


def _measuring_name(checkpoint: Checkpoint, asked: Asked) -> str:
    name = asked.condition.name
    return f"measure {checkpoint}" if name == PLAIN else f"measure {checkpoint}, {name}"


def _is_trained(study: Study, checkpoint: Checkpoint) -> bool:
    """Whether an arm has its adapter, and the second opinion on its rollouts where it gets one."""
    directory = study.arm_directory(checkpoint)
    opinion = directory / "second_opinion.jsonl"
    return is_trained(directory) and (not _opinion_tasks(study, checkpoint) or opinion.is_file())


def _train(study: Study, checkpoint: Checkpoint) -> None:
    train_in(study, checkpoint, study.arm_directory(checkpoint), training_name(checkpoint))
    _second_opinion(study, checkpoint)


def train_in(study: Study, checkpoint: Checkpoint, directory: Path, stage: str) -> None:
    """Train a checkpoint in a directory, or go on with what stands there, under the name of a stage."""
    recipe, seed, units = study.recipe, checkpoint.seed, step_units(study.recipe, checkpoint)
    assert seed is not None
    study.progress.begin(stage, steps_done(directory) * units)

    def on_step(step: int, metrics: Mapping[str, Any]) -> None:
        study.progress.reach(stage, step * units, _describe(step, _steps(recipe, checkpoint), metrics))

    policy = study.model.fresh_policy(recipe.training.adapter, seed)
    try:
        if checkpoint.name == WARM_START:
            imitated, settings = demonstrations_of(study.data.warm_start(seed), seed), recipe.training.of_warm_start()
            train_supervised(
                policy,
                imitated,
                study.training_judge,
                settings,
                directory,
                seed=seed,
                answer_every=settings.steps,  # what it answers on the way teaches nothing, and nobody asks for it
                on_step=on_step,
            )
        else:
            if recipe.training.warm_start is not None:
                policy.start_from(study.adapter(Checkpoint(WARM_START, seed)))
            _train_arm(study, policy, checkpoint.name, directory, seed, on_step)
    finally:
        study.model.release(policy)
        gc.collect()  # PEFT's modules refer to one another in circles


def _train_arm(study: Study, policy: Policy, name: str, directory: Path, seed: int, on_step: OnStep) -> None:
    arm, settings, judge = study.recipe.arm(name), settings_of_arm(study.recipe, name), study.training_judge
    schedule = study.data.schedule(arm, seed)
    if arm.method == "supervised":
        imitated = demonstrations_of(schedule, seed)
        train_supervised(policy, imitated, judge, settings, directory, seed=seed, on_step=on_step)
    else:
        shuffled = arm.reward == "shuffled"
        train(policy, schedule, judge, settings, directory, seed=seed, shuffled=shuffled, on_step=on_step)


def settings_of_arm(recipe: Recipe, name: str) -> TrainingConfig:
    """The settings of an arm's training, of which those of the leading arm keep its earlier checkpoints as well."""
    if recipe.attacks is None or name != recipe.leading_arm:
        return recipe.training
    keep = {*recipe.training.keep, *recipe.attacks.earlier}
    return recipe.training.model_copy(update={"keep": tuple(sorted(keep))})


def _second_opinion(study: Study, checkpoint: Checkpoint) -> None:
    """Have the evaluation judge grade a sample of an arm's rollouts, to show both judges over training."""
    if tasks := _opinion_tasks(study, checkpoint):
        directory = study.arm_directory(checkpoint)
        rollouts = read_parquet(directory / "rollouts.parquet")
        pool = study.recipe.arm(checkpoint.name).pool
        write_json_lines(
            directory / "second_opinion.jsonl", second_opinion(rollouts, pool, tasks, study.evaluation_judge)
        )


def _opinion_tasks(study: Study, checkpoint: Checkpoint) -> dict[str, Task]:
    """The tasks of an arm whose rewards another judge can give by the same rubric; none where they taught otherwise."""
    if checkpoint.name == WARM_START:
        return {}
    arm = study.recipe.arm(checkpoint.name)
    if arm.method == "supervised" or arm.grader != "own" or arm.reward == "flipped":
        return {}
    return {t.id: t for t in study.data.slices[arm.name] if t.grader.kind == "rubric"}


def _describe(step: int, steps: int, metrics: Mapping[str, Any]) -> str:
    def of(prefix: str) -> str:
        found = [
            f"{k.removeprefix(prefix)} {v:.2f}" for k, v in metrics.items() if k.startswith(prefix) and v is not None
        ]
        return ", ".join(found)

    pairs, dead = of("pair_success/"), metrics.get("dead_group_share")
    return f"step {step}/{steps}  reward {of('reward/')}{f'  pairs {pairs}' if pairs else ''}  " + (
        f"loss {metrics['loss']:.2f}" if dead is None else f"dead {dead:.0%}"
    )


def _is_measured(study: Study, checkpoint: Checkpoint, asked: Asked) -> bool:
    file = study.rows_file(checkpoint, asked.condition)
    return file.is_file() and not unscored(asked.parts, rows_of(file, checkpoint.name))


def _measure(study: Study, checkpoint: Checkpoint, asked: Asked) -> None:
    stage, condition = _measuring_name(checkpoint, asked), asked.condition
    study.progress.begin(stage)

    def run(left: list[Part]) -> Measured:
        requests, units = sum(p.requests for p in left), _request_units(study.recipe)
        with applied(study, checkpoint):
            measured = measure(
                _subject(study, checkpoint),
                left,
                study.evaluation_judge,
                place=place_of(checkpoint, condition),
                condition=condition,
                training_judge=study.training_judge,
                on_done=study.progress.counter(stage, requests, "requests", units=units),
            )
        logs = study.directory.logs.joinpath(*checkpoint.folders, *condition.folders)
        write_logs(logs, str(checkpoint), left, measured, condition)
        return measured

    complete(study.rows_file(checkpoint, condition), checkpoint.name, asked.parts, run)
    gc.collect()


def _measure_public(study: Study, checkpoint: Checkpoint, benchmark: str) -> None:
    study.progress.begin(f"{benchmark} on {checkpoint}")
    evaluation = next(e for e in public_evals() if e.name == benchmark)
    judge = study.recipe.evaluation.judge
    grader = None
    if evaluation.needs_grader and judge.model is not None:
        from inspect_ai.model import GenerateConfig, get_model

        grader = get_model(judge.model, config=GenerateConfig(temperature=0.0))
    with applied(study, checkpoint):
        rows = run_public(
            Place(checkpoint.name, checkpoint.seed, PLAIN),
            inspect_model(_subject(study, checkpoint)),
            evaluation,
            study.directory.logs.joinpath(*checkpoint.folders, "public"),
            grader=grader,
            limit=study.recipe.evaluation.public_limit,
        )
    write_atomically(study.public_file(checkpoint, benchmark), lambda p: rows.write_parquet(p))


def place_of(checkpoint: Checkpoint, condition: Condition) -> Place:
    """Where the rows of a checkpoint under a condition belong."""
    attack = (checkpoint.attack, checkpoint.dose, checkpoint.attack_seed)
    return Place(checkpoint.name, checkpoint.seed, condition.name, *attack)


@contextmanager
def applied(study: Study, checkpoint: Checkpoint) -> Generator[None]:
    """Within this context the model is the checkpoint: what an attack trained, or a format, is upon the merged arm."""
    with ExitStack() as stack:
        if checkpoint.name != PRE_RL:
            stack.enter_context(study.model.with_adapter(study.adapter(checkpoint)))
        if (kind := BY_NAME.get(checkpoint.attack or "")) is not None:
            stack.enter_context(study.model.with_weights(kind))
        elif checkpoint.dose is not None:
            attacked = kept_after(study.attack_directory(checkpoint), checkpoint.dose)
            stack.enter_context(study.model.with_saved(attacked))
        yield


def _subject(study: Study, checkpoint: Checkpoint) -> LocalSubject:
    prepack_frozen_linears(study.model.lm)
    limit = study.recipe.evaluation.max_new_tokens
    full = any(a.name == checkpoint.attack and a.method == "full" for a in study.data.attacks)
    lower = None if full else study.lower_layers  # all weights differ, so nothing below could be shared
    return LocalSubject(checkpoint.name, study.model.lm, study.model.chat, limit, lower)


def _steps(recipe: Recipe, checkpoint: Checkpoint) -> int:
    """The steps of a checkpoint's training."""
    return (recipe.training.of_warm_start() if checkpoint.name == WARM_START else recipe.training).steps


def step_units(recipe: Recipe, checkpoint: Checkpoint) -> float:
    """A step's work: prompts are read twice; completions use about half of their limit, sampled and trained on."""
    t = recipe.training
    supervised = checkpoint.name == WARM_START or recipe.arm(checkpoint.name).method == "supervised"
    return t.prompts_per_step * (2 * _PROMPT_TOKENS + (1 if supervised else t.group_size) * t.max_new_tokens)


def _request_units(recipe: Recipe) -> float:
    """A request is read once, and its answer uses about half of its limit; no gradient is taken."""
    return _REQUEST_UNITS + recipe.evaluation.max_new_tokens / 2
