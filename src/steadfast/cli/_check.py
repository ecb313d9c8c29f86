"""Looking over data before work begins: check."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steadfast.cli._shared import (
    JUDGE_HELP,
    AsJson,
    DomainsFile,
    TraitsFile,
    echo,
    made_judge,
    note,
    print_json,
    problem,
    user_errors,
)
from steadfast.errors import DataError

if TYPE_CHECKING:
    from steadfast.graders import Judge
    from steadfast.tasks import Task, Taxonomy

app = typer.Typer()


@app.command()
@user_errors
def check(
    file: Annotated[
        str, typer.Argument(help="Scenarios or a suite: JSON Lines, YAML, or module:function of your own.")
    ],
    traits: TraitsFile = None,
    domains: DomainsFile = None,
    judge: Annotated[str, typer.Option(help=f"The judge that shall grade them. {JUDGE_HELP}")] = "embedded",
    as_json: AsJson = False,
) -> None:
    """Check your scenarios or suite: every fault with line and field in one go, and what the judge cannot grade."""
    from steadfast.tasks import Taxonomy

    taxonomy, grader = Taxonomy.load(traits, domains), made_judge(judge)
    tasks: Sequence[Task] = ()
    problems: list[str] = []
    notes: list[str] = []
    try:
        tasks = _load(file, taxonomy)
        notes += _against(grader, tasks)
        problems += _program_faults(tasks)
        notes += _prove_disjoint(tasks)
    except DataError as error:
        problems += error.problems
    if as_json:
        print_json({"file": file, "scenarios": len(tasks), "problems": problems, "notes": notes})
    else:
        for fault in problems:
            problem(fault)
        for sentence in notes:
            note(sentence)
        found = (
            f"{len(problems)} problem{'s' * (len(problems) != 1)}"
            if problems
            else f"{len(tasks)} scenarios, no problems"
        )
        echo(f"{file}: {found}")
    if problems:
        raise typer.Exit(2)


def _load(name: str, taxonomy: "Taxonomy") -> "Sequence[Task]":
    """The tasks of a file, or of the user's function where no file has the name."""
    from steadfast.tasks import find_suite, load_tasks

    path = Path(name).expanduser()
    if path.is_file() or (":" in name and not path.exists()):
        return find_suite(str(path) if path.is_file() else name, taxonomy).tasks
    return load_tasks(path, taxonomy)


def _against(judge: "Judge", tasks: "Sequence[Task]") -> list[str]:
    """What a judge could not grade, in a sentence; the embedded judge is asked without its encoder."""
    from steadfast.graders.grade import reason_against

    rubrics = [t for t in tasks if t.rubric]
    reasons = {t.id: reason for t in rubrics if (reason := reason_against(judge, t))}
    if not reasons:
        return []
    first, reason = next(iter(reasons.items()))
    return [
        f"the judge {judge.name!r} cannot grade {len(reasons)} of {len(rubrics)} scenarios; the first of them is "
        f"{first!r}: {reason}"
    ]


def _program_faults(tasks: "Sequence[Task]") -> list[str]:
    """The programs that tasks name and that are not to be had."""
    from steadfast.tasks import ProgramGrader
    from steadfast.tasks.programs import check_of

    problems: list[str] = []
    for task in tasks:
        if isinstance(task.grader, ProgramGrader):
            try:
                check_of(task.grader.program)
            except DataError as error:
                problems += [f"{task.id}: grader.program: {fault}" for fault in error.problems]
    return problems


def _prove_disjoint(tasks: "Sequence[Task]") -> list[str]:
    """See that training scenarios repeat no held-out ones, of this file or of ours; returns what was left out.

    Opposites are alike by design, and items with references are an eval's, which is not trained on: neither is
    compared.

    Raises:
        DataError: Some do; every pair is named.
    """
    from steadfast.tasks import built_in_scenarios, prove_disjoint

    compared = [t for t in tasks if t.rubric and t.pair is None and not t.references.paired]
    texts = {split: {t.id: t.text for t in compared if t.split == split} for split in ("train", "held_out")}
    given = {(t.id, t.split, t.text) for t in tasks}
    ours = built_in_scenarios()
    shipped = {t.id: t.text for t in ours if t.split == "held_out" and (t.id, t.split, t.text) not in given}
    prove_disjoint({"your train": texts["train"], "your held-out": texts["held_out"], "our held-out": shipped})
    known = sum((t.id, t.split, t.text) in given for t in ours)
    return [f"{known} of them ship with Steadfast and were not held against themselves"] if known else []
