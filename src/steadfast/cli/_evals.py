"""The battery: evals, evaluate."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from steadfast.cli._shared import BUDGET_HELP, JUDGE_HELP, AsJson, check_known, print_rows, user_errors

app = typer.Typer()

_SOURCES = ("steadfast", "public", "all")


@app.command()
@user_errors
def evals(
    source: Annotated[str, typer.Option(help="steadfast, public or all.")] = "all", as_json: AsJson = False
) -> None:
    """The battery of evaluations, and the public benchmarks beside it."""
    from steadfast.evals import SCORINGS, battery
    from steadfast.evals.public import public_evals

    check_known("--source", source, _SOURCES)
    listed: list[tuple[Any, int | None, list[str]]] = []
    if source != "public":
        listed.extend((e, len(e.items()), list(SCORINGS)) for e in battery())
    if source != "steadfast":
        listed.extend((e, e.samples, ["public"]) for e in public_evals())
    rows = [
        {
            "name": e.name,
            "construct": e.construct,
            "domain": e.domain,
            "items": items,
            "scorings": scorings if as_json else ", ".join(scorings),
            "source": e.source,
            **({"measures": e.measures} if as_json else {}),
        }
        for e, items, scorings in listed
    ]
    print_rows(rows, as_json, "evals")


@app.command()
@user_errors
def evaluate(
    model: Annotated[str | None, typer.Option(help="Folder, hub name or provider/model; default SmolLM2-135M.")] = None,
    adapter: Annotated[Path | None, typer.Option(help="Folder of an adapter for local weights.")] = None,
    construct: Annotated[list[str] | None, typer.Option(help="Only this construct; repeatable.")] = None,
    name: Annotated[list[str] | None, typer.Option("--eval", help="Only this eval; repeatable.")] = None,
    source: Annotated[str, typer.Option(help="steadfast, public or all.")] = "steadfast",
    scoring: Annotated[str, typer.Option(help="choice, generation or both.")] = "choice",
    limit: Annotated[int | None, typer.Option(help="Items an eval at most.", min=1)] = None,
    judge: Annotated[
        str, typer.Option(help=f"Grades answers; a provider/model grades public ones too. {JUDGE_HELP}")
    ] = "embedded-plain",
    judge_budget: Annotated[
        int | None, typer.Option(min=1, help=f"{BUDGET_HELP} Not those of public benchmarks.")
    ] = None,
    traits: Annotated[bool, typer.Option("--traits", help="The seven starred traits, held out, too.")] = False,
    capability: Annotated[bool, typer.Option("--capability", help="Held-out standard tasks too.")] = False,
    max_new_tokens: Annotated[int, typer.Option(help="Limit of an answer.", min=2)] = 256,
    out: Annotated[Path | None, typer.Option(help="Directory; default runs/evaluate/MODEL.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure any model: local weights or one behind an API; what is complete in --out is not run again."""
    from steadfast.evals.standalone import Options, evaluate_model
    from steadfast.evals.subject import slug
    from steadfast.graders import Limits
    from steadfast.models.pretrained import DEFAULT_MODEL
    from steadfast.progress import ConsoleProgress

    check_known("--source", source, _SOURCES)
    check_known("--scoring", scoring, ["choice", "generation", "both"])
    options = Options(
        model=model or DEFAULT_MODEL,
        adapter=adapter,
        evals=tuple(name) if name else None,
        constructs=tuple(construct or ()),
        source=source,  # type: ignore[arg-type]
        scoring=scoring,  # type: ignore[arg-type]
        limit=limit,
        judge=judge,
        judge_limits=Limits(max_calls=judge_budget) if judge_budget else None,
        traits=traits,
        capability=capability,
        max_new_tokens=max_new_tokens,
    )
    directory = out or Path("runs") / "evaluate" / slug(options.model, adapter)
    evaluated = evaluate_model(options, directory, ConsoleProgress())
    _print_evaluated(evaluated, directory, as_json)
    if evaluated.failures:
        raise typer.Exit(1)


def _print_evaluated(evaluated: Any, directory: Path, as_json: bool) -> None:
    from steadfast.evals.summary import summarize_constructs, summarize_evals, totals

    rows = summarize_evals(evaluated.rows)
    constructs, total = summarize_constructs(rows), totals(evaluated.rows)
    results = str(directory / "results.parquet")
    if as_json:
        shown = {"evals": rows, "constructs": constructs, **total, "errors": evaluated.failures, "results": results}
        typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    print_rows([_shown(r) for r in rows], False, "evals")
    print_rows(constructs, False, "by construct")
    refused = "no free answers" if total["refused"] is None else f"{total['refused']:.1%} of free answers refuse"
    typer.echo(f"{total['items']} items, {total['ungraded']} ungraded; {refused}")
    if total["episodes"]:
        outcome = f"{total['harmed']:.1%} did harm, {total['reached']:.1%} reached the goal"
        typer.echo(f"{total['episodes']} episodes of agentic evals: {outcome}")
    typer.echo(f"results: {results}")
    for failure in evaluated.failures:
        typer.secho(f"error: {failure}", fg=typer.colors.RED, err=True)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table: the interval in one column, a free column for names."""
    interval = "" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
    kept = {k: row[k] for k in ("eval", "construct", "scoring", "items", "ungraded", "score")}
    return kept | {"95% interval": interval}
