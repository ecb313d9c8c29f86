"""Run or resume a recipe: check everything that can be checked, go through its stages, write the results.

The run is a list of stages. Each writes files that the next one reads, and a stage whose output is complete is not run
again. Each process loads the model once; every checkpoint is an adapter that it carries for a while.
"""

import gc
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from steadfast.errors import JudgeError, ModelLoadError, SteadfastError
from steadfast.evals.constants import SUBJECTS, constants_protocol
from steadfast.evals.evaluate import part_protocol
from steadfast.evals.personas import personas_protocol
from steadfast.evals.public import check_reach, public_evals
from steadfast.evals.rows import ROW_SCHEMA
from steadfast.files import write_json, write_text
from steadfast.graders import BudgetedJudge, CachedJudge, Judge, make_judge, protocol_hash
from steadfast.graders.config import WITHOUT_COST
from steadfast.locking import sole_use
from steadfast.models.doctor import examine, refused
from steadfast.models.pretrained import LoadedModel, as_before, load_model
from steadfast.models.quantization import BY_NAME, check_weights
from steadfast.progress import Progress
from steadfast.rollouts import Rollout
from steadfast.rundir import RunDirectory
from steadfast.study.attacking import (
    attack_stages,
    attacked_tables,
    earlier_stages,
    refuse_full_disk,
    write_gate,
)
from steadfast.study.attacks import attacks_protocol
from steadfast.study.data import StudyData
from steadfast.study.earlier import refuse_repetition
from steadfast.study.judge_gate import examine_training_judge
from steadfast.study.recipe import Recipe
from steadfast.study.stages import Stage, Study, stages_of
from steadfast.study.workers import OnStage, Team, refuse_company, run_side_by_side, team_for
from steadfast.tasks.programs import source_hashes

_FREE_BYTES = 1_000_000_000
"""Room that a run may take: rollouts, states and logs of a small one stay well below."""

_APART: dict[str, Any] = {
    "judge_limits": True,
    "evaluation": {"judge_limits": True, "personas": {"arms"}},
    "model": {"device"},
    "attacks": True,
    "probing": True,
}
"""What of a recipe is no part of the recipe's protocol: a run may be resumed with another budget, on another device, or
with more arms asked under personas, and attacks have a protocol each, so that others can be added to a run."""


def run_recipe(
    recipe: Recipe,
    directory: str | Path,
    progress: Progress | None = None,
    *,
    force: bool = False,
    workers: int | None = 1,
) -> Path:
    """Run a recipe in a directory, or finish the run that was begun there; returns the directory.

    Args:
        recipe: The recipe.
        directory: The run directory; it need not exist yet.
        progress: It is told how far the run is; None tells nobody.
        force: Whether a training judge that fails the exam of polarity may train all the same; the run records it.
        workers: How many processes share the run's stages; None takes as many as this machine's cores and memory
            allow. With more than one, a script must call this under `if __name__ == "__main__"`, since each process
            imports it. With the same threads for each stage the results do not depend on the number; a new run
            shares the machine's threads out among its workers and records how many each has, and a resumed one keeps
            that.

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
        _run(data, RunDirectory(path), progress, started, force, workers)
    return path


Phase = Callable[[Study], list[Stage]]
_PHASES: tuple[Phase, ...] = (stages_of, earlier_stages, attack_stages)
"""The stages of a later phase are known only when those of the earlier ones are done."""

TeamOf = Callable[[int], Team]
"""Who runs so many stages."""


def _run(
    data: StudyData, directory: RunDirectory, progress: Progress, started: float, force: bool, workers: int | None
) -> None:
    study, team_of = _prepare(data, directory, progress, force, workers)
    with ExitStack() as stack:
        timed = False
        for phase in _PHASES:
            stages = phase(study)
            left = {s.name: s.after for s in stages if not s.done()}
            if left and not timed:
                stack.enter_context(directory.timed(started))
                timed = True
            progress.plan({s.name: s.units for s in stages})
            for name in (s.name for s in stages if s.name not in left):
                progress.skip(name)
            try:
                _run_phase(study, phase, stages, left, team_of(len(left)))
            finally:
                progress.finish()
    write_gate(study)
    directory.write_results(_tables(study), ROW_SCHEMA)


def _run_phase(study: Study, phase: Phase, stages: Sequence[Stage], left: Mapping[str, str | None], team: Team) -> None:
    """Run the stages of a phase that are left, of which each names the one that it comes after."""
    part_of = {s.name: s.part for s in stages}

    def on_done(name: str, seconds: float) -> None:
        study.directory.add_seconds(part_of[name], seconds)

    if team.workers == 1:
        _run_in_turn([s for s in stages if s.name in left], study.progress, team.threads, on_done)
        return
    study.progress.note(f"{team.workers} worker processes, each with {_threads(team.threads)}")
    study.forget_model()  # each worker loads it, and this process needs it no more
    open_stages = partial(_open_stages, study.recipe, study.directory.path, team.workers, phase)
    run_side_by_side(left, open_stages, team, study.progress, on_done)


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count != 1)}"


def _run_in_turn(stages: Sequence[Stage], progress: Progress, threads: int, on_done: OnStage) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    # Every stage ends with a collection, which would take half a second to look through all libraries and data again.
    gc.freeze()
    try:
        for stage in stages:
            began = time.perf_counter()
            stage.run()
            on_done(stage.name, time.perf_counter() - began)
            progress.end(stage.name)
    finally:
        gc.unfreeze()
        torch.set_num_threads(before)


def _tables(study: Study) -> list[Path]:
    """The tables of results that the run's stages write, in the order of the whole table."""
    found = [study.rows_file(c, asked.condition) for c in study.checkpoints for asked in study.asked_of(c)]
    found += [study.public_file(c, b) for c in study.checkpoints for b in study.recipe.evaluation.public]
    found += attacked_tables(study)
    return found + [study.constants_file(subject.label) for subject in SUBJECTS]


def _prepare(
    data: StudyData, directory: RunDirectory, progress: Progress, force: bool, workers: int | None
) -> tuple[Study, TeamOf]:
    """Everything else that can fail fast, in order of cost.

    Returns:
        The study, and who runs its stages.
    """
    free = shutil.disk_usage(directory.path).free
    if free < _FREE_BYTES:
        raise SteadfastError(f"{directory.path}: only {free / 1e9:.1f} GB free; a run needs {_FREE_BYTES / 1e9:.0f} GB")
    recipe = data.recipe
    refuse_company(workers, _alone(recipe))
    training = make_judge(recipe.judge, recipe.judge_limits)
    evaluation = make_judge(recipe.evaluation.judge, recipe.evaluation.judge_limits)
    data.check_graders(training, evaluation)
    data.prove_own_families()
    by_name = {e.name: e for e in public_evals()}
    for name in recipe.evaluation.public:
        check_reach(by_name[name], graded=recipe.evaluation.judge.is_model)
    training, evaluation = (_kept(j, directory) for j in (training, evaluation))
    _probe(data, training, evaluation)
    polarity = examine_training_judge(data, training, progress, force=force)
    compared = data.prove_pools_disjoint()
    progress.note(f"pools are disjoint: {sum(compared.values()):,} pairs compared, exact and near-duplicate")
    progress.note(f"loading {recipe.model.name}")
    model = load_study_model(recipe, directory)
    _look_over(model, progress)
    data.check_prompts(model.chat)
    for attack in data.attacks:
        if attack.kind == "weights":
            check_weights(BY_NAME[attack.name], model.lm)
    study = _study(data, directory, training, evaluation, progress)
    study.model = model
    refuse_repetition(study)
    refuse_full_disk(study)
    new = directory.claim(_protocol(study), may_grow=["attacks"])
    full = any(a.method == "full" for a in data.attacks)  # gradients and moments beside the weights: twice the memory
    weights, alone = model.size * (2 if full else 1), _alone(recipe, model)

    def team_of(stages: int) -> Team:
        return team_for(workers, stages, weights=weights, threads=directory.threads(), alone=alone)

    team = team_of(sum(not s.done() for s in stages_of(study)))
    recorded = directory.threads() is not None
    if not (new or recorded):
        progress.note(
            f"{directory.path / 'environment.json'}: does not say how many threads earlier stages had; from here on "
            f"each has {_threads(team.threads)}, and another number rounds results otherwise"
        )
    if left_out := sorted({*directory.protocol().get("attacks", {})} - {*attacks_protocol(data)}):
        progress.note(
            f"{directory.path} was attacked by {', '.join(left_out)} too, which this recipe does not name: what was "
            "measured then stays in the folder and is left out of results.parquet until a recipe names it again"
        )
    text, file = _as_yaml(recipe), directory.path / "recipe.yaml"
    if not file.is_file() or file.read_text(encoding="utf-8") != text:  # attacks may have been added
        write_text(file, text)
    if new or not recorded:  # a kill may have come between
        directory.write_environment(model_source=model.source, polarity_exam=polarity, threads=team.threads)
        write_json(directory.path / "disjoint.json", compared)
    return study, team_of


def _as_yaml(recipe: Recipe) -> str:
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _open_stages(recipe: Recipe, path: Path, workers: int, phase: Phase, progress: Progress) -> list[Stage]:
    """The stages of a phase of a run that was prepared, in the process of one of its workers."""
    directory, data = RunDirectory(path), StudyData.load(recipe)
    training = _kept(make_judge(recipe.judge, recipe.judge_limits), directory)
    evaluation = _kept(make_judge(recipe.evaluation.judge, recipe.evaluation.judge_limits), directory)
    return phase(_study(data, directory, training, evaluation, progress, workers))


def _study(
    data: StudyData,
    directory: RunDirectory,
    training: Judge,
    evaluation: Judge,
    progress: Progress,
    workers: int = 1,
) -> Study:
    """The study in a process that shares the machine's memory with its run's other workers."""
    recipe = data.recipe
    load = partial(load_study_model, recipe, directory)
    return Study(recipe, directory, data, data.parts(), training, evaluation, load, progress, workers)


def _alone(recipe: Recipe, model: LoadedModel | None = None) -> str | None:
    """Why a run can have one worker only, as far as is known without its model if none is given; None if more."""
    if any(j.is_model for j in (recipe.judge, recipe.evaluation.judge)):
        return "a language model judges, and its budget is kept by one process"
    if model is not None and model.lm.device.type != "cpu":
        return f"the model is on {model.lm.device.type}, which one process uses"
    return None


def _kept(judge: Judge, directory: RunDirectory) -> Judge:
    """The judge, whose grades are kept in the run's directory, within its budget."""
    return BudgetedJudge(CachedJudge(judge, directory.grades_file))


def _probe(data: StudyData, *judges: Judge) -> None:
    """See that each judge answers at all."""
    asked = next((t for t in (*data.held_out, *data.training) if t.grader.kind == "rubric"), None)
    if asked is None:
        return
    for judge in judges:
        (grade,) = judge.grade([Rollout.of_text(asked, "A short answer, to see whether this judge answers at all.")])
        if grade.score is None:
            raise JudgeError(f"judge {judge.name!r} cannot grade: {grade.error or 'it gave no score'}")


def load_study_model(recipe: Recipe, directory: RunDirectory) -> LoadedModel:
    """The model: the same commit and date as in an earlier session."""
    m = recipe.model
    settings: dict[str, Any] = {"revision": m.revision} if m.revision else {}
    return load_model(
        m.name,
        dtype=m.dtype,
        device=m.device,
        trust_remote_code=m.trust_remote_code,
        chat_template_kwargs=m.chat_template_kwargs,
        **{**settings, **as_before(directory.protocol().get("model"))},
    )


def _look_over(model: LoadedModel, progress: Progress) -> None:
    """Look the model over as `steadfast doctor` does it.

    Raises:
        ModelLoadError: with what doctor would refuse.
    """
    checks = examine(model)
    if faults := refused(checks):
        raise ModelLoadError("\n".join(f"{c.name}: {c.sentence}" for c in faults))
    for check in checks:
        if check.status == "note":
            progress.note(f"{check.name}: {check.sentence}")


def _protocol(study: Study) -> dict[str, Any]:
    """What decides the run's numbers, as names and hashes."""
    data, recipe = study.data, study.recipe
    return {
        "recipe": recipe.model_dump(mode="json", exclude=_APART, context=WITHOUT_COST),
        "model": {k: v for k, v in study.model.identity.as_dict().items() if k != "combined"},
        "judges": {
            kind: {"name": judge.name, "protocol": protocol_hash(judge.name, judge.settings)}
            for kind, judge in (("training", study.training_judge), ("evaluation", study.evaluation_judge))
        },
        "training data": {
            name: protocol_hash(name, {"tasks": [t.row() for t in tasks]}) for name, tasks in data.slices.items()
        },
        "suites": {p.suite.name: part_protocol(p) for p in study.parts},
        "attacks": attacks_protocol(data),
        "personas": personas_protocol(data.persona_conditions),
        "constant answers": constants_protocol() if study.constant_parts else None,
        "twins": None if data.trained_twins is None else data.trained_twins.model_dump(mode="json"),
        "programs": source_hashes(t for tasks in data.slices.values() for t in tasks),
    }
