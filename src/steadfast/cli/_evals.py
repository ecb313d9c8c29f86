"""The battery: evals."""

import typer

from steadfast.cli._shared import AsJson, print_rows

app = typer.Typer()


@app.command()
def evals(as_json: AsJson = False) -> None:
    """The battery of evaluations."""
    from steadfast.evals import SCORINGS, battery

    rows = [
        {
            "name": e.name,
            "construct": e.construct,
            "domain": e.domain,
            "items": len(e.items()),
            "scorings": list(SCORINGS) if as_json else ", ".join(SCORINGS),
            "source": e.source,
            **({"measures": e.measures} if as_json else {}),
        }
        for e in battery()
    ]
    print_rows(rows, as_json, "evals")
