"""Running recipes and reporting on them: demo, run, report."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from steadfast.cli._shared import AsJson, user_errors

app = typer.Typer()

Out = Annotated[Path, typer.Option("--out", help="Run directory; an unfinished run in it is resumed.")]


@app.command()
@user_errors
def demo(out: Out = Path("runs/demo")) -> None:
    """The main job in minutes: health traits on SmolLM2-135M, against its baseline, evals, statistics, report."""
    from steadfast.study import demo_recipe

    _run(demo_recipe(), out)


@app.command()
@user_errors
def run(
    recipe: Annotated[Path, typer.Argument(help="Recipe, a YAML file.")],
    out: Annotated[Path | None, typer.Option("--out", help="Run directory; default runs/NAME.")] = None,
) -> None:
    """Run a recipe, or resume it where it stopped."""
    from steadfast.study import load_recipe

    loaded = load_recipe(recipe)
    _run(loaded, out or Path("runs") / loaded.name)


def _run(recipe: Any, out: Path) -> None:
    from steadfast.progress import ConsoleProgress
    from steadfast.report import write_report
    from steadfast.study import run_recipe

    page = write_report(run_recipe(recipe, out, ConsoleProgress()))
    typer.echo(f"report: {page.resolve()}")


@app.command()
@user_errors
def report(
    directory: Annotated[Path, typer.Argument(help="A finished run directory.")], as_json: AsJson = False
) -> None:
    """Write report.html of a run again, or print its headline numbers."""
    from steadfast.report import summarize, write_report

    if as_json:
        typer.echo(json.dumps(summarize(directory), indent=2, ensure_ascii=False))
        return
    typer.echo(f"report: {write_report(directory).resolve()}")
