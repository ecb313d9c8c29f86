"""Running recipes, attacking what they trained, and reporting on them: demo, run, attack, report, power."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steadfast.attacks.kinds import Method
from steadfast.cli._shared import AsJson, echo, print_json, print_rows, problem, resumable, user_errors
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
Force = Annotated[
    bool, typer.Option("--force", help="Train by a judge that fails the exam of polarity; the report will say so.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="How many processes share the run's stages; left out, as many as cores and memory allow. A new run's "
        "results are rounded by the threads that each has; a resumed run keeps them.",
    ),
]


@app.command()
@resumable
def demo(
    overrides: Overrides = None,
    out: Out = Path("runs/demo"),
    force: Force = False,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Run the main job, twenty minutes on two cores: twins in health on SmolLM2-135M, its controls, a report."""
    from steadfast.study import demo_recipe

    _run(demo_recipe(override_values(overrides or [])), out, force, workers, as_json)


@app.command()
@resumable
def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option("--out", help="The run directory; the default is runs/NAME.")] = None,
    force: Force = False,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Run a recipe, or resume it where it stopped. The exit code is 1 if nothing of some suite could be scored."""
    from steadfast.study import load_recipe

    loaded = load_recipe(recipe, override_values(overrides or []))
    with _naming(recipe):
        _run(loaded, out or Path("runs") / loaded.name, force, workers, as_json)


@contextmanager
def _naming(recipe: Path) -> Generator[None]:
    """Within this context, a fault of a recipe that shows only when its data are read names the recipe's file too."""
    try:
        yield
    except RecipeError as error:
        raise RecipeError("\n".join(f"{recipe}: {line}" for line in str(error).splitlines())) from error


def override_values(overrides: Sequence[str]) -> dict[str, Any]:
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


def _run(recipe: "Recipe", out: Path, force: bool, workers: int | None, as_json: bool) -> None:
    from steadfast.evals.completion import read_rows, without_any_score
    from steadfast.progress import ConsoleProgress
    from steadfast.report import write_report
    from steadfast.study import run_recipe

    directory = run_recipe(recipe, out, ConsoleProgress(), force=force, workers=workers)
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
@resumable
def attack(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a finished run.")],
    sets: Annotated[
        list[str] | None,
        typer.Option("--with", help="A set of attack data that ships, or inverted-reward; may be repeated."),
    ] = None,
    doses: Annotated[
        str | None, typer.Option("--doses", help="The updates to measure after, such as 0,4,16; the default is more.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", exists=True, dir_okay=False, help="A file of attack data of your own; may be repeated."),
    ] = None,
    earlier: Annotated[
        str | None,
        typer.Option(
            "--earlier",
            help="Training steps, such as 8,16, after which the leading arm may stand where the baseline ended; the "
            "nearest is attacked too. Where they were not kept, the arm is trained once more to have them.",
        ),
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(
            "--method",
            help="What fine-tuning trains: a fresh adapter, or all weights; the default is what the run's earlier "
            "attacks train, or else an adapter.",
        ),
    ] = None,
    ungated: Annotated[
        bool, typer.Option("--ungated", help="Attack trained arms even if they gained nothing before the attack.")
    ] = False,
    force: Force = False,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Attack what a finished run trained: further checkpoints beside the old ones, and a new report.

    Attacks that the run already has stay, and their doses are added to. Without --with and --data it is attacked by
    bad medical advice.
    """
    from steadfast.study.attacks import with_attacks

    files = [str(f.resolve()) for f in data or []]
    doses_added, earlier_added = _numbers("--doses", doses), _numbers("--earlier", earlier)
    recipe = with_attacks(
        directory, [*(sets or []), *files], doses_added, earlier=earlier_added, method=method, ungated=ungated
    )
    _run(recipe, directory, force, workers, as_json)


def _numbers(option: str, text: str | None) -> list[int]:
    """The whole numbers of an option, with commas between them.

    Raises:
        RecipeError: Something else stands there.
    """
    if text is None:
        return []
    parts = [p.strip() for p in text.split(",")]
    if not all(p.isascii() and p.isdigit() for p in parts):
        raise RecipeError(f"{option} {text!r}: give whole numbers with commas between them, such as 0,4,16")
    return [int(p) for p in parts]


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


def _effect(points: float) -> str:
    """An effect in points of pair success, of which there are no more than 100."""
    return "none" if points > 100 else f"{points:.1f}"


@app.command()
@user_errors
def power(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    overrides: Overrides = None,
    run: Annotated[
        Path | None, typer.Option("--from", help="A finished run that tells how far seeds and pairs scatter.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell the smallest effect that a recipe's seeds and pairs can show, and what more of them would buy."""
    from dataclasses import asdict

    from steadfast.analysis.power import detectable
    from steadfast.report.power import PAIRS, SEEDS, recipe_power
    from steadfast.study import load_recipe
    from steadfast.study.data import StudyData

    loaded = load_recipe(recipe, override_values(overrides or []))
    with _naming(recipe):
        powers = recipe_power(StudyData.load(loaded), run)
    decides = next((p for p in powers if p.primary), powers[0])
    more = [
        {"seeds": s, **{f"{n} pairs": 100 * detectable(decides.spread, seeds=s, pairs=n) for n in PAIRS}} for s in SEEDS
    ]
    if as_json:
        print_json({"seeds": list(loaded.seeds), "rungs": [asdict(p) for p in powers], "more": more})
        return
    rows = [
        {
            "rung": f"{p.rung}{' (primary)' if p.primary else ''}",
            "pairs a seed": p.pairs,
            "spread over seeds": f"{100 * p.spread.seed:.1f}",
            "of a pair": f"{100 * p.spread.pair:.1f}",
            "known from": p.source,
            "smallest effect": "one training run" if p.detectable is None else _effect(100 * p.detectable),
        }
        for p in powers
    ]
    print_rows(rows, False, f"points of pair success that {len(loaded.seeds)} seeds find four times in five")
    shown = [{k: v if k == "seeds" else _effect(v) for k, v in row.items()} for row in more]
    print_rows(shown, False, f"on {decides.rung!r}, with more seeds and pairs")
    echo("spreads: standard deviations in points; an effect is found if Student's 95% interval over seeds leaves 0 out")
    if any(p.source == "assumed" for p in powers):
        echo("assumed: a guess, and no bound; --from RUN takes what a finished run scattered")
    echo("none: it would have to exceed 100 points, the highest that there is")
