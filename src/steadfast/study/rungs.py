"""How far a twin lies from what an arm was trained on: the rungs of the transfer ladder."""

from typing import Literal

import polars as pl
from pydantic import BaseModel, ConfigDict

from steadfast.study.arms import Arm

Rung = Literal["new values", "new wording", "new domain", "new format", "near family", "far family"]
RUNGS: tuple[Rung, ...] = ("new values", "new wording", "new domain", "new format", "near family", "far family")
"""From the nearest to the farthest. A twin stands on the rung of the farthest thing about it that is new."""


class TrainedTwins(BaseModel):
    """What of twins a recipe trains on: it is kept with the run, so that a report needs no family's file.

    Attributes:
        families: The names of the families.
        groups: The groups that they belong to.
        domains: The domains that they know; an arm's filters may leave out some.
        formats: The formats.
        wordings: The numbers of the wordings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    families: tuple[str, ...]
    groups: tuple[str, ...]
    domains: tuple[str, ...]
    formats: tuple[str, ...]
    wordings: tuple[int, ...]


def rung_of(arm: Arm, twins: TrainedTwins) -> pl.Expr:
    """The rung of twins in a table with the columns suite, group, domain, format and wording.

    Args:
        arm: The arm, whose filters leave out some domains.
        twins: What the recipe trains on.
    """
    trained = [d for d in twins.domains if (not arm.domains or d in arm.domains) and d not in arm.without_domains]
    known = pl.col("suite").is_in(list(twins.families))
    farthest_first: list[tuple[Rung, pl.Expr]] = [
        ("far family", ~known & ~pl.col("group").is_in(list(twins.groups))),
        ("near family", ~known),
        ("new format", ~pl.col("format").is_in(list(twins.formats))),
        ("new domain", ~pl.col("domain").is_in(trained)),
        ("new wording", ~pl.col("wording").is_in(list(twins.wordings))),
    ]
    name = pl.lit("new values")
    for rung, holds in reversed(farthest_first):
        name = pl.when(holds).then(pl.lit(rung)).otherwise(name)
    return name
