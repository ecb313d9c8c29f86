"""The checkpoints of a finished run that are looked into, each as the adapters that make it of the model."""

import re
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from steadfast.errors import SteadfastError
from steadfast.models.all_weights import WEIGHTS_FILE
from steadfast.models.pretrained import LoadedModel
from steadfast.study.arms import PRE_RL, WARM_START
from steadfast.study.recipe import Recipe

_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class Probed:
    """A checkpoint that is looked into.

    Attributes:
        label: Its name in files and results, such as "trait/seed-0" or
            "trait/seed-0/bad-medical-advice/attack-seed-0/step-16".
        name: The arm, "warm-start", or "pre-RL".
        seed: The training seed; None for the model as it was.
        trained: The folders of what makes it of the model, adapters or all weights, in the order in which they are
            applied.
        reference: The label of the checkpoint that its training or its attack began from; None for the model.
        attack: The attack; None before one.
        dose: The updates of the attack.
        attack_seed: The seed of the attack.
    """

    label: str
    name: str
    seed: int | None
    trained: tuple[Path, ...] = ()
    reference: str | None = None
    attack: str | None = None
    dose: int = 0
    attack_seed: int | None = None

    @property
    def is_trained_arm(self) -> bool:
        """Whether it is an arm as training left it."""
        return self.attack is None and self.name not in (PRE_RL, WARM_START)

    @contextmanager
    def applied(self, model: LoadedModel) -> Generator[None]:
        """Within this context the model is the checkpoint; afterwards it is what it was, bit for bit."""
        with ExitStack() as stack:
            for folder in self.trained:
                stack.enter_context(model.with_saved(folder))
            yield

    def rows(self, results: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of its attack and dose, or, before any attack, of what was not attacked."""
        if "attack" not in results.columns:
            return results if self.attack is None else results.clear()
        if self.attack is None:
            return results.filter(pl.col("attack").is_null())
        return results.filter(
            (pl.col("attack") == self.attack)
            & (pl.col("dose") == self.dose)
            & pl.col("attack_seed").eq_missing(pl.lit(self.attack_seed, dtype=pl.Int64))
        )


def checkpoints_of(recipe: Recipe, directory: Path) -> list[Probed]:
    """Find the checkpoints of a run: the model, warm starts, arms by seed, and what attacks made of them.

    Raises:
        SteadfastError: An adapter of an arm is missing.
    """
    found = [Probed(PRE_RL, PRE_RL, None)]
    warm = recipe.training.warm_start is not None
    for seed in recipe.seeds:
        for name in (*([WARM_START] if warm else []), *recipe.arm_names):
            adapter = directory / "arms" / name / f"seed-{seed}" / "adapter"
            if not (adapter / _CONFIG).is_file():
                raise SteadfastError(
                    f"{adapter}: the adapter of {name!r} with seed {seed} is missing; put it back, or run the recipe "
                    f"again with --out {directory}, which trains it anew"
                )
            start = f"{WARM_START}/seed-{seed}" if warm and name != WARM_START else PRE_RL
            found.append(Probed(f"{name}/seed-{seed}", name, seed, (adapter,), start))
    return [*found, *_attacked(found, directory / "attacks")]


def _attacked(before: list[Probed], folder: Path) -> list[Probed]:
    """Find what attacks trained: attacks/NAME/ARM/[seed-S/]attack-seed-A/kept/step-D/, where it is still there."""
    by_label = {one.label: one for one in before}
    found: list[Probed] = []
    for kept in folder.glob("*/**/kept/step-*"):
        attack, *of, attack_seed, _, step = kept.relative_to(folder).parts
        start = by_label.get("/".join(of))
        numbers = [re.fullmatch(r"(?:attack-seed|step)-(\d+)", part) for part in (attack_seed, step)]
        if start is None or not all(numbers) or not any((kept / name).is_file() for name in (_CONFIG, WEIGHTS_FILE)):
            continue
        seed, dose = (int(n.group(1)) for n in numbers if n is not None)
        label = f"{start.label}/{attack}/{attack_seed}/{step}"
        trained = (*start.trained, kept)
        found.append(Probed(label, start.name, start.seed, trained, start.label, attack, dose, seed))
    return sorted(found, key=lambda one: (one.attack or "", one.name, one.seed or 0, one.attack_seed or 0, one.dose))
