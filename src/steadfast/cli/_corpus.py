"""The corpus: traits, domains, scenarios, corpus stats, synthesize."""

from pathlib import Path
from typing import Annotated

import typer

from steadfast.cli._shared import (
    AsJson,
    DomainsFile,
    TraitsFile,
    check_known,
    echo,
    print_json,
    print_rows,
    problem,
    resumable,
    user_errors,
)

app = typer.Typer()
corpus_app = typer.Typer(help="The corpus as a whole.", no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")

ScenariosFile = Annotated[
    Path | None,
    typer.Option("--file", help="Your scenarios, JSON Lines or YAML; the default is the corpus that ships."),
]
_SPLITS = ("train", "held_out")


@app.command()
@user_errors
def traits(traits: TraitsFile = None, as_json: AsJson = False) -> None:
    """List the traits; starred ones make the held-out trait evaluation of the paper."""
    from steadfast.tasks import Taxonomy

    rows = [
        {"id": t.id, "starred": t.starred, "definition": t.definition, "good": t.good, "failure": t.failure}
        for t in Taxonomy.load(traits).traits
    ]
    print_rows(rows, as_json, "traits")


@app.command()
@user_errors
def domains(domains: DomainsFile = None, as_json: AsJson = False) -> None:
    """List the domains, the fields of life that scenarios and evals are set in."""
    from steadfast.tasks import Taxonomy

    rows = [{"id": d.id, "name": d.name, "covers": d.covers} for d in Taxonomy.load(None, domains).domains]
    print_rows(rows, as_json, "domains")


@app.command()
@user_errors
def scenarios(
    trait: Annotated[str | None, typer.Option(help="Only scenarios about this trait.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only scenarios in this domain.")] = None,
    split: Annotated[str | None, typer.Option(help="Only one split: train or held_out.")] = None,
    file: ScenariosFile = None,
    traits: TraitsFile = None,
    domains: DomainsFile = None,
    as_json: AsJson = False,
) -> None:
    """List the scenarios that ship, or your own."""
    from steadfast.tasks import Taxonomy, built_in_scenarios, load_tasks

    taxonomy = Taxonomy.load(traits, domains)
    check_known("--trait", trait, taxonomy.trait_ids)
    check_known("--domain", domain, taxonomy.domain_ids)
    check_known("--split", split, _SPLITS)
    chosen = [
        s
        for s in (load_tasks(file, taxonomy) if file else built_in_scenarios())
        if trait in (None, s.trait) and domain in (None, s.domain) and split in (None, s.split)
    ]
    if as_json:
        print_json([s.row() for s in chosen])
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


@corpus_app.command()
@user_errors
def stats(
    file: ScenariosFile = None,
    traits: TraitsFile = None,
    domains: DomainsFile = None,
    pairs: Annotated[int, typer.Option(help="The number of nearest pairs to name.", min=0)] = 10,
    as_json: AsJson = False,
) -> None:
    """Count a corpus, and look for scenarios that are alike; the exit code is 2 where some are, or are templates."""
    from dataclasses import asdict

    from steadfast.cli._corpus_tables import print_corpus_stats
    from steadfast.models.conversations import conversation_embeddings
    from steadfast.tasks import Taxonomy, built_in_gold, built_in_scenarios, load_tasks
    from steadfast.tasks.stats import corpus_stats

    taxonomy = Taxonomy.load(traits, domains)
    counted = load_tasks(file, taxonomy) if file else built_in_scenarios()
    gold = {} if file else built_in_gold()
    result = corpus_stats(counted, gold, conversation_embeddings, pairs=pairs, taxonomy=taxonomy)
    if as_json:
        print_json(asdict(result))
    else:
        print_corpus_stats(result)
    for fault in result.faults:
        problem(fault)
    if result.faults:
        raise typer.Exit(2)


@app.command()
@resumable
def synthesize(
    model: Annotated[str, typer.Option(help="Inspect's name: openai/..., anthropic/..., vllm/..., ollama/...")],
    n: Annotated[int, typer.Option("--n", min=1, help="The number of scenarios wanted, dealt to the cells in turn.")],
    out: Annotated[
        Path, typer.Option(help="The JSON Lines file to fill; an unfinished one is resumed. Provenance goes beside it.")
    ],
    trait: Annotated[list[str] | None, typer.Option(help="Only this trait; may be given several times.")] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Only this domain; may be given several times.")] = None,
    traits: TraitsFile = None,
    domains: DomainsFile = None,
    seed: Annotated[
        int, typer.Option(min=0, help="The seed of pressures, lengths and the model's sampling; it is part of the ids.")
    ] = 0,
    split: Annotated[str, typer.Option(help="The split that they are for: train or held_out.")] = "train",
    max_connections: Annotated[int, typer.Option(min=1, help="The number of calls at a time.")] = 10,
    budget_calls: Annotated[int | None, typer.Option(min=1, help="The calls that this run may make.")] = None,
    timeout: Annotated[int, typer.Option(min=1, help="The seconds that one answer may take.")] = 300,
    embeddings: Annotated[bool, typer.Option(help="Whether to compare conversations by embedding too.")] = True,
    allow_mixed: Annotated[
        bool, typer.Option(help="Go on with a file that another model or other prompts began.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write more scenarios with a strong model: drafted, compared with every pool, criticised and mended."""
    from dataclasses import asdict

    from steadfast.locking import sole_use
    from steadfast.synthesis import Store, open_model, plan, version
    from steadfast.synthesis import synthesize as fill
    from steadfast.synthesis.display import Display, embedder, report_rows
    from steadfast.tasks import Taxonomy

    taxonomy = Taxonomy.load(traits, domains)
    for name in trait or ():
        check_known("--trait", name, taxonomy.trait_ids)
    for name in domain or ():
        check_known("--domain", name, taxonomy.domain_ids)
    check_known("--split", split, _SPLITS)
    slots = plan(
        [t for t in taxonomy.traits if not trait or t.id in trait],
        [d for d in taxonomy.domains if not domain or d.id in domain],
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
        print_json(asdict(report))
        return
    print_rows(report_rows(report), False, f"synthesis into {out}")
    if report.budget_spent:
        echo(f"the budget of {budget_calls} calls is spent; run the same command again to go on")
