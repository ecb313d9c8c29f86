"""Analyses of results tables: structure."""

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steadfast.cli._shared import AsJson, echo, note, print_json, print_rows, user_errors

if TYPE_CHECKING:
    from steadfast.analysis import Structure
    from steadfast.report.structure import StructureAnalysis

app = typer.Typer()


@app.command()
@user_errors
def structure(
    results: Annotated[list[Path], typer.Argument(help="results.parquet files, or run directories that hold one.")],
    control_capability: Annotated[
        bool, typer.Option("--control-capability", help="Also control for capability, by ranks.")
    ] = False,
    permutations: Annotated[int, typer.Option(min=1, help="The number of shuffles of each null distribution.")] = 2_000,
    seed: Annotated[int, typer.Option(help="The seed of the shuffles.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Write the figure to FILE.svg or FILE.html.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether alignment is one thing: how evals move together over checkpoints, beside what chance would give."""
    from steadfast.report.structure import analyse_structure, read_checkpoints, structure_json
    from steadfast.report.structure_page import check_format, write_structure

    if out is not None:
        check_format(out)
    found = analyse_structure(
        read_checkpoints(results), control=control_capability, permutations=permutations, seed=seed
    )
    if out is not None:
        write_structure(out, found, sources=len(results), controlled=control_capability)
    if as_json:
        print_json(structure_json(found))
        return
    _print(found, len(results))
    if out is not None:
        echo(f"figure: {out.resolve()}")


def _print(found: "StructureAnalysis", sources: int) -> None:
    from steadfast.report.structure import mean_correlations
    from steadfast.report.structure_words import findings, left_out, limits, verdict

    evals = zip(found.columns(found.plain), mean_correlations(found.plain), strict=True)
    print_rows(
        [{"suite": c.suite, "construct": c.construct, "items": c.items, "with the others": r} for c, r in evals],
        False,
        "evals, mean rank correlation with the others",
    )
    print_rows(_statistics(found.plain), False, "statistics")
    if found.controlled is not None:
        print_rows(_statistics(found.controlled), False, "statistics, capability controlled")
    for sentence in (verdict(found), *findings(found)):
        echo(sentence)
    for sentence in (*limits(found, files=sources), *left_out(found)):
        note(sentence)


def _statistics(of: "Structure") -> Sequence[dict[str, Any]]:
    from steadfast.report.structure import null_interval, number, tested_rows
    from steadfast.report.wording import probability

    return [
        {
            "statistic": label,
            "observed": number(test.value),
            "shuffled, 95%": null_interval(test),
            "p": probability(test.p),
        }
        for label, test in tested_rows(of)
        if not isnan(test.value)
    ]
