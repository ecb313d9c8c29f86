"""Checkpoints: what training, and an attack after it, leave behind."""

from dataclasses import dataclass, replace

from steadfast.evals.rows import AT


@dataclass(frozen=True)
class Checkpoint:
    """The model as it was, a warm start, or an arm that was trained with one of the seeds; each may be attacked then.

    Attributes:
        name: The arm, "warm-start", or "pre-RL"; an arm as it was after step 8 is "ARM@8".
        seed: The training seed; None for the model as it was.
        attack: What was done to it after its training; None for nothing.
        dose: The updates of the attack.
        attack_seed: The seed of the attack's data order and of its fresh adapter.
    """

    name: str
    seed: int | None = None
    attack: str | None = None
    dose: int | None = None
    attack_seed: int | None = None

    @property
    def arm(self) -> str:
        """The arm that it is of, or its own name where it is none."""
        return self.name.partition(AT)[0]

    @property
    def step(self) -> int | None:
        """The training step after which it was kept; None for what training ended with."""
        _, at, step = self.name.partition(AT)
        return int(step) if at else None

    @property
    def before(self) -> "Checkpoint":
        """The checkpoint that was attacked."""
        return replace(self, attack=None, dose=None, attack_seed=None)

    @property
    def folders(self) -> tuple[str, ...]:
        """Its folders in the run directory, from the outermost to the innermost."""
        own = (self.name,) if self.seed is None else (self.name, f"seed-{self.seed}")
        if self.attack is None:
            return own
        return (*own, "attacks", self.attack, f"attack-seed-{self.attack_seed}", f"dose-{self.dose}")

    def __str__(self) -> str:
        own = self.name if self.seed is None else f"{self.name}, seed {self.seed}"
        if self.attack is None:
            return own
        return f"{own}, {self.attack} {self.attack_seed}, dose {self.dose}"
