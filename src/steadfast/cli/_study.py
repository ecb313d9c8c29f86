"""Running recipes and reporting on them: demo, run, report."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steadfast.cli._shared import AsJson, echo, print_json, problem, resumable, user_errors
from steadfast.errors import RecipeError

if TYPE_CHECKING:
    from steadfast.study import Recipe

app = typer.Typer()

Out = Annotated[Path, typer.Option("--out", help="The run directory; an unfinished run in it is resumed.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Values in place of the recipe's, by dotted key, such as training.steps=10 or model.device=cuda.",
    ),
]


@app.command()
@resumable
def demo(overrides: Overrides = None, out: Out = Path("runs/demo"), as_json: AsJson = False) -> None:
    """Run the main job in minutes: health traits on SmolLM2-135M, its baseline, the evals, statistics and a report."""
    from steadfast.study import demo_recipe

    _run(demo_recipe(_values(overrides or [])), out, as_json)


@app.command()
@resumable
def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option("--out", help="The run directory; the default is runs/NAME.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a recipe, or resume it where it stopped. The exit code is 1 if nothing of some suite could be scored."""
    from steadfast.study import load_recipe

    loaded = load_recipe(recipe, _values(overrides or []))
    _run(loaded, out or Path("runs") / loaded.name, as_json)


def _values(overrides: Sequence[str]) -> dict[str, Any]:
    """The values of `key=value` arguments, each read as YAML.

    Raises:
        RecipeError: An argument is of another form, or one key stands there twice.
    """
    from steadfast.errors import DataError
    from steadfast.strict_files import parse_yaml

    found: dict[str, Any] = {}
    for argument in overrides:
        key, equals, value = argument.partition("=")
        if not equals or not all(key.split(".")):
            raise RecipeError(f"{argument!r} is not KEY=VALUE, such as training.steps=10")
        if key in found:
            raise RecipeError(f"{key} is given twice; give it once")
        try:
            found[key] = parse_yaml(value, argument)
        except DataError as error:
            raise RecipeError("\n".join(error.problems)) from error
    return found


def _run(recipe: "Recipe", out: Path, as_json: bool) -> None:
    from steadfast.evals.completion import read_rows, without_any_score
    from steadfast.progress import ConsoleProgress
    from steadfast.report import write_report
    from steadfast.study import run_recipe

    directory = run_recipe(recipe, out, ConsoleProgress())
    results = directory / "results.parquet"
    unscored = without_any_score(read_rows(results))
    for suite in unscored:
        problem(f"error: {suite}")
    page = write_report(directory)
    if as_json:
        print_json({"report": str(page.resolve()), "results": str(results.resolve()), "unscored": unscored})
    else:
        echo(f"report: {page.resolve()}")
    if unscored:
        raise typer.Exit(1)


@app.command()
@user_errors
def report(
    directory: Annotated[Path, typer.Argument(help="A finished run directory.")], as_json: AsJson = False
) -> None:
    """Write report.html of a run again, or print its headline numbers."""
    from steadfast.report import summarize, write_report

    if as_json:
        print_json(summarize(directory))
        return
    echo(f"report: {write_report(directory).resolve()}")
