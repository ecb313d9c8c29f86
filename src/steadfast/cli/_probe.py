"""Looking inside a finished run: probe."""

from pathlib import Path
from typing import Annotated, Any

import typer

from steadfast.cli._shared import AsJson, echo, print_json, print_rows, resumable
from steadfast.cli._study import override_values
from steadfast.errors import RecipeError

app = typer.Typer()


@app.command()
@resumable
def probe(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run directory.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Values in place of the recipe's `probing`, such as steering_pairs=12 or 'doses=[0.1, 0.3]'.",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option("--layers", help='Decoder layers, counted from 0: 6,12,18; or "all". Left out: twelve, evenly.'),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look inside a finished run: trait directions, how far training moved along them, weights, and the cause.

    Results lie in RUN/probing. The same command goes on where it stopped, and what is complete is not made again.
    """
    from steadfast.progress import ConsoleProgress
    from steadfast.report import write_report
    from steadfast.report.probing import load_probing, probing_json, separation_rows
    from steadfast.study.probing import probe_run

    overrides = override_values(settings or [])
    if layers is not None:
        if "layers" in overrides:
            raise RecipeError("layers is given twice; give it once")
        overrides["layers"] = _layers(layers)
    folder = probe_run(directory, overrides, ConsoleProgress())
    found = load_probing(directory)
    assert found is not None, "probe_run leaves the results of every part"
    page = write_report(directory)
    if as_json:
        print_json({"probing": str(folder.resolve()), "report": str(page.resolve()), **probing_json(found)})
        return
    print_rows(separation_rows(found), False, f"how well directions tell unseen replies apart, layer {found.layer}")
    echo(f"probing: {folder.resolve()}")
    echo(f"report: {page.resolve()}")


def _layers(text: str) -> Any:
    if text == "all":
        return text
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise RecipeError(f'--layers {text!r}: give numbers such as 6,12,18, or "all"') from error
