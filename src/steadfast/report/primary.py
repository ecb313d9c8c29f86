"""A rung looked at more closely: family by family, wording by wording, and by a mixed model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan

import polars as pl

from steadfast.analysis.bootstrap import Interval
from steadfast.analysis.mixed import MOST_ITEMS, MixedEstimate, mixed_estimate
from steadfast.analysis.multiplicity import benjamini_hochberg
from steadfast.analysis.seeds import seed_interval, seed_p_value

_ITEMS = (("domain", "format", "wording"), ("domain", "format"), ("domain",), ())
"""What makes an item of the mixed model, from the finest: the first that gives few enough of them is taken."""


@dataclass(frozen=True)
class FamilyContrast:
    """One family on a rung, the arm against a control.

    Attributes:
        family: The family.
        pairs: The number of its pairs that each seed measured.
        level: The arm's mean pair success.
        control: The control's.
        difference: The difference of pair success with its interval over training seeds.
        p: Student's two-sided p-value over seeds; NaN where they show no spread, and where nothing is tested.
        q: The same after Benjamini and Hochberg, over the families of the primary rung alone.
        seeds: The number of training seeds.
    """

    family: str
    pairs: int
    level: float
    control: float
    difference: Interval
    p: float
    q: float
    seeds: int

    @property
    def found(self) -> bool:
        """Whether it stands after the correction, at a false discovery rate of one in twenty."""
        return self.q <= 0.05


def family_contrasts(pairs: pl.DataFrame, arm: str, control: str, *, tested: bool = True) -> list[FamilyContrast]:
    """The arm against a control, family by family.

    Args:
        pairs: What `analysis.pairs.pair_successes` gives of the pairs on the rung.
        arm: The arm.
        control: The control, trained with the same seeds.
        tested: Whether the families are what was named to decide; if not, they get no p-value.
    """
    differences = paired_differences(pairs, arm, control)
    found: list[FamilyContrast] = []
    for family in sorted(differences["suite"].unique().to_list()):
        mine = differences.filter(pl.col("suite") == family)
        by_seed = (
            mine.group_by("seed", maintain_order=True)
            .agg(pl.col("difference", "success", "of_control").mean(), pl.len().alias("pairs"))
            .sort("seed")
        )
        values = by_seed["difference"].to_list()
        count = int(by_seed["pairs"].max() or 0)  # type: ignore[arg-type]
        level, beside = by_seed.select(pl.col("success", "of_control").mean()).row(0)
        p = seed_p_value(values) if tested else float("nan")
        found.append(FamilyContrast(family, count, level, beside, seed_interval(values), p, q=p, seeds=len(values)))
    adjusted = benjamini_hochberg([one.p for one in found])
    return [replace(one, q=float(q)) for one, q in zip(found, adjusted, strict=True)]


@dataclass(frozen=True)
class WordingContrast:
    """One wording of one family on the primary rung, the arm beside a control.

    Attributes:
        family: The family.
        wording: The number of the wording.
        trained: Whether the arm was trained on this wording.
        pairs: The number of its pairs, over all seeds.
        level: The arm's mean pair success.
        control: The control's.
    """

    family: str
    wording: int
    trained: bool
    pairs: int
    level: float
    control: float


def wording_contrasts(pairs: pl.DataFrame, arm: str, control: str, trained: Sequence[int]) -> list[WordingContrast]:
    """The arm beside a control, wording by wording: a gain may be in the wordings that were trained on alone.

    Args:
        pairs: What `analysis.pairs.pair_successes` gives of the pairs on the rung.
        arm: The arm.
        control: The control, trained with the same seeds.
        trained: The numbers of the wordings that were trained on.
    """
    sides = [pairs.filter(pl.col("checkpoint") == name).drop_nulls("wording") for name in (arm, control)]
    key = ["suite", "wording"]
    mine, other = (
        s.group_by(key, maintain_order=True).agg(pl.col("success").mean(), pl.len().alias("pairs")) for s in sides
    )
    joined = mine.join(other, on=key, suffix="_control").sort(key)
    return [
        WordingContrast(family, int(wording), int(wording) in trained, count, level, beside)
        for family, wording, level, count, beside in joined.select(*key, "success", "pairs", "success_control").rows()
    ]


def mixed_contrast(pairs: pl.DataFrame, arm: str, control: str) -> MixedEstimate:
    """The arm against a control by the mixed model of seed, family and item; arguments as in `family_contrasts`."""
    differences = paired_differences(pairs, arm, control)
    by_fineness = [_by_item(differences, parts) for parts in _ITEMS]
    cells = next((c for c in by_fineness if c.select("suite", "item").unique().height <= MOST_ITEMS), by_fineness[-1])
    return mixed_estimate(
        cells["difference"].to_list(), cells["seed"].to_list(), cells["suite"].to_list(), cells["item"].to_list()
    )


def _by_item(differences: pl.DataFrame, parts: Sequence[str]) -> pl.DataFrame:
    item = pl.concat_str([pl.lit(""), *(pl.col(p).cast(pl.String) for p in parts)], separator="/")
    cells = differences.with_columns(item.alias("item")).group_by("seed", "suite", "item", maintain_order=True)
    return cells.agg(pl.col("difference").mean()).sort("seed", "suite", "item")


def paired_differences(pairs: pl.DataFrame, arm: str, control: str) -> pl.DataFrame:
    """The difference of pair success for each pair and seed that both measured, in the column `difference`."""
    key = ["seed", "suite", "domain", "format", "wording", "pair"]
    of_control = pairs.filter(pl.col("checkpoint") == control).select(*key, pl.col("success").alias("of_control"))
    mine = pairs.filter(pl.col("checkpoint") == arm)
    return mine.join(of_control, on=key).with_columns((pl.col("success") - pl.col("of_control")).alias("difference"))


def family_words(contrast: FamilyContrast) -> str:
    """Whether a family's change stands, in words."""
    if isnan(contrast.q):
        return "no spread" if contrast.seeds > 1 else "one training run"
    return "stands" if contrast.found else "does not stand"
