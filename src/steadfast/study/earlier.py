"""Earlier checkpoints of the leading arm, one of which stands where the baseline stands before an attack.

Whoever has more can lose more, so the arm is also attacked as it was when it had no more than the baseline. Its
training keeps an adapter after each step that `attacks.earlier` names. Each is measured as it is, the one nearest to
the baseline's level on the primary rung is chosen on one half of the items (`analysis.matched_start`), and that one
alone is attacked.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import polars as pl

from steadfast.analysis.matched_start import Start, choose_start
from steadfast.errors import RecipeError, SteadfastError
from steadfast.evals.completion import rows_of
from steadfast.evals.measure import Condition
from steadfast.evals.rows import AT, PLAIN
from steadfast.study.arms import BASELINE
from steadfast.study.checkpoints import Checkpoint
from steadfast.study.recipe import Recipe
from steadfast.study.rungs import rung_of
from steadfast.study.stages import Stage, Study, step_units, train_in
from steadfast.training.loop import discard, is_trained, kept_after, steps_done, take_adapters

_AGAIN = "again"
"""The folder, in an arm's directory, in which it is trained once more for what the first training did not keep."""


def earlier_checkpoints(recipe: Recipe) -> list[Checkpoint]:
    """The earlier checkpoints of the leading arm, with every training seed; none where the recipe names none."""
    return [Checkpoint(name, seed) for seed in recipe.seeds for name in _names(recipe)]


def _names(recipe: Recipe) -> list[str]:
    return [f"{recipe.leading_arm}{AT}{step}" for step in _steps(recipe)]


def _steps(recipe: Recipe) -> list[int]:
    return [] if recipe.attacks is None else sorted(recipe.attacks.earlier)


def matched_checkpoints(study: Study) -> list[Checkpoint]:
    """The earlier checkpoint nearest to the baseline's level, with every seed; none where the arm itself is nearest.

    All of them must have been measured.
    """
    start = start_of(study)
    if start is None or start.checkpoint == study.recipe.leading_arm:
        return []
    return [Checkpoint(start.checkpoint, seed) for seed in study.recipe.seeds]


def start_of(study: Study) -> Start | None:
    """Choose between the leading arm and its earlier checkpoints; None where there are none, or nothing tells."""
    candidates = [*_names(study.recipe), study.recipe.leading_arm]
    if len(candidates) == 1:
        return None
    try:
        return choose_start(on_primary_rung(study, [*candidates, BASELINE]), candidates, BASELINE, twins="product")
    except ValueError:  # no pair of twins was scored in all of them; the report, which chooses as well, says so
        return None


def on_primary_rung(study: Study, names: Sequence[str]) -> pl.DataFrame:
    """The rows of twins on the primary rung, as arms or their earlier checkpoints answered them before any attack."""
    recipe, twins = study.recipe, study.data.trained_twins
    assert recipe.primary is not None
    assert twins is not None
    checkpoints = [Checkpoint(name, seed) for name in names for seed in recipe.seeds]
    rows = pl.concat([rows_of(study.rows_file(c, Condition(PLAIN)), c.name) for c in checkpoints])
    answered = rows.filter((pl.col("kind") == "twins") & (pl.col("grader") == "program"))
    return answered.filter(rung_of(recipe.arm(recipe.leading_arm), twins) == recipe.primary.rung)


def keeping_stages(study: Study) -> list[Stage]:
    """The stages that see to it that the adapters are there, one for each training seed.

    They are done where the arm's training kept them. An arm that was trained before the recipe named them is trained
    once more beside itself.
    """
    recipe = study.recipe
    arms = [Checkpoint(recipe.leading_arm, seed) for seed in recipe.seeds]
    units = recipe.training.steps * step_units(recipe, arms[0])
    return [
        Stage(_name(recipe, a), partial(_has_all, study, a), units, partial(_keep, study, a), part="training")
        for a in arms
    ]


def _name(recipe: Recipe, arm: Checkpoint) -> str:
    return f"train {arm} once more, for {_listed(_steps(recipe))}"


def _listed(steps: Sequence[int]) -> str:
    return f"step{'s' * (len(steps) > 1)} {', '.join(map(str, steps))}"


def _has_all(study: Study, arm: Checkpoint) -> bool:
    directory = study.arm_directory(arm)
    kept = all(kept_after(directory, step).is_dir() for step in _steps(study.recipe))
    return kept and not (directory / _AGAIN).is_dir()


def _passed(directory: Path, steps: Sequence[int]) -> list[int]:
    """The steps that a training has behind it without having kept their adapters."""
    missing = [step for step in steps if not kept_after(directory, step).is_dir()]
    return missing if is_trained(directory) else [step for step in missing if step <= steps_done(directory)]


def _keep(study: Study, arm: Checkpoint) -> None:
    """Train an arm once more, and take over what it was on the way if it ends where it ended then."""
    directory, steps = study.arm_directory(arm), _steps(study.recipe)
    again = directory / _AGAIN
    if _passed(again, steps):  # it was begun before the recipe named a step that lies behind it
        discard(again)
    train_in(study, arm, again, _name(study.recipe, arm))
    try:
        take_adapters(again, directory, steps)
    except SteadfastError as error:
        discard(again)
        raise SteadfastError(
            f"{error}: the libraries or the machine have changed since, so what {arm} was after {_listed(steps)} "
            "cannot be had; leave attacks.earlier out, or begin anew with another --out"
        ) from error
    discard(again)


def refuse_repetition(study: Study) -> None:
    """Refuse earlier checkpoints that only a repeated training could give, where repeating it gives another arm.

    Raises:
        RecipeError: The model is on a GPU, and an arm's training has gone beyond a step without keeping its adapter.
    """
    device = study.model.lm.device.type
    if device == "cpu":
        return
    for seed in study.recipe.seeds:
        arm = Checkpoint(study.recipe.leading_arm, seed)
        directory = study.arm_directory(arm)
        if passed := _passed(directory, _steps(study.recipe)):
            raise RecipeError(
                f"attacks.earlier: {directory} holds no adapter of {_listed(passed)}, since the recipe did not name "
                f"them when {arm} was trained, and on {device} no training can be repeated exactly; leave "
                "attacks.earlier out, or begin anew with another --out"
            )
