"""Judges: grade, judges exam."""

import json
from pathlib import Path
from typing import Annotated

import typer

from steadfast.cli._shared import AsJson, mendable, print_rows

app = typer.Typer()
judges_app = typer.Typer(help="Judges and how good they are.", no_args_is_help=True)
app.add_typer(judges_app, name="judges")


@app.command()
@mendable
def grade(
    scenarios: Annotated[Path, typer.Option(help="Scenarios, JSONL.")],
    answers: Annotated[Path, typer.Option(help='Answers, JSONL: {"scenario": id, "answer": text}.')],
    judge: Annotated[str, typer.Option(help="embedded, embedded-plain, or package.module:Class.")] = "embedded",
    as_json: AsJson = False,
) -> None:
    """Grade stored answers with any judge, a line an answer."""
    from steadfast.judges import make_judge
    from steadfast.judges.grading import grade_file

    graded = grade_file(scenarios, answers, make_judge(judge))
    if as_json:
        for line in graded:
            typer.echo(json.dumps(line, ensure_ascii=False))
        return
    rows = [{"scenario": g["scenario"], "score": g["score"], "gate": g.get("gate")} for g in graded]
    print_rows(rows, False, f"grades by {judge}")


@judges_app.command()
@mendable
def exam(
    judge: Annotated[str, typer.Option(help="embedded, embedded-plain, or package.module:Class.")] = "embedded",
    as_json: AsJson = False,
) -> None:
    """Examine a judge on the gold answers of held-out scenarios, which no judge was fitted on."""
    from steadfast.judges import make_judge
    from steadfast.judges.exam import examine_built_in

    result = examine_built_in(make_judge(judge))
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    print_rows(
        [{"figure": k, "value": v} for k, v in result.items() if not isinstance(v, dict)],
        False,
        f"exam of {judge}",
    )
    print_rows([{"trait": t, **f} for t, f in result["by_trait"].items()], False, "by trait")
