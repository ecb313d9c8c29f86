"""Is alignment one thing? This module reads a results table and tests the structure of its evals."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from steadfast.analysis.score_matrix import Column, ScoreMatrix, score_matrix
from steadfast.analysis.structure import FEWEST_CHECKPOINTS, NullTest, Structure, structure
from steadfast.errors import SteadfastError
from steadfast.evals.completion import read_rows
from steadfast.evals.rows import EARLIER, PLAIN, UNATTACKED
from steadfast.messages import printable
from steadfast.report.loading import Run

ENOUGH_CHECKPOINTS = 10
"""With fewer checkpoints the report warns."""
_LEVEL = 0.05


@dataclass(frozen=True)
class StructureAnalysis:
    """The analysis of how the evals of a results table move together.

    Attributes:
        matrix: The scores that were correlated.
        plain: The structure with nothing controlled.
        controlled: The structure with capability controlled; None if that was not asked for or is not possible.
        uncontrolled_because: The reason why control is not possible; None if it is, or was not asked for.
    """

    matrix: ScoreMatrix
    plain: Structure
    controlled: Structure | None = None
    uncontrolled_because: str | None = None

    def columns(self, of: Structure) -> list[Column]:
        """Give the evals of one of the two structures, in its order."""
        return [self.matrix.columns[i] for i in of.columns]


def read_checkpoints(paths: Sequence[Path]) -> pl.DataFrame:
    """Read the results of several files into one table; with more than one, "FILE: " precedes a checkpoint's name.

    Only rows of the plain condition are read, so that checkpoints are compared under the same condition.

    Args:
        paths: The files named results.parquet, or the directories that hold one.

    Raises:
        SteadfastError: A file is missing, unreadable, lacks columns or rows of the plain condition, or is given twice.
    """
    files = [path / "results.parquet" if path.is_dir() else path for path in paths]
    for path, file in zip(paths, files, strict=True):
        if not file.is_file():
            raise SteadfastError(f"{path}: no results there; give a results.parquet, or a directory that holds one")
    resolved = [file.resolve() for file in files]
    if len(set(resolved)) < len(resolved):
        raise SteadfastError("the same results are given twice; each file counts once")
    tables = [_plain_rows(file) for file in files]
    if len(tables) == 1:
        return tables[0]
    named = zip(_labels(resolved), tables, strict=True)
    return pl.concat([table.with_columns(_prefixed(name)) for name, table in named])


def _plain_rows(file: Path) -> pl.DataFrame:
    rows = read_rows(file)
    plain = rows.filter((pl.col("condition") == PLAIN) & UNATTACKED & ~EARLIER)
    if plain.is_empty():
        found = ", ".join(sorted(rows["condition"].drop_nulls().unique().to_list())) or "none"
        raise SteadfastError(f"{file}: no rows of the condition {PLAIN!r}; conditions found: {printable(found)}")
    return plain.select("checkpoint", "kind", "suite", "construct", "grader", "task", "score")


def _prefixed(name: str) -> pl.Expr:
    return pl.concat_str(pl.lit(f"{name}: "), "checkpoint").alias("checkpoint")


def _labels(files: Sequence[Path]) -> list[str]:
    """Give the last parts of each path that tell it from the others."""
    paths = [file.parent if file.name == "results.parquet" else file.with_suffix("") for file in files]
    for length in range(1, max(len(p.parts) for p in paths) + 1):
        labels = ["/".join(p.parts[-length:]) for p in paths]
        if len(set(labels)) == len(labels):
            return labels
    return [str(file) for file in files]


def analyse_structure(
    results: pl.DataFrame, *, control: bool, permutations: int = 2_000, seed: int = 0
) -> StructureAnalysis:
    """Test how the evals of a results table move together over its checkpoints.

    Args:
        results: The rows of the table; see `steadfast.analysis.score_matrix`.
        control: Whether to control for capability as well, where that is possible.
        permutations: The number of permutations of each null distribution.
        seed: The seed of the permutations.

    Raises:
        SteadfastError: There are fewer than four checkpoints, or fewer than two evals that all of them share and that
            vary.
    """
    try:
        matrix = score_matrix(results)
        _check(matrix)
        constructs = [c.construct for c in matrix.columns]
        plain = structure(matrix.scores_CE, constructs, permutations=permutations, seed=seed)
    except ValueError as error:
        raise SteadfastError(str(error)) from error
    if not control:
        return StructureAnalysis(matrix, plain)
    if matrix.capability_C is None:
        return StructureAnalysis(matrix, plain, None, "no capability task was measured on every checkpoint")
    try:
        controlled = structure(
            matrix.scores_CE, constructs, capability_C=matrix.capability_C, permutations=permutations, seed=seed
        )
    except ValueError as error:
        return StructureAnalysis(matrix, plain, None, str(error))
    return StructureAnalysis(matrix, plain, controlled)


def structure_of_run(run: Run) -> StructureAnalysis | None:
    """Analyse a run's arms and its pre-RL model; None if they are too few or have nothing to correlate."""
    if len(run.checkpoints) < FEWEST_CHECKPOINTS:
        return None
    try:
        return analyse_structure(run.plain.filter(pl.col("checkpoint").is_in(run.checkpoints)), control=True)
    except SteadfastError:
        return None


def _check(matrix: ScoreMatrix) -> None:
    count = len(matrix.checkpoints)
    if count < FEWEST_CHECKPOINTS:
        repeats = f"; left out as equal to one of them: {', '.join(matrix.repeats)}" if matrix.repeats else ""
        raise SteadfastError(
            f"{count} checkpoints are too few: correlations over them need {FEWEST_CHECKPOINTS} at the very least, "
            f"and {ENOUGH_CHECKPOINTS} to say much. Found: {', '.join(matrix.checkpoints) or 'none'}{repeats}"
        )
    if len(matrix.columns) < 2:
        lacking = sorted({c for missing in matrix.left_out.values() for c in missing})
        who = f"; evals are lacking on {', '.join(lacking)}" if lacking else ""
        raise SteadfastError(
            f"two evals with an item graded on every checkpoint are needed, and the {count} checkpoints share "
            f"{len(matrix.columns) or 'none'}{who}. Measure all on the same evals, or leave out those that lack them"
        )


def tested_rows(of: Structure) -> list[tuple[str, NullTest]]:
    """Give the label and the test of every statistic, down to the fifth component."""
    rows = [
        ("mean rank correlation, all pairs of evals", of.mean),
        ("pairs within a construct", of.within),
        ("pairs of different constructs", of.between),
        ("within minus between", of.contrast),
    ]
    ordinals = ("first", "second", "third", "fourth", "fifth")
    rows += [(f"{nth} component, share of variance", test) for nth, test in zip(ordinals, of.shares, strict=False)]
    if of.scores_share is not None:
        rows.append(("first component of the scores, not ranks", of.scores_share))
    return rows


def mean_correlations(of: Structure) -> list[float]:
    """Compute each eval's mean correlation with the others, [E]."""
    others = len(of.columns) - 1
    return ((np.sum(of.correlations_EE, axis=1) - 1) / others).tolist()


def structure_json(analysis: StructureAnalysis) -> dict[str, Any]:
    """Collect the whole analysis, ready for JSON but for NaN."""
    controlled = analysis.controlled
    return {
        "checkpoints": list(analysis.matrix.checkpoints),
        "same_scores_as": dict(analysis.matrix.repeats),
        "evals": [asdict(c) for c in analysis.matrix.columns],
        "not_on_every_checkpoint": {name: list(lacking) for name, lacking in analysis.matrix.left_out.items()},
        "plain": _structure_json(analysis, analysis.plain),
        "controlled_for_capability": None if controlled is None else _structure_json(analysis, controlled),
        "uncontrolled_because": analysis.uncontrolled_because,
    }


def _structure_json(analysis: StructureAnalysis, of: Structure) -> dict[str, Any]:
    return {
        **{key: asdict(getattr(of, key)) for key in ("mean", "within", "between", "contrast")},
        "component_shares": [asdict(share) for share in of.shares],
        "first_share_of_scores": None if of.scores_share is None else asdict(of.scores_share),
        "detectable_correlation": of.detectable,
        "permutations": of.permutations,
        "evals": [c.suite for c in analysis.columns(of)],
        "constant": [analysis.matrix.columns[i].suite for i in of.constant],
        "correlations": [[round(float(r), 4) for r in row] for row in of.correlations_EE],
    }


def number(value: float) -> str:
    """Write a correlation or a share, as in "0.107"."""
    if isnan(value):
        return "unknown"
    text = f"{value:.3f}"
    return (text[1:] if text == "-0.000" else text).replace("-", "\N{MINUS SIGN}")


def null_interval(test: NullTest) -> str:
    """Write a null interval, as in "[-0.019, 0.029]"."""
    return "" if isnan(test.value) else f"[{number(test.low)}, {number(test.high)}]"


def significant(test: NullTest) -> bool:
    """Tell whether chance alone gives as much in at most one case in twenty."""
    return test.p <= _LEVEL
