"""Suites: what a model can be trained and measured on, and what a suite pays without a model."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steadfast.cli._shared import AsJson, DomainsFile, TraitsFile, echo, print_json, print_rows, problem, user_errors
from steadfast.errors import DataError, SteadfastError

if TYPE_CHECKING:
    from steadfast.evals.proof import Proof

app = typer.Typer()
suites_app = typer.Typer(help="List all suites; `check` proves one without a model, `show` prints items of it.")
app.add_typer(suites_app, name="suites", invoke_without_command=True)


@suites_app.callback(invoke_without_command=True)
@user_errors
def suites(context: typer.Context, as_json: AsJson = False) -> None:
    """List every suite: evals, families of twins, standard tasks and public benchmarks."""
    if context.invoked_subcommand is None:
        rows, shown = _listed(), ("name", "kind", "construct", "domain", "pairs", "items")
        print_rows(rows if as_json else [{k: r[k] for k in shown} for r in rows], as_json, "suites")


def _listed() -> list[dict[str, Any]]:
    from steadfast.evals.public import public_evals
    from steadfast.tasks import battery
    from steadfast.tasks.programs import TASK_NAMES
    from steadfast.tasks.twins import FORMATS, PAIRS_PER_CELL, shipped_families

    def row(name: str, kind: str, construct: str, trait: str | None, domain: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "kind": kind, "construct": construct, "trait": trait, "domain": domain,
                "pairs": None, "items": None, "source": "steadfast", "measures": ""} | more  # fmt: skip

    found = [
        row(s.name, s.kind, s.construct, None, s.domain, items=len(s.tasks), measures=s.measures) for s in battery()
    ]
    for f in shipped_families().values():
        pairs = len(f.domains) * len(FORMATS) * PAIRS_PER_CELL
        found.append(
            row(f.name, "twins", f.trait, f.trait, "several", pairs=pairs, items=2 * pairs, measures=f.measures)
        )
    found += [row(f"capability-{n}", "capability", "capability", None, "general") for n in TASK_NAMES]
    found += [
        row(e.name, "public", e.construct, None, e.domain, items=e.samples, source=e.source, measures=e.measures)
        for e in public_evals()
    ]
    return found


@suites_app.command()
@user_errors
def check(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME|FILE ...", help="A suite that ships, a file, or module:function of your own."),
    ],
    traits: TraitsFile = None,
    domains: DomainsFile = None,
    as_json: AsJson = False,
) -> None:
    """Prove suites without a model: right answers must earn everything, constants and hostile answers nothing.

    --json prints of one suite an object with "suite", "gold", "constants", "hostile", "problems" and more; where it
    could not be loaded or checked, its figures are null and "problems" says why. Of several suites it prints
    {"suites": [...], "problems": [...]}, with such an object for each suite that could be checked.
    """
    from steadfast.evals.proof import Proof, prove
    from steadfast.tasks import Taxonomy, find_suite

    taxonomy = Taxonomy.load(traits, domains)
    proofs: list[Proof] = []
    problems: list[str] = []
    for name in names:
        try:
            suite = find_suite(name, taxonomy)
            proofs.append(prove(suite.name, suite.tasks))
        except SteadfastError as error:
            problems += error.problems if isinstance(error, DataError) else [f"{name}: {error}"]
    problems += [fault for proof in proofs for fault in proof.problems]
    if as_json and len(names) == 1:
        unproved = dict.fromkeys(field.name for field in fields(Proof)) | {"suite": names[0], "problems": problems}
        print_json(asdict(proofs[0]) if proofs else unproved)
    elif as_json:
        print_json({"suites": [asdict(p) for p in proofs], "problems": problems})
    else:
        _print(proofs)
    for fault in problems:
        problem(fault)
    if problems:
        raise typer.Exit(2)


@suites_app.command()
@user_errors
def show(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME|FILE] ...", help="Suites as `check` takes them; the default is all families."),
    ] = None,
    items: Annotated[int, typer.Option(min=1, help="How many items; of suites in pairs, how many pairs.")] = 5,
    seed: Annotated[int, typer.Option(help="Seeds the draw.")] = 0,
    traits: TraitsFile = None,
    domains: DomainsFile = None,
    as_json: AsJson = False,
) -> None:
    """Print items drawn from suites, to be read by eye: what is asked, and the right answer where it is known."""
    from steadfast.tasks import Taxonomy
    from steadfast.tasks.drawing import draw_items
    from steadfast.tasks.programs import correct_answers
    from steadfast.tasks.twins import shipped_families

    chosen = draw_items(names or list(shipped_families()), items, seed, Taxonomy.load(traits, domains))
    if as_json:
        print_json([[t.model_dump(mode="json", exclude_defaults=True) for t in item] for item in chosen])
        return
    for number, item in enumerate(chosen, start=1):
        echo(f"\n{number}. {item[0].suite}, {item[0].domain or 'no domain'}, {item[0].format or 'conversation'}")
        for task in item:
            for message in task.messages:
                echo(f"  {message.role}: " + message.content.replace("\n", "\n    "))
            answers = correct_answers(task)
            echo(f"  -> {answers[0] if answers else 'no single right answer is known'}\n")


def _print(proofs: Sequence["Proof"]) -> None:
    rows: list[dict[str, Any]] = []
    for proof in proofs:
        worst = max(proof.constants, key=lambda name: proof.constants[name], default="")
        rows.append(
            {
                "suite": proof.suite,
                "pairs": proof.pairs or "",
                "items": proof.items,
                "gold": "" if proof.gold is None else f"{proof.gold:.2f}",
                "best constant": f"{worst} {proof.constants[worst]:.2f}" if worst else "",
                "hostile answers paid": len(proof.hostile),
                "cue": "" if proof.cue is None else f"{proof.cue:.2f}",
            }
        )
    if rows:
        print_rows(rows, False, "suites")
    if proofs:
        echo("gold: what the right answers earn; a suite in pairs is scored by pair success")
    if any(proof.cue is not None for proof in proofs):
        echo(
            "cue: how often the words in which twins differ tell their sides without the rest; 0.5 is chance, and 1.0 "
            "means that knowing these words is enough, which may be the very meaning that is tested"
        )
