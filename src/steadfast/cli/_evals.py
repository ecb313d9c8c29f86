"""Measuring a model: evals, evaluate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steadfast.cli._doctor import AdapterName, Device, Dtype, TrustRemoteCode
from steadfast.cli._shared import (
    BUDGET_HELP,
    JUDGE_HELP,
    AsJson,
    DomainsFile,
    PersonasFile,
    TemplateArguments,
    TraitsFile,
    check_known,
    echo,
    json_object,
    judge_config,
    print_json,
    print_rows,
    problem,
    resumable,
    user_errors,
)
from steadfast.errors import SteadfastError

if TYPE_CHECKING:
    from steadfast.evals.evaluate import Evaluated
    from steadfast.evals.measure import Condition
    from steadfast.tasks import Taxonomy

app = typer.Typer()

_SOURCES = ("steadfast", "public", "all")


@app.command()
@user_errors
def evals(
    source: Annotated[str, typer.Option(help="Whose evals: steadfast, public or all.")] = "all", as_json: AsJson = False
) -> None:
    """List the battery of evals that ships, and the public benchmarks beside it."""
    from steadfast.evals.public import public_evals
    from steadfast.tasks import battery

    check_known("--source", source, _SOURCES)
    listed: list[tuple[Any, int | None, list[str]]] = []
    if source != "public":
        for suite in battery():
            parts = {"choice": suite.paired, "generation": suite.answered}
            listed.append((suite, len(suite.tasks), [scoring for scoring, tasks in parts.items() if tasks]))
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
@resumable
def evaluate(
    model: Annotated[
        str | None, typer.Option(help="A folder, a hub name or provider/model; the default is SmolLM2-135M-Instruct.")
    ] = None,
    adapter: AdapterName = None,
    construct: Annotated[list[str] | None, typer.Option(help="Only evals of this construct; repeatable.")] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--eval", help="Only this eval: a name, or a file or module:function of your own; repeatable."),
    ] = None,
    source: Annotated[str, typer.Option(help="Whose evals: steadfast, public or all.")] = "steadfast",
    scoring: Annotated[str, typer.Option(help="How to score: choice, generation or both.")] = "choice",
    limit: Annotated[int | None, typer.Option(help="The number of items of an eval at most.", min=1)] = None,
    judge: Annotated[
        str, typer.Option(help=f"Grades answers; a provider/model grades public benchmarks too. {JUDGE_HELP}")
    ] = "embedded-plain",
    judge_budget: Annotated[
        int | None, typer.Option(min=1, help=f"{BUDGET_HELP} Calls of public benchmarks do not count.")
    ] = None,
    trait_scenarios: Annotated[
        bool, typer.Option("--trait-scenarios", help="Measure the held-out scenarios of the seven starred traits too.")
    ] = False,
    capability: Annotated[bool, typer.Option("--capability", help="Measure held-out standard tasks too.")] = False,
    floor: Annotated[
        bool,
        typer.Option(
            help="Grade eight constant answers to each judged item too, up to seven more calls an item of a "
            "provider/model judge: what the best of them earns is the zero of the rescaled score."
        ),
    ] = True,
    persona: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[/WORDING]",
            help="Ask under a persona of `steadfast personas`, in its first wording or another; give the --out of a "
            "plain evaluation to have both in one table.",
        ),
    ] = None,
    personas_file: PersonasFile = None,
    max_new_tokens: Annotated[int, typer.Option(help="The limit of an answer, in tokens.", min=2)] = 256,
    dtype: Dtype = "float32",
    device: Device = None,
    trust_remote_code: TrustRemoteCode = False,
    chat_template_kwargs: TemplateArguments = None,
    traits: TraitsFile = None,
    domains: DomainsFile = None,
    out: Annotated[Path | None, typer.Option(help="The directory; the default is runs/evaluate/MODEL.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure any model: local weights, or one behind an API. What is complete in --out is not run again.

    The exit code is 1 if a benchmark could not run, or if nothing of some eval could be scored.
    """
    check_known("--source", source, _SOURCES)
    check_known("--scoring", scoring, ["choice", "generation", "both"])
    template = json_object("--chat-template-kwargs", chat_template_kwargs)
    config = judge_config(judge, max_calls=judge_budget)
    from steadfast.evals.evaluate import Options, evaluate_model, slug
    from steadfast.models.default_model import DEFAULT_MODEL
    from steadfast.progress import ConsoleProgress
    from steadfast.tasks import Taxonomy

    taxonomy = Taxonomy.load(traits, domains)
    options = Options(
        model=model or DEFAULT_MODEL,
        adapter=adapter,
        evals=tuple(name) if name else None,
        constructs=tuple(construct or ()),
        source=source,  # type: ignore[arg-type]
        scoring=scoring,  # type: ignore[arg-type]
        limit=limit,
        judge=config,
        traits=trait_scenarios,
        capability=capability,
        floor=floor,
        max_new_tokens=max_new_tokens,
        dtype=dtype,
        device=device,
        trust_remote_code=trust_remote_code,
        chat_template_kwargs=template,
        taxonomy=taxonomy,
        condition=_condition(persona, personas_file, taxonomy),
    )
    directory = out or Path("runs") / "evaluate" / slug(options.model, adapter)
    evaluated = evaluate_model(options, directory, ConsoleProgress())
    _print_evaluated(evaluated, directory, as_json)
    for failure in evaluated.failures:
        problem(f"error: {failure}")
    for suite in evaluated.unscored:
        problem(f"error: {suite}")
    if evaluated.failures or evaluated.unscored:
        raise typer.Exit(1)


def _condition(persona: str | None, file: Path | None, taxonomy: "Taxonomy") -> "Condition":
    """The condition under which a model is asked: a persona, or the plain one where none is asked for.

    Raises:
        DataError: There is none of that name or wording, or the file is faulty.
        SteadfastError: A file is given and no persona.
    """
    from steadfast.evals.measure import Condition

    if persona is None:
        if file is not None:
            raise SteadfastError("--personas-file goes with --persona NAME, which says under which of them to ask")
        return Condition()
    from steadfast.attacks.personas import load_personas
    from steadfast.evals.personas import parse_persona

    return parse_persona(persona, load_personas(file, taxonomy))


def _print_evaluated(evaluated: "Evaluated", directory: Path, as_json: bool) -> None:
    from steadfast.evals.summary import summarize_constructs, summarize_evals, totals

    rows = summarize_evals(evaluated.rows, evaluated.constants)
    constructs, total = summarize_constructs(rows), totals(evaluated.rows)
    results = str(directory / "results.parquet")
    if as_json:
        faults = {"errors": evaluated.failures, "unscored": evaluated.unscored}
        print_json({"evals": rows, "constructs": constructs, **total, **faults, "results": results})
        return
    print_rows([_shown(r) for r in rows], False, "evals")
    print_rows(constructs, False, "by construct")
    refused = "no free answers" if total["refused"] is None else f"{total['refused']:.1%} of free answers refuse"
    echo(f"{total['items']} items, {total['ungraded']} ungraded; {refused}")
    if total["followed"] is not None:
        echo(f"{total['followed']:.1%} of free answers followed the persona")
    if total["episodes"]:
        outcome = f"{total['harmed']:.1%} did harm, {total['reached']:.1%} reached the goal"
        echo(f"{total['episodes']} episodes of agentic evals: {outcome}")
    echo(f"results: {results}")


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table: the interval in one column, a free column for names."""
    interval = "" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
    kept = {k: row[k] for k in ("suite", "construct", "grader", "items", "ungraded", "score")}
    return kept | {"95% interval": interval, **_shown_floor(row["floor"])}


def _shown_floor(floor: dict[str, Any] | None) -> dict[str, Any]:
    """Columns of a judged score beside its floor; empty texts where there is none."""
    if floor is None:
        return {"floor": "", "above the floor": ""}
    if floor["rescaled"] is None:
        return {"floor": f"{floor['score']:.3f}", "above the floor": "no room above it"}
    shown = f"{floor['rescaled']:+.3f}"
    if floor["low"] is not None:
        shown += f" ({floor['low']:+.3f} to {floor['high']:+.3f})"
    return {"floor": f"{floor['score']:.3f} ({floor['constant']})", "above the floor": shown}
