"""What `steadfast probe` looks at, and how much of it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Layer = Annotated[int, Field(ge=0)]


class ProbingConfig(BaseModel):
    """The looking inside a finished run.

    Attributes:
        layers: The decoder layers that are looked at, counted from 0; "all"; or None for twelve that lie evenly, with
            the last among them.
        random_directions: How many random directions, and as many directions of shuffled labels, each direction is held
            against.
        gold_pairs: How many pairs of gold replies of each trait are read at most, to make and to try its direction;
            None for all.
        twin_pairs: The same for pairs of twins, over all families.
        fixed_pairs: How many pairs of gold replies of each trait every checkpoint reads, of those that made no
            direction.
        own_answers: How many of its own answers each checkpoint reads; they are taken from the run's results.
        steering_pairs: How many pairs of twins the cause is tried on, of those that made no direction; 0 leaves it out.
        doses: How much of a direction is added, in units of the layer's mean activation norm.
        steering_random: How many random directions are added and taken out for comparison.
        steering_seeds: How many training seeds of the trait arm a direction is taken out of.
        seed: It seeds whatever is drawn.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    layers: Literal["all"] | Annotated[tuple[Layer, ...], Field(min_length=1)] | None = None
    random_directions: int = Field(default=200, ge=20, le=100_000)
    gold_pairs: int | None = Field(default=None, ge=2, le=100_000)
    twin_pairs: int = Field(default=64, ge=0, le=100_000)
    fixed_pairs: int = Field(default=4, ge=1, le=10_000)
    own_answers: int = Field(default=48, ge=0, le=100_000)
    steering_pairs: int = Field(default=24, ge=0, le=10_000)
    doses: tuple[Annotated[float, Field(ge=-100, le=100)], ...] = Field(default=(-0.2, 0.1, 0.2, 0.4), min_length=1)
    steering_random: int = Field(default=3, ge=1, le=1000)
    steering_seeds: int = Field(default=1, ge=1, le=1000)
    seed: int = Field(default=0, ge=0, lt=2**32)
