"""The stages of a run that attack what it trained: they begin once every arm is trained and measured.

Only then is it known whether there is a gain whose persistence could be measured. One training of an attack gives the
checkpoints of all its doses, since its rate is constant. What is measured of them is a part of what every checkpoint
is measured on, so an arm before the attack is its dose 0.
"""

import gc
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from steadfast.analysis.pairs import by_seed, pair_successes
from steadfast.analysis.points import bounds, points
from steadfast.analysis.seeds import no_spread, seed_interval
from steadfast.attacks.attack import INVERTED, WEAR, Attack
from steadfast.errors import SteadfastError
from steadfast.evals.measure import Condition
from steadfast.evals.rows import PLAIN
from steadfast.files import write_json
from steadfast.models.all_weights import WEIGHTS_FILE
from steadfast.models.policy import Policy
from steadfast.study.arms import BASELINE, PRE_RL
from steadfast.study.attacks import asked_in_wear, attacked_arms, attacked_parts, drawn_by, inverted_slice, settings_of
from steadfast.study.checkpoints import Checkpoint
from steadfast.study.earlier import earlier_checkpoints, keeping_stages, matched_checkpoints, on_primary_rung
from steadfast.study.recipe import Recipe
from steadfast.study.stages import Asked, Stage, Study, applied, measuring, stages_of, step_units
from steadfast.training.loop import OnStep, discard, is_trained, kept_after, steps_done, train
from steadfast.training.mixture import build_mixture
from steadfast.training.supervised import batches_of, train_supervised

_STATE_SIZES = 12
"""How many times the model's size the states to go on from may take: each holds the weights and the optimizer's two
moments, an old one stands beside a new one while that is written, and two workers may train at once."""


@dataclass(frozen=True)
class Gate:
    """Whether trained arms are attacked, or the model before training alone.

    Attributes:
        open: Whether they are.
        sentence: Why, in words.
    """

    open: bool
    sentence: str


def gate(study: Study) -> Gate:
    """See whether there is a gain to attack: the leading arm above the baseline on the primary rung, over seeds.

    Every checkpoint must have been measured.
    """
    recipe = study.recipe
    assert recipe.attacks is not None
    if not recipe.attacks.gated:
        return Gate(True, "The recipe attacks trained arms whether or not they gained anything (attacks.gated: false).")
    primary, lead = recipe.primary, recipe.leading_arm
    assert primary is not None
    levels = {name: _levels(study, name) for name in (lead, BASELINE)}
    if unscored := [s for s in recipe.seeds if any(s not in found for found in levels.values())]:
        return Gate(
            False,
            f"No pair of twins on {primary.rung!r} could be scored for {lead} and the baseline with training seed "
            f"{unscored[0]}, so nothing says whether there is a gain, and the model before training alone is attacked.",
        )
    gains = [levels[lead][s] - levels[BASELINE][s] for s in recipe.seeds]
    found = seed_interval(gains)
    told = f"Before any attack {lead} stands {points(found.estimate)} points above the baseline on {primary.rung!r}"
    if reason := no_spread(gains, "training seed"):
        return Gate(False, f"{told}, without an interval: {reason}. So the model before training alone is attacked.")
    told = f"{told}, {bounds(found.low, found.high)} over {len(gains)} training seeds"
    if found.low > 0:
        return Gate(True, f"{told}. The interval lies above zero, so there is a gain to attack.")
    return Gate(
        False,
        f"{told}. The interval does not lie above zero, so there is no gain whose persistence could be measured, and "
        "the model before training alone is attacked.",
    )


def write_gate(study: Study) -> None:
    """Write to attacks/gate.json whether trained arms were attacked, and why; no file where nothing is attacked."""
    file = study.directory.path / "attacks" / "gate.json"
    if study.recipe.attacks is not None:
        write_json(file, asdict(gate(study)))
    else:
        file.unlink(missing_ok=True)  # of an earlier session


def _levels(study: Study, name: str) -> dict[int, float]:
    """Pair success of an arm on the primary rung, by training seed."""
    pairs = pair_successes(on_primary_rung(study, [name]))
    return dict(by_seed(pairs).select("seed", "success").iter_rows())


def attacked_checkpoints(study: Study, trained: bool) -> list[Checkpoint]:
    """What is attacked, each with every attack, attack seed and dose; what matches the baseline's level without wear.

    Args:
        study: The study.
        trained: Whether trained arms are attacked, or the model before training alone.
    """
    config = study.recipe.attacks
    assert config is not None
    matched = matched_checkpoints(study) if trained else []
    return [
        replace(one, attack=attack.name, dose=dose, attack_seed=seed)
        for attack in study.data.attacks
        for seed in (config.seeds if attack.kind != "weights" else (0,))  # a format has nothing to draw
        for one in (*_before(study, trained), *(matched if attack.kind not in WEAR else ()))
        for dose in attack.doses
    ]


def _before(study: Study, trained: bool) -> list[Checkpoint]:
    """The checkpoints that are attacked, before they are."""
    arms = attacked_arms(study.recipe) if trained else ()
    return [Checkpoint(PRE_RL), *(Checkpoint(name, seed) for seed in study.recipe.seeds for name in arms)]


def earlier_stages(study: Study) -> list[Stage]:
    """The stages that keep and measure what the leading arm was earlier; none where no trained arm is attacked.

    Every checkpoint must have been measured before. Which of these is attacked is known when they are.
    """
    recipe = study.recipe
    if recipe.attacks is None or not recipe.attacks.earlier or not gate(study).open:
        return []
    asked, found = Asked(_condition(study), attacked_parts(study.data)), list[Stage]()
    for seed, keeping in zip(recipe.seeds, keeping_stages(study), strict=True):
        mine = [c for c in earlier_checkpoints(recipe) if c.seed == seed]
        found += [keeping, *(measuring(study, c, asked, keeping.name) for c in mine)]
    return found


def refuse_full_disk(study: Study) -> None:
    """See that the disk has room for the weights that fine-tuning all of them keeps, one set for each dose.

    Raises:
        SteadfastError: It has not.
    """
    config = study.recipe.attacks
    full = [a for a in study.data.attacks if a.method == "full"]
    if config is None or not full:
        return
    trained = not all(s.done() for s in stages_of(study)) or gate(study).open  # before that, nobody knows
    starts = len(_before(study, trained)) + (len(study.recipe.seeds) if trained and config.earlier else 0)
    kept = sum(len(a.doses) for a in full) * len(config.seeds) * starts
    size = study.model.size
    folder = study.directory.path
    there = sum(f.stat().st_size for a in full for f in folder.glob(f"attacks/{a.name}/**/{WEIGHTS_FILE}"))
    if there >= kept * size:
        return
    needed, free = (kept + _STATE_SIZES) * size - there, shutil.disk_usage(folder).free
    if needed > free:
        raise SteadfastError(
            f"{folder}: attacks.method full keeps the weights of {kept} checkpoints and needs {needed / 1e9:.0f} GB "
            f"more with what it goes on from; {free / 1e9:.0f} GB are free. Name fewer doses, arms or seeds, set "
            "attacks.method: adapter, or run on a larger disk"
        )


def attack_stages(study: Study) -> list[Stage]:
    """The stages that attack what was trained, and measure it; none where the recipe attacks nothing.

    Every checkpoint must have been measured before.
    """
    if study.recipe.attacks is None:
        return []
    asked, trained = Asked(_condition(study), attacked_parts(study.data)), gate(study).open
    found: list[Stage] = []
    for one in attacked_checkpoints(study, trained):
        attack = next(a for a in study.data.attacks if a.name == one.attack)
        if attack.kind == "weights":
            found.append(measuring(study, one, asked, None))
            continue
        name = _attacking_name(one)
        if all(s.name != name for s in found):
            units = attack.doses[-1] * _update_units(study.recipe, attack)
            done, run = partial(_is_attacked, study, one, attack), partial(_run, study, one, attack)
            found.append(Stage(name, done, units, run, part="attacking"))
        found.append(measuring(study, one, asked, name))
    for condition, parts in asked_in_wear(study.data):
        worn = (measuring(study, one, Asked(condition, parts), None) for one in _before(study, trained))
        found += [replace(stage, part="wear") for stage in worn]
    return found


def _condition(study: Study) -> Condition:
    return Condition(PLAIN, study.recipe.training.style)


def attacked_tables(study: Study) -> list[Path]:
    """The tables of results that the stages write."""
    if study.recipe.attacks is None:
        return []
    trained = gate(study).open
    before = earlier_checkpoints(study.recipe) if trained else []
    found = [study.rows_file(c, _condition(study)) for c in (*before, *attacked_checkpoints(study, trained))]
    worn = [condition for condition, _ in asked_in_wear(study.data)]
    return found + [study.rows_file(c, condition) for condition in worn for c in _before(study, trained)]


def _attacking_name(checkpoint: Checkpoint) -> str:
    """The name of the stage that makes a checkpoint, whatever its dose."""
    return f"attack {checkpoint.before} by {checkpoint.attack}, attack seed {checkpoint.attack_seed}"


def _update_units(recipe: Recipe, attack: Attack) -> float:
    assert recipe.attacks is not None
    if attack.kind == "inverted":
        return step_units(recipe, Checkpoint(recipe.leading_arm))
    shown = [sum(len(m.content) for m in d.messages) / 4 for d in attack.trained]  # four characters are about a token
    return recipe.attacks.examples_per_update * 2 * sum(shown) / len(shown)


def _is_attacked(study: Study, checkpoint: Checkpoint, attack: Attack) -> bool:
    directory = study.attack_directory(checkpoint)
    return is_trained(directory) and all(kept_after(directory, d).is_dir() for d in attack.doses)


def _run(study: Study, checkpoint: Checkpoint, attack: Attack) -> None:
    assert checkpoint.attack_seed is not None
    directory, seed = study.attack_directory(checkpoint), drawn_by(checkpoint.attack_seed)
    stage, units = _attacking_name(checkpoint), _update_units(study.recipe, attack)
    done = steps_done(directory)
    passed = [d for d in attack.doses if d <= done and not kept_after(directory, d).is_dir()]
    if is_trained(directory) or passed:  # up to smaller doses without a state to go on from, or beyond one that is new
        discard(directory)
    study.progress.begin(stage, steps_done(directory) * units)

    def on_step(step: int, metrics: Mapping[str, Any]) -> None:
        study.progress.reach(stage, step * units, f"update {step}/{attack.doses[-1]}  loss {metrics['loss']:.2f}")

    with applied(study, checkpoint.before):
        policy = _fresh_policy(study, attack, seed)
        try:
            _train(study, policy, attack, directory, seed, on_step)
        finally:
            study.model.release(policy)
            gc.collect()  # PEFT's modules refer to one another in circles


def _fresh_policy(study: Study, attack: Attack, seed: int) -> Policy:
    """What an attack trains of the arm that is merged into the model."""
    if attack.method == "full":
        return study.model.full_policy()
    return study.model.fresh_policy(study.recipe.training.adapter, seed)


def _train(study: Study, policy: Policy, attack: Attack, directory: Path, seed: int, on_step: OnStep) -> None:
    settings, judge = settings_of(study.recipe, attack), study.training_judge
    steps, per_step = settings.steps, settings.prompts_per_step
    if attack.kind == "inverted":
        schedule = build_mixture(
            inverted_slice(study.data),
            [],
            steps=steps,
            prompts_per_step=per_step,
            share=1.0,
            seed=f"{seed}/{INVERTED}",
            in_pairs=study.recipe.data.twins is not None,
        )
        train(policy, schedule, judge, settings, directory, seed=seed, on_step=on_step)
    else:
        batches = batches_of(attack.trained, steps=steps, per_step=per_step, seed=seed)
        train_supervised(
            policy,
            batches,
            judge,
            settings,
            directory,
            seed=seed,
            held_out=attack.held_out,
            answer_every=settings.save_every,
            lower_layers=study.lower_layers_of_attacks,
            on_step=on_step,
        )
