"""What a recipe's attacks are: their data, what they are trained with, and what is measured of them."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from steadfast.attacks.attack import INVERTED, Attack, fine_tunings, wearing
from steadfast.attacks.config import DOSES, MOST_UPDATES, RATES, AttacksConfig
from steadfast.attacks.examples import shipped_attacks
from steadfast.attacks.kinds import Method
from steadfast.errors import ChatTemplateError, DataError, RecipeError
from steadfast.evals.measure import Condition, Part
from steadfast.evals.wear import wear_conditions, wear_protocol, worn_parts
from steadfast.models.chat import ChatTemplate
from steadfast.study.arms import BASELINE, CONTROLS, PRE_RL
from steadfast.study.flipping import flipped
from steadfast.study.recipe import Recipe, load_recipe
from steadfast.tasks.jsonl import faults
from steadfast.tasks.suite import catalogue
from steadfast.training.config import TrainingConfig
from steadfast.training.mixture import ScheduledTask
from steadfast.training.supervised import encode_demonstration

if TYPE_CHECKING:
    from steadfast.study.data import StudyData

_STATES = 16
"""The number of updates between resumable states of an attack: they are short."""

_OPTIONS = {"attacks.data": "--data", "attacks.doses": "--doses"}
"""The options of `steadfast attack` by the fields of a recipe that they fill."""


def with_attacks(
    directory: Path,
    attacks: Sequence[str],
    doses: Sequence[int] = (),
    *,
    earlier: Sequence[int] = (),
    method: Method | None = None,
    ungated: bool = False,
) -> Recipe:
    """The recipe of a finished run with further attacks; running it in its directory adds them to what is there.

    Args:
        directory: The run directory.
        attacks: Sets of attack data by shipped name or file, or "inverted-reward"; none takes the default, if the run
            has no attack yet.
        doses: Doses to add to every attack; none takes the default ones, if the run has no attack yet.
        earlier: Training steps to add to those after which the leading arm is an earlier checkpoint.
        method: What fine-tuning trains, the same in all attacks of a run; None takes what its earlier ones train, or
            else an adapter.
        ungated: Whether trained arms are attacked even if they gained nothing.

    Raises:
        RecipeError: There is no finished run, or the attacks are none that it can have. The message names the options
            of `steadfast attack`.
    """
    file = directory / "recipe.yaml"
    for needed in (file, directory / "results.parquet"):
        if not needed.is_file():
            raise RecipeError(
                f"{directory}: no finished run to attack, {needed.name} is missing; finish it with `steadfast run "
                f"RECIPE --out {directory}`"
            )
    recipe = load_recipe(file)
    _refuse_what_cannot_be_attacked(directory, recipe, doses, ungated)
    sets = [_found(a) for a in dict.fromkeys(attacks) if a != INVERTED]
    before = recipe.attacks
    fields: dict[str, Any] = {"doses": (), "data": (), "inverted_updates": 0} if before is None else before.model_dump()
    if before is None and not attacks:
        del fields["data"]
    else:
        fields["data"] = list(dict.fromkeys((*fields["data"], *sets)))
    fields["doses"] = sorted({*fields["doses"], *doses}) or DOSES
    if INVERTED in attacks:
        fields["inverted_updates"] = max(fields["doses"])
    elif fields["inverted_updates"]:
        fields["inverted_updates"] = max((fields["inverted_updates"], *doses))
    fields["earlier"] = sorted({*fields.get("earlier", ()), *earlier})
    if method is not None:
        _refuse_another_method(directory, before, method)
        fields["method"] = method
    if ungated:
        fields["gated"] = False
    try:
        made = Recipe.model_validate({**recipe.model_dump(), "attacks": fields})
    except ValidationError as error:
        raise RecipeError("\n".join(f"{file}: {fault}" for fault in faults(error))) from error
    assert made.attacks is not None
    try:
        fine_tunings(made.attacks)  # what is wrong with it is told again by the recipe's fields once it is loaded
    except DataError as error:
        raise RecipeError("\n".join(map(_as_typed, error.problems))) from error
    return made


def _refuse_what_cannot_be_attacked(directory: Path, recipe: Recipe, doses: Sequence[int], ungated: bool) -> None:
    if above := [d for d in doses if d > MOST_UPDATES]:
        raise RecipeError(f"--doses: {above[0]} is beyond any attack; the most is {MOST_UPDATES}")
    if recipe.attacks is not None:
        return
    if doses and not any(doses):
        raise RecipeError("--doses: none is above 0, so nothing would be attacked")
    if recipe.model.dtype != "float32":
        raise RecipeError(
            f"{directory}: was trained in {recipe.model.dtype}, which would round away the adapters that attacks merge "
            "into the weights; only a run with model.dtype float32 can be attacked"
        )
    if recipe.primary is None and not ungated:
        raise RecipeError(
            f"{directory}: its recipe has no primary measure, so nothing says what gain is attacked; give --ungated to "
            "attack trained arms whether or not they gained anything"
        )


def _refuse_another_method(directory: Path, before: AttacksConfig | None, method: Method) -> None:
    """Refuse a method that what fine-tuning has trained already did not have."""
    fine_tuned = before is not None and (before.data or (before.wear is not None and before.wear.data))
    if before is not None and fine_tuned and before.method != method:
        raise RecipeError(
            f"--method {method}: {directory} was attacked with attacks.method {before.method}, and all attacks of a "
            "run have one method; leave --method out, or attack a copy of the run from before its attacks"
        )


def _as_typed(problem: str) -> str:
    """A problem with a recipe's attacks in the words of the command."""
    field, colon, rest = problem.partition(":")
    return f"{_OPTIONS.get(field, field)}{colon}{rest}"


def _found(name: str) -> str:
    """A set's name if it ships, else its file from the root: the run may go on in another working directory."""
    if name in shipped_attacks():
        return name
    file = Path(name).expanduser().absolute()
    if not file.is_file():
        raise RecipeError(
            f"--with {name!r}: no such set ships, and it is no file; there are: "
            f"{', '.join((*shipped_attacks(), INVERTED))}. Give a file of your own with --data"
        )
    return str(file)


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
    _refuse_unknown_domains(data, found)
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


def _refuse_unknown_domains(data: "StudyData", attacks: Sequence[Attack]) -> None:
    """Refuse a domain that nothing measured could be of: all would count as outside the attack's ground."""
    suites = (*catalogue(), *data.suites.values())
    known = sorted({*data.taxonomy.domain_ids, *(s.domain for s in suites)})
    for attack in attacks:
        if unknown := [d for d in attack.domains if d not in known]:
            raise RecipeError(
                f"attacks.data: {attack.name!r} has examples of an unknown domain, {unknown[0]!r}; known: "
                f"{', '.join(known)}. Define your own in a file, and give it in the recipe as domains: FILE"
            )


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
            "learning_rate": config.learning_rate or RATES[config.method],
            "updates_per_rollout": 1,
        }
    return recipe.training.model_copy(update=settings)


def attacks_protocol(data: "StudyData") -> dict[str, Any]:
    """What each attack is and what decides its numbers, by its name; doses, arms and seeds may be added to.

    By `drawn` a change of the rule of what an attack draws makes another protocol: it is what the rule gives.
    """
    found: dict[str, Any] = dict(wear_protocol(c for c, _ in asked_in_wear(data)))
    for attack in data.attacks:
        if attack.kind == "weights":
            found[attack.name] = attack.protocol
            continue
        settings = settings_of(data.recipe, attack).model_dump(mode="json", exclude={"steps", "keep"})
        found[attack.name] = {**attack.protocol, "training": settings, "drawn": drawn_by(0)}
    return found


def drawn_by(attack_seed: int) -> int:
    """The seed of all that an attack draws, which is none that an arm is trained with.

    With the seed of an arm's training the fresh adapter would begin as the arm's own did, and so change the model in
    the directions that the arm was changed in: seven tenths of that change lay in them, in place of a thirtieth.
    """
    return Random(f"attack/{attack_seed}").getrandbits(31)
