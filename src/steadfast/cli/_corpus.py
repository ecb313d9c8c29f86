"""The corpus: traits, scenarios, check."""

import json
from pathlib import Path
from typing import Annotated

import typer

from steadfast.cli._shared import AsJson, check_known, mendable, print_rows

app = typer.Typer()


@app.command()
def traits(as_json: AsJson = False) -> None:
    """The fifteen traits; starred ones make the held-out trait evaluation of the paper."""
    from steadfast.corpus import traits as all_traits

    rows = [
        {"id": t.id, "starred": t.starred, "definition": t.definition, "good": t.good, "failure": t.failure}
        for t in all_traits()
    ]
    print_rows(rows, as_json, "traits")


@app.command()
@mendable
def scenarios(
    trait: Annotated[str | None, typer.Option(help="Only this trait.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only this domain.")] = None,
    split: Annotated[str | None, typer.Option(help="train or held_out.")] = None,
    as_json: AsJson = False,
) -> None:
    """The scenarios that ship."""
    from steadfast.corpus import built_in_scenarios, domains
    from steadfast.corpus import traits as all_traits

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
@mendable
def check(file: Annotated[Path, typer.Argument(help="Scenarios, JSONL.")], as_json: AsJson = False) -> None:
    """Validate your scenarios: every fault with line and field, in one go."""
    from steadfast.corpus import built_in_scenarios, load_scenarios, prove_disjoint
    from steadfast.errors import DataError

    problems: list[str] = []
    count = 0
    try:
        loaded = load_scenarios(file)
        count = len(loaded)
        texts = {split: {s.id: s.text for s in loaded if s.split == split} for split in ("train", "held_out")}
        shipped = {s.id: s.text for s in built_in_scenarios() if s.split == "held_out"}
        prove_disjoint({"your train": texts["train"], "your held-out": texts["held_out"], "our held-out": shipped})
    except DataError as error:
        problems = error.problems
    if as_json:
        typer.echo(json.dumps({"file": str(file), "scenarios": count, "problems": problems}, indent=2))
    else:
        for problem in problems:
            typer.secho(problem, fg=typer.colors.RED, err=True)
        typer.echo(f"{file}: {len(problems)} problems" if problems else f"{file}: {count} scenarios, no problems")
    if problems:
        raise typer.Exit(2)
