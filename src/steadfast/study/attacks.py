"""What a recipe's attacks are: their data, what they are trained with, and what is measured of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from steadfast.attacks.attack import INVERTED, Attack, fine_tunings, wearing
from steadfast.attacks.config import DOSES
from steadfast.errors import ChatTemplateError, DataError, RecipeError
from steadfast.evals.measure import Condition, Part
from steadfast.evals.wear import wear_conditions, wear_protocol, worn_parts
from steadfast.models.chat import ChatTemplate
from steadfast.study.arms import BASELINE, CONTROLS, PRE_RL
from steadfast.study.flipping import flipped
from steadfast.study.recipe import Recipe, load_recipe
from steadfast.tasks.jsonl import faults
from steadfast.training.config import TrainingConfig
from steadfast.training.mixture import ScheduledTask
from steadfast.training.supervised import encode_demonstration

if TYPE_CHECKING:
    from steadfast.study.data import StudyData

_STATES = 16
"""The number of updates between resumable states of an attack: they are short."""


def with_attacks(
    directory: Path,
    attacks: Sequence[str],
    doses: Sequence[int] = (),
    *,
    earlier: Sequence[int] = (),
    ungated: bool = False,
) -> Recipe:
    """The recipe of a finished run with further attacks; running it in its directory adds them to what is there.

    Args:
        directory: The run directory.
        attacks: Sets of attack data by shipped name or file, or "inverted-reward"; none takes the default, if the run
            has no attack yet.
        doses: Doses to add; none takes the default ones, if the run has no attack yet.
        earlier: Training steps to add to those after which the leading arm is an earlier checkpoint.
        ungated: Whether trained arms are attacked even if they gained nothing.

    Raises:
        RecipeError: There is no finished run, or the attacks are none that it can have.
    """
    file = directory / "recipe.yaml"
    for needed in (file, directory / "results.parquet"):
        if not needed.is_file():
            raise RecipeError(
                f"{directory}: no finished run to attack, {needed.name} is missing; finish it with `steadfast run "
                f"RECIPE --out {directory}`"
            )
    recipe = load_recipe(file)
    sets = [a for a in attacks if a != INVERTED]
    if recipe.attacks is None:
        fields: dict[str, Any] = {"doses": doses or DOSES, "inverted_updates": 0}
        fields |= {"data": sets} if attacks else {}
    else:
        fields = recipe.attacks.model_dump()
        fields |= {"doses": {*fields["doses"], *doses}, "data": list(dict.fromkeys((*fields["data"], *sets)))}
    if INVERTED in attacks:
        fields["inverted_updates"] = max(fields["doses"])
    fields["earlier"] = sorted({*fields.get("earlier", ()), *earlier})
    if ungated:
        fields["gated"] = False
    fields["doses"] = sorted(fields["doses"])
    try:
        return Recipe.model_validate({**recipe.model_dump(), "attacks": fields})
    except ValidationError as error:
        raise RecipeError("\n".join(f"{file}: {fault}" for fault in faults(error))) from error


def attacks_of(data: "StudyData") -> list[Attack]:
    """The attacks of a recipe; none where it names none.

    Raises:
        RecipeError: What it names is not there, or cannot be had.
    """
    recipe, config = data.recipe, data.recipe.attacks
    if config is None:
        return []
    try:
        found = [*fine_tunings(config), *wearing(config, data.standard, recipe.eval_seed)]
    except DataError as error:
        raise RecipeError("\n".join(error.problems)) from error
    if config.inverted_updates:
        inverted_slice(data)
        doses = tuple(d for d in config.updates if d <= config.inverted_updates)
        found.append(Attack(INVERTED, "inverted", doses))
    attacks = [a.name for a in found]
    if twice := next((n for n in attacks if attacks.count(n) > 1), None):
        raise RecipeError(f"attacks: two attacks are named {twice!r}; rename a file")
    names = {s.name for s in data.evals}
    if unknown := [n for n in config.evals or () if n not in names]:
        raise RecipeError(
            f"attacks.evals: {unknown[0]!r} is not measured by this recipe, so no attack could be held against it; "
            f"measured are: {', '.join(sorted(names)) or 'none'}"
        )
    if not attacked_parts(data):
        raise RecipeError("attacks: nothing that the recipe measures is left for attacked checkpoints; name evals")
    return found


def inverted_slice(data: "StudyData") -> list[ScheduledTask]:
    """The leading arm's tasks with the opposite reward.

    Raises:
        RecipeError: A task has no opposite.
    """
    lead = data.recipe.arm(data.recipe.leading_arm)
    try:
        tasks = flipped(data.slices[lead.name], lead.name)
    except RecipeError as error:
        raise RecipeError(f"attacks.inverted_updates: {error}") from error
    return [ScheduledTask(t, lead.pool) for t in tasks]


def attacked_parts(data: "StudyData") -> list[Part]:
    """What attacked checkpoints are measured on: the chosen evals and twins, and all capability tasks.

    Raises:
        RecipeError: No twins stand on a chosen rung.
    """
    config, parts = data.recipe.attacks, data.parts()
    assert config is not None
    evals = [p for p in parts if p.suite.kind == "eval" and (config.evals is None or p.suite.name in config.evals)]
    twins = [p for p in parts if p.suite.kind == "twins"]
    if config.rungs is not None:
        twins = data.on_rungs(twins, config.rungs, "attacks.rungs")
    return [*evals, *twins, *(p for p in parts if p.suite.kind == "capability")]


def asked_in_wear(data: "StudyData") -> list[tuple[Condition, list[Part]]]:
    """The conditions of a recipe's wear, each with what is asked under it; none where nothing is worn."""
    recipe = data.recipe
    if recipe.attacks is None or recipe.attacks.wear is None:
        return []
    conditions = wear_conditions(recipe.attacks.wear, recipe.training.style, recipe.eval_seed)
    return [(c, parts) for c in conditions if (parts := worn_parts(c, attacked_parts(data)))]


def unencodable_examples(chat: ChatTemplate, attacks: Sequence[Attack], training: TrainingConfig) -> dict[str, str]:
    """Return why examples of attacks cannot be shown to a model, by attack and example; empty if all can be.

    Their prompts are answered before each update as well, so there must be room for an answer of the model's own.
    """
    style, room = training.style, training.max_new_tokens
    found: dict[str, str] = {}
    for attack in attacks:
        for one in (*attack.trained, *attack.held_out):
            try:
                encode_demonstration(chat, one, style)
                chat.encode(one.task.messages, style, max_new_tokens=room)
            except ChatTemplateError as error:
                found[f"{attack.name}/{one.task.id}"] = f"attack {attack.name!r}, example {one.task.id!r}: {error}"
    return found


def attacked_arms(recipe: Recipe) -> tuple[str, ...]:
    """The arms that are attacked, the baseline first."""
    assert recipe.attacks is not None
    chosen = recipe.attacks.arms
    if chosen is None:
        chosen = (*(a for a in CONTROLS if a in recipe.arm_names), recipe.leading_arm)
    return tuple(dict.fromkeys((BASELINE, *(a for a in chosen if a != PRE_RL))))


def settings_of(recipe: Recipe, attack: Attack) -> TrainingConfig:
    """The settings of an attack's training: those of the arms, at a constant rate, and no warm start.

    By the inverted reward they keep the arms' rate and the size of their steps.
    """
    config = recipe.attacks
    assert config is not None
    settings: dict[str, Any] = {
        "steps": attack.doses[-1],
        "keep": attack.doses,
        "warmup_steps": 0,
        "decay": "constant",
        "warm_start": None,
        "save_every": _STATES,
    }
    if attack.kind != "inverted":
        settings |= {
            "prompts_per_step": config.examples_per_update,
            "learning_rate": config.learning_rate,
            "updates_per_rollout": 1,
        }
    return recipe.training.model_copy(update=settings)


def attacks_protocol(data: "StudyData") -> dict[str, Any]:
    """What decides the numbers of each attack, by its name; doses, arms and seeds may be added to."""
    found: dict[str, Any] = dict(wear_protocol(c for c, _ in asked_in_wear(data)))
    for attack in data.attacks:
        if attack.kind == "weights":
            found[attack.name] = attack.protocol
            continue
        settings = settings_of(data.recipe, attack).model_dump(mode="json", exclude={"steps", "keep"})
        found[attack.name] = {**attack.protocol, "training": settings}
    return found
