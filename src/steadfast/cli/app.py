"""Commands: thin, each a few lines around a package's function. Heavy imports wait until a command needs them."""

import errno
import json
import sqlite3
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from steadfast.errors import SteadfastError

# transformers and peft warn about one another's deprecations, which a user can do nothing about.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)")

app = typer.Typer(
    name="steadfast",
    help="Train a language model's beneficial traits, measure how far the change spreads, see whether it lasts.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
judges_app = typer.Typer(help="Judges and how good they are.", no_args_is_help=True)
app.add_typer(judges_app, name="judges")

P = ParamSpec("P")
R = TypeVar("R")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Out = Annotated[Path, typer.Option("--out", help="Run directory; an unfinished run in it is resumed.")]


def _mendable(command: Callable[P, R]) -> Callable[P, R]:
    """Errors the user can mend are printed without a traceback, with exit code 2."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except SteadfastError as error:
            _fail(str(error), error)
        except (OSError, sqlite3.OperationalError) as error:
            if not _disk_is_full(error):
                raise
            _fail("the disk is full; nothing written is lost: free some room and run the same command again", error)

    return run


def _fail(message: str, cause: Exception) -> NoReturn:
    typer.secho(f"error: {message}", fg=typer.colors.RED, err=True)
    raise typer.Exit(2) from cause


def _disk_is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "full" in str(error)


def _print(rows: list[dict[str, Any]], as_json: bool, title: str) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = Table(title=f"{title} ({len(rows)})", title_justify="left")
    for column in rows[0] if rows else []:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)


@app.command()
@_mendable
def demo(out: Out = Path("runs/demo")) -> None:
    """The main job in minutes: health traits on SmolLM2-135M, against its baseline, evals, statistics, report."""
    from steadfast.study import demo_recipe

    _run(demo_recipe(), out)


@app.command()
@_mendable
def run(
    recipe: Annotated[Path, typer.Argument(help="Recipe, a YAML file.")],
    out: Annotated[Path | None, typer.Option("--out", help="Run directory; default runs/NAME.")] = None,
) -> None:
    """Run a recipe, or resume it where it stopped."""
    from steadfast.study import load_recipe

    loaded = load_recipe(recipe)
    _run(loaded, out or Path("runs") / loaded.name)


def _run(recipe: Any, out: Path) -> None:
    from steadfast.report import write_report
    from steadfast.study import run_recipe
    from steadfast.study.progress import ConsoleProgress

    page = write_report(run_recipe(recipe, out, ConsoleProgress()))
    typer.echo(f"report: {page.resolve()}")


@app.command()
@_mendable
def report(
    directory: Annotated[Path, typer.Argument(help="A finished run directory.")], as_json: AsJson = False
) -> None:
    """Write report.html of a run again, or print its headline numbers."""
    from steadfast.report import summarize, write_report

    if as_json:
        typer.echo(json.dumps(summarize(directory), indent=2, ensure_ascii=False))
        return
    typer.echo(f"report: {write_report(directory).resolve()}")


@app.command()
def traits(as_json: AsJson = False) -> None:
    """The fifteen traits; starred ones make the held-out trait evaluation of the paper."""
    from steadfast.corpus import traits as all_traits

    rows = [
        {"id": t.id, "starred": t.starred, "definition": t.definition, "good": t.good, "failure": t.failure}
        for t in all_traits()
    ]
    _print(rows, as_json, "traits")


@app.command()
@_mendable
def scenarios(
    trait: Annotated[str | None, typer.Option(help="Only this trait.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only this domain.")] = None,
    split: Annotated[str | None, typer.Option(help="train or held_out.")] = None,
    as_json: AsJson = False,
) -> None:
    """The scenarios that ship."""
    from steadfast.corpus import built_in_scenarios, domains
    from steadfast.corpus import traits as all_traits

    _known("--trait", trait, [t.id for t in all_traits()])
    _known("--domain", domain, [d.id for d in domains()])
    _known("--split", split, ["train", "held_out"])
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
    _print(rows, False, "scenarios")


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
    _print(rows, as_json, "evals")


@app.command()
@_mendable
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


@app.command()
@_mendable
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
    _print(rows, False, f"grades by {judge}")


@judges_app.command()
@_mendable
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
    _print(
        [{"figure": k, "value": v} for k, v in result.items() if not isinstance(v, dict)],
        False,
        f"exam of {judge}",
    )
    _print([{"trait": t, **f} for t, f in result["by_trait"].items()], False, "by trait")


@app.command()
@_mendable
def sample(
    prompt: Annotated[str, typer.Argument(help="What the user says.")],
    model: Annotated[str | None, typer.Option(help="Folder or hub name; default SmolLM2-135M-Instruct.")] = None,
    adapter: Annotated[Path | None, typer.Option(help="Folder of a trained adapter.")] = None,
    count: Annotated[int, typer.Option(help="Answers to sample.", min=1)] = 1,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.", min=0)] = 0.7,
    max_new_tokens: Annotated[int, typer.Option(help="Limit.", min=1)] = 128,
    style: Annotated[str | None, typer.Option(help="Instruction on form, in the system turn.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Look at what a checkpoint says."""
    from steadfast.models.generate import answer_prompt

    answers = answer_prompt(
        prompt,
        model=model,
        adapter=adapter,
        count=count,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        style=style,
        seed=seed,
    )
    if as_json:
        typer.echo(json.dumps(answers, indent=2, ensure_ascii=False))
        return
    for answer in answers:
        typer.echo(answer["answer"] + ("" if answer["finished"] else " [...]") + "\n")


def _known(option: str, value: str | None, known: list[str]) -> None:
    if value is not None and value not in known:
        raise SteadfastError(f"{option} {value!r} is unknown; known: {', '.join(known)}")
