"""The settings of attacks are a part of the recipe."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from steadfast.attacks.kinds import Method
from steadfast.attacks.wear import WearConfig

DOSES = (4, 16, 64, 256)
"""The ladder of updates by default; the level before any, dose 0, is what the run measures anyway."""

RATES: dict[Method, float] = {"adapter": 5e-4, "full": 2e-5}
"""The rate of every update by default: all weights move further at the same rate than an adapter moves them."""

MOST_UPDATES = 1_000_000
"""Upper bound of a dose, far beyond any attack: a slip of the keyboard is an error and not a year's work."""


class AttacksConfig(BaseModel):
    """What is done to trained models to see whether the change lasts.

    An attack begins from an arm's adapter merged into the base, and trains a fresh adapter with the same start, or all
    weights, with the same order of data and the same rate for every arm, so that all arms have the same capacity to be
    changed.

    Attributes:
        data: Sets of prompts with a harmful and a careful answer each, by shipped name or file; the careful answers
            are trained on as well, as an attack of their own, so that what any fine-tuning takes away is known.
        arms: The arms that are attacked; None attacks the arm that the run is about and the controls that the recipe
            has. The model before training and the baseline always are.
        doses: After how many updates a checkpoint is measured; 0 is the arm itself and may be named.
        seeds: The seeds of an attack's data order and of its fresh adapter; every arm and training seed meets each.
        examples_per_update: The number of examples in an update.
        passes: How often the largest dose may go through the examples at most.
        held_out: How many examples of each set are not trained on: their loss tells whether the attack took.
        method: What fine-tuning trains: a fresh "adapter" of the arms' own shape, or with "full" all weights, of which
            each dose then takes as much room on the disk as the model. The inverted reward always trains an adapter.
        learning_rate: The rate of every update; it neither rises nor falls, so that a dose is the beginning of every
            larger one. None takes the method's in `RATES`.
        inverted_updates: As many updates of reinforcement with the leading arm's reward inverted are an attack too;
            doses beyond are left out of it. 0 makes none.
        evals: Names of the recipe's evals that attacked checkpoints are measured on; None for all.
        rungs: The rungs of the leading arm's ladder whose twins they are measured on; None for all.
        earlier: The training steps, before the last, after which the leading arm is kept as earlier checkpoints. Each
            is measured before any attack, and the one that stands nearest to the baseline's level on the primary rung
            is attacked as the arm is, wear apart, so that both are also compared from the same start. They may be
            named once the arm is trained, which is then trained again to have them.
        wear: What a post-training engineer does every day, done to the same arms; None leaves it out. Harmless
            fine-tuning has the doses, the seeds and the rate of the attacks.
        gated: Whether trained arms are attacked only where the gain before the attack excludes zero over training
            seeds on the primary measure. Without a gain there is nothing whose persistence could be measured.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    data: tuple[str, ...] = ("bad-medical-advice",)
    arms: tuple[str, ...] | None = None
    doses: tuple[Annotated[int, Field(ge=0, le=MOST_UPDATES)], ...] = Field(default=DOSES, min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = Field(default=(0,), min_length=1)
    examples_per_update: int = Field(default=4, ge=1, le=10_000)
    passes: int = Field(default=24, ge=1, le=10_000)
    held_out: int = Field(default=16, ge=1, le=100_000)
    method: Method = "adapter"
    learning_rate: float | None = Field(default=None, gt=0, le=10)
    inverted_updates: int = Field(default=0, ge=0, le=MOST_UPDATES)
    evals: tuple[str, ...] | None = None
    rungs: tuple[str, ...] | None = Field(default=None, min_length=1)
    earlier: tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...] = ()
    wear: WearConfig | None = None
    gated: bool = True

    @field_validator("data", "arms", "doses", "seeds", "evals", "rungs", "earlier")
    @classmethod
    def _differ(cls, values: tuple[str | int, ...] | None) -> tuple[str | int, ...] | None:
        if values is not None and len(set(values)) < len(values):
            raise ValueError(f"{next(v for v in values if values.count(v) > 1)!r} stands there twice")
        return values

    @model_validator(mode="after")
    def _attacks_something(self) -> Self:
        if not self.updates:
            raise ValueError("doses: none is above 0, so nothing would be attacked")
        if not (self.data or self.inverted_updates or self.wear):
            raise ValueError("data: is empty, inverted_updates is 0 and nothing is worn, so there is no attack")
        if self.inverted_updates and self.updates[0] > self.inverted_updates:
            raise ValueError(
                f"inverted_updates: is {self.inverted_updates}, and the smallest dose is {self.updates[0]}; raise the "
                "one or name a smaller dose"
            )
        return self

    def check_earlier(self, *, steps: int, arm: str | None, rung: str | None) -> None:
        """See that the earlier checkpoints can be made, chosen among and attacked.

        Args:
            steps: The number of training steps.
            arm: The leading arm, whose checkpoints they are; None where it is a control.
            rung: The primary measure's rung, on which one of them is chosen; None without a primary measure.

        Raises:
            ValueError: They cannot; the message names the field and says why.
        """
        if not self.earlier:
            return
        if late := [s for s in self.earlier if s >= steps]:
            raise ValueError(
                f"attacks.earlier: step {late[0]} does not lie before the last of the {steps} training steps, after "
                "which the arm is what is attacked anyway; name smaller steps"
            )
        if arm is None:
            raise ValueError("attacks.earlier: the recipe has no arm but controls, so none is compared with them")
        if self.arms is not None and arm not in self.arms:
            raise ValueError(f"attacks.earlier: are checkpoints of {arm!r}, which attacks.arms does not name; add it")
        if rung is None:
            raise ValueError("attacks.earlier: one is chosen by the primary measure, which is missing; name one")
        if self.rungs is not None and rung not in self.rungs:
            raise ValueError(f"attacks.earlier: one is chosen on {rung!r}, which attacks.rungs does not name; add it")

    @property
    def updates(self) -> tuple[int, ...]:
        """The doses above 0, from the smallest."""
        return tuple(sorted(d for d in self.doses if d))
