"""The corpus: traits, scenarios, check, corpus stats, synthesize."""

import json
from pathlib import Path
from typing import Annotated

import typer

from steadfast.cli._shared import AsJson, check_known, print_rows, user_errors

app = typer.Typer()
corpus_app = typer.Typer(help="The corpus as a whole.", no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")


@app.command()
def traits(as_json: AsJson = False) -> None:
    """The fifteen traits; starred ones make the held-out trait evaluation of the paper."""
    from steadfast.tasks import traits as all_traits

    rows = [
        {"id": t.id, "starred": t.starred, "definition": t.definition, "good": t.good, "failure": t.failure}
        for t in all_traits()
    ]
    print_rows(rows, as_json, "traits")


@app.command()
@user_errors
def scenarios(
    trait: Annotated[str | None, typer.Option(help="Only this trait.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only this domain.")] = None,
    split: Annotated[str | None, typer.Option(help="train or held_out.")] = None,
    as_json: AsJson = False,
) -> None:
    """The scenarios that ship."""
    from steadfast.tasks import built_in_scenarios, domains
    from steadfast.tasks import traits as all_traits

    check_known("--trait", trait, [t.id for t in all_traits()])
    check_known("--domain", domain, [d.id for d in domains()])
    check_known("--split", split, ["train", "held_out"])
    chosen = [
        s
        for s in built_in_scenarios()
        if trait in (None, s.trait) and domain in (None, s.domain) and split in (None, s.split)
    ]
    if as_json:
        typer.echo(json.dumps([s.model_dump(mode="json") for s in chosen], indent=2, ensure_ascii=False))
        return
    rows = [
        {
            "id": s.id,
            "split": s.split,
            "turns": len(s.messages),
            "pressure": s.pressure,
            "criteria": len(s.rubric),
            "last message": s.messages[-1].content[:90],
        }
        for s in chosen
    ]
    print_rows(rows, False, "scenarios")


@app.command()
@user_errors
def check(file: Annotated[Path, typer.Argument(help="Scenarios, JSONL.")], as_json: AsJson = False) -> None:
    """Validate your scenarios: every fault with line and field, in one go."""
    from steadfast.errors import DataError
    from steadfast.tasks import built_in_scenarios, load_scenarios, prove_disjoint

    problems: list[str] = []
    count = known = 0
    try:
        loaded = load_scenarios(file)
        count = len(loaded)
        texts = {split: {s.id: s.text for s in loaded if s.split == split} for split in ("train", "held_out")}
        ours = built_in_scenarios()
        mine = {(s.id, s.split, s.text) for s in loaded}
        known = sum((s.id, s.split, s.text) in mine for s in ours)
        shipped = {s.id: s.text for s in ours if s.split == "held_out" and (s.id, s.split, s.text) not in mine}
        prove_disjoint({"your train": texts["train"], "your held-out": texts["held_out"], "our held-out": shipped})
    except DataError as error:
        problems = error.problems
    if as_json:
        typer.echo(json.dumps({"file": str(file), "scenarios": count, "problems": problems}, indent=2))
    else:
        for problem in problems:
            typer.secho(problem, fg=typer.colors.RED, err=True)
        typer.echo(f"{file}: {len(problems)} problems" if problems else f"{file}: {count} scenarios, no problems")
        if known:
            typer.echo(f"{known} of them ship with Steadfast and were not held against themselves")
    if problems:
        raise typer.Exit(2)


@corpus_app.command()
@user_errors
def stats(
    file: Annotated[Path | None, typer.Option(help="Your scenarios, JSONL; default the corpus that ships.")] = None,
    pairs: Annotated[int, typer.Option(help="Nearest pairs to name.", min=0)] = 10,
    as_json: AsJson = False,
) -> None:
    """Counts, gold answers, shared vocabulary, nearest pairs; exit code 2 where scenarios are alike or templates."""
    from dataclasses import asdict

    from steadfast.cli._corpus_tables import print_corpus_stats
    from steadfast.models.conversations import conversation_embeddings
    from steadfast.tasks import built_in_gold, built_in_scenarios, load_scenarios
    from steadfast.tasks.stats import corpus_stats

    scenarios = load_scenarios(file) if file else built_in_scenarios()
    result = corpus_stats(scenarios, {} if file else built_in_gold(), conversation_embeddings, pairs=pairs)
    if as_json:
        typer.echo(json.dumps(asdict(result), indent=2, ensure_ascii=False))
    else:
        print_corpus_stats(result)
    for fault in result.faults:
        typer.secho(fault, fg=typer.colors.RED, err=True)
    if result.faults:
        raise typer.Exit(2)


@app.command()
@user_errors
def synthesize(
    model: Annotated[str, typer.Option(help="Inspect's name: openai/..., anthropic/..., vllm/..., ollama/...")],
    n: Annotated[int, typer.Option("--n", min=1, help="Scenarios wanted in the file, dealt to the cells in turn.")],
    out: Annotated[Path, typer.Option(help="JSONL to fill; an unfinished one is resumed. Provenance goes beside it.")],
    trait: Annotated[list[str] | None, typer.Option(help="Only these; may be given several times.")] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Only these; may be given several times.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of pressures, lengths and the model's sampling; part of ids.")] = 0,
    split: Annotated[str, typer.Option(help="train or held_out.")] = "train",
    max_connections: Annotated[int, typer.Option(min=1, help="Calls at a time.")] = 10,
    budget_calls: Annotated[int | None, typer.Option(min=1, help="Calls this run may make.")] = None,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds that one answer may take.")] = 300,
    embeddings: Annotated[bool, typer.Option(help="Compare conversations by embedding too.")] = True,
    allow_mixed: Annotated[bool, typer.Option(help="Go on with a file of another model or other prompts.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write more scenarios with a strong model: drafted, compared with every pool, criticised and mended."""
    from dataclasses import asdict

    from steadfast.locking import sole_use
    from steadfast.synthesis import Store, open_model, plan, version
    from steadfast.synthesis import synthesize as fill
    from steadfast.synthesis.display import Display, embedder, report_rows
    from steadfast.tasks import domains
    from steadfast.tasks import traits as all_traits

    for name in trait or ():
        check_known("--trait", name, [t.id for t in all_traits()])
    for name in domain or ():
        check_known("--domain", name, [d.id for d in domains()])
    check_known("--split", split, ["train", "held_out"])
    slots = plan(
        [t for t in all_traits() if not trait or t.id in trait],
        [d for d in domains() if not domain or d.id in domain],
        n,
        seed,
        "train" if split == "train" else "held_out",
    )
    opened = open_model(model, max_connections, timeout)
    with sole_use(out):
        store = Store.open(out, str(opened), version(), allow_mixed=allow_mixed)
        with Display(slots, store) as display:
            report = fill(
                opened,
                slots,
                store,
                max_connections=max_connections,
                budget=budget_calls,
                embed=embedder(display.console) if embeddings else None,
                on_record=display.show,
            )
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2))
        return
    print_rows(report_rows(report), False, f"synthesis into {out}")
    if report.budget_spent:
        typer.echo(f"the budget of {budget_calls} calls is spent; run the same command again to go on")
