"""Personas: the system prompts that a checkpoint can be asked under."""

from typing import Any

import typer

from steadfast.cli._shared import AsJson, DomainsFile, PersonasFile, TraitsFile, print_rows, user_errors

app = typer.Typer()


@app.command()
@user_errors
def personas(
    personas_file: PersonasFile = None, traits: TraitsFile = None, domains: DomainsFile = None, as_json: AsJson = False
) -> None:
    """List the personas that `evaluate --persona` and a recipe's evaluation.personas may name.

    Hostile ones ask for a bad attitude; benign ones ask for a harmless form, and a program checks whether they got it.
    """
    from steadfast.attacks.personas import load_personas
    from steadfast.graders.manners import manner_of
    from steadfast.tasks import Taxonomy

    found = load_personas(personas_file, Taxonomy.load(traits, domains))
    rows: list[dict[str, Any]] = [
        p.model_dump(mode="json") | {"followed": p.check and manner_of(p.check.program).shows} for p in found
    ]
    if not as_json:
        rows = [
            {
                "name": p.name,
                "kind": p.kind,
                "about": p.about,
                "domains": ", ".join(p.domains) or "any",
                "wordings": len(p.wordings),
                "check": "" if p.check is None else p.check.program,
            }
            for p in found
        ]
    print_rows(rows, as_json, "personas")
