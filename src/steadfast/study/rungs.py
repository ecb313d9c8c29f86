"""How far a twin lies from what an arm was trained on: the rungs of the transfer ladder."""

from typing import Literal

import polars as pl

from steadfast.study.arms import Arm
from steadfast.tasks.twins import Family, Format

Rung = Literal["new values", "new wording", "new domain", "new format", "near family", "far family"]
RUNGS: tuple[Rung, ...] = ("new values", "new wording", "new domain", "new format", "near family", "far family")
"""From the nearest to the farthest. A twin stands on the rung of the farthest thing about it that is new."""


def rung_of(arm: Arm, families: list[Family], formats: tuple[Format, ...], wordings: tuple[int, ...]) -> pl.Expr:
    """The rung of twins in a table with the columns suite, group, domain, format and wording.

    Args:
        arm: The arm, whose filters leave out some domains.
        families: The families that the recipe trains on.
        formats: The formats that it trains on.
        wordings: The wordings that it trains on.
    """
    domains = {d for f in families for d in f.domains}
    trained = [d for d in domains if (not arm.domains or d in arm.domains) and d not in arm.without_domains]
    known = pl.col("suite").is_in([f.name for f in families])
    farthest_first: list[tuple[Rung, pl.Expr]] = [
        ("far family", ~known & ~pl.col("group").is_in([f.group for f in families])),
        ("near family", ~known),
        ("new format", ~pl.col("format").is_in(list(formats))),
        ("new domain", ~pl.col("domain").is_in(trained)),
        ("new wording", ~pl.col("wording").is_in(list(wordings))),
    ]
    name = pl.lit("new values")
    for rung, holds in reversed(farthest_first):
        name = pl.when(holds).then(pl.lit(rung)).otherwise(name)
    return name
