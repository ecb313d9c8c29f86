"""A mixed model of the differences between two arms: how far training runs, families and items spread them.

The second opinion beside Student's interval over seeds. The difference of the arms on each seed and item is

    y = mean + seed + family + item + residual,

in which all but the mean are random and crossed, fitted by restricted maximum likelihood (statsmodels' MixedLM;
Pinheiro & Bates 2000, "Mixed-Effects Models in S and S-PLUS"). The interval takes Student's quantile with one degree of
freedom less than there are seeds: with three runs a normal quantile would be far too sure.
"""

# statsmodels and pandas ship no types that a strict check could use.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from scipy import stats

from steadfast.analysis.bootstrap import Interval

MOST_ITEMS = 64
"""With more items than this the fit of crossed components takes minutes; coarser items say the same of the mean."""


@dataclass(frozen=True)
class MixedEstimate:
    """What a mixed model says of a mean difference.

    Attributes:
        difference: The mean with its interval; None where no fit could be trusted.
        seed: The standard deviation over training seeds.
        family: The standard deviation over families; 0 if there is one.
        item: The standard deviation over items within a family.
        residual: The standard deviation of what is left.
        reason: Why there is no interval, or what to beware of in it; empty if nothing is.
    """

    difference: Interval | None
    seed: float = float("nan")
    family: float = float("nan")
    item: float = float("nan")
    residual: float = float("nan")
    reason: str = ""


def mixed_estimate(
    differences: Sequence[float], seeds: Sequence[int], families: Sequence[str], items: Sequence[str]
) -> MixedEstimate:
    """Fit the model to one difference for each seed and item.

    Args:
        differences: The differences, in the unit of the answer.
        seeds: The training seed of each.
        families: The family of each.
        items: The item of each, unique within its family.

    Raises:
        ValueError: The columns differ in length, or a difference is not finite.
    """
    y = np.asarray(differences, dtype=np.float64)
    if not len(y) == len(seeds) == len(families) == len(items) or not np.isfinite(y).all():
        raise ValueError("a mixed model needs a finite difference, a seed, a family and an item in each row")
    runs = len(set(seeds))
    within = list(zip(families, items, strict=True))
    if runs < 2 or len(set(within)) < 2:
        return MixedEstimate(None, reason="a mixed model needs two training seeds and two items at least")
    if len(set(within)) > MOST_ITEMS:
        return MixedEstimate(None, reason=f"more than {MOST_ITEMS} items, too many for a fit of crossed components")
    if np.ptp(y) == 0:
        return MixedEstimate(None, reason="every difference is the same, so nothing is known of their spread")
    return _fitted(y, seeds, families, within, runs)


def _fitted(
    y: Any, seeds: Sequence[int], families: Sequence[str], within: Sequence[tuple[str, str]], runs: int
) -> MixedEstimate:
    import pandas as pd
    from statsmodels.regression.mixed_linear_model import MixedLM

    columns = {"seed": list(seeds), "item": ["/".join(w) for w in within]}
    if len(set(families)) > 1:
        columns["family"] = list(families)
    table = pd.DataFrame({"y": y, **columns})
    model: Any = MixedLM.from_formula(
        "y ~ 1", groups=np.ones(len(y)), vc_formula={name: f"0 + C({name})" for name in columns}, data=table
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a component at zero is said in words below
        fit: Any = model.fit(reml=True, method="powell")  # gradients fail at a component that is zero
    spread = dict(zip(model.exog_vc.names, np.sqrt(np.maximum(fit.vcomp, 0.0)), strict=True))
    mean, error = float(fit.fe_params.iloc[0]), float(fit.bse_fe.iloc[0])
    components = {name: float(spread.get(name, 0.0)) for name in ("seed", "family", "item")}
    residual = float(np.sqrt(fit.scale))
    if not fit.converged or not isfinite(error) or error <= 0:
        return MixedEstimate(None, **components, residual=residual, reason="the fit did not converge")
    half = float(stats.t.ppf(0.975, runs - 1)) * error
    singular = [name for name in columns if components[name] < 1e-3 * float(y.std())]
    reason = f"the fit puts the spread over {' and '.join(singular)} at zero" if singular else ""
    return MixedEstimate(Interval(mean, mean - half, mean + half, 0.95), **components, residual=residual, reason=reason)
