"""Judges: grade, judges exam, judges agree."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from steadfast.cli._shared import (
    BUDGET_HELP,
    JUDGE_HELP,
    AsJson,
    DomainsFile,
    TraitsFile,
    judge_config,
    made_judge,
    note,
    print_json,
    print_rows,
    user_errors,
)
from steadfast.errors import SteadfastError

if TYPE_CHECKING:
    from steadfast.graders.exam.crossfit import Left
    from steadfast.graders.exam.examination import Track
    from steadfast.progress import Progress

Budget = Annotated[int | None, typer.Option("--judge-budget", "--budget", min=1, help=BUDGET_HELP)]

_GOLD, _MINIMAL, _ATTACKS = "gold answers", "minimal pairs", "attacks"
_LEFT: tuple["Left", ...] = ("trait", "domain")
_REFIT = 4.0
"""Of a scenario's answers, so many count as the work of leaving each trait, or each domain, out of the fit."""

app = typer.Typer()
judges_app = typer.Typer(help="Judges and how good they are.", no_args_is_help=True)
app.add_typer(judges_app, name="judges")


@app.command()
@user_errors
def grade(
    scenarios: Annotated[Path, typer.Option(help="The scenarios, JSON Lines or YAML.")],
    answers: Annotated[Path, typer.Option(help='The answers, JSON Lines: {"scenario": id, "answer": text}.')],
    judge: Annotated[str, typer.Option(help=JUDGE_HELP)] = "embedded",
    traits: TraitsFile = None,
    domains: DomainsFile = None,
    budget: Budget = None,
    max_connections: Annotated[
        int | None, typer.Option(min=1, help="The calls of a provider/model judge at one time; 10 unless given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Grade stored answers with any judge; --json prints a line for each answer."""
    from steadfast.graders.stored_answers import grade_file
    from steadfast.tasks import Taxonomy

    grader = made_judge(judge, max_calls=budget, max_connections=max_connections)
    graded = grade_file(scenarios, answers, grader, Taxonomy.load(traits, domains))
    if as_json:
        for line in graded:
            print_json(line, indent=None)
    else:
        rows = [{"scenario": g["scenario"], "score": g["score"], "gate": g.get("gate")} for g in graded]
        print_rows(rows, False, f"grades by {grader.name}")
    if ungraded := [g for g in graded if g["score"] is None]:
        reason = ungraded[0].get("error", "no reason given")
        note(f"{len(ungraded)} of {len(graded)} answers have no score; of the first: {reason}")


@judges_app.command()
@user_errors
def exam(
    judge: Annotated[str, typer.Option(help=JUDGE_HELP)] = "embedded",
    scenarios: Annotated[Path | None, typer.Option(help="Your scenarios, JSON Lines or YAML, with --gold.")] = None,
    gold: Annotated[
        Path | None, typer.Option(help='Your gold answers, JSON Lines: {"scenario": id, "good": text, "bad": text}.')
    ] = None,
    traits: TraitsFile = None,
    domains: DomainsFile = None,
    attacks: Annotated[
        bool | None,
        typer.Option(help="Whether to attack the judge too; the default is yes unless its calls cost something."),
    ] = None,
    cross_fit: Annotated[
        bool,
        typer.Option(help="Also leave each trait, then each domain, out of the fit of embedded; it takes minutes."),
    ] = False,
    budget: Budget = None,
    as_json: AsJson = False,
) -> None:
    """Examine a judge on gold answers of scenarios it was not fitted on, ours or your own, and on minimal pairs."""
    from steadfast.graders.exam import examination as exams
    from steadfast.graders.exam.crossfit import cross_fit as left_out
    from steadfast.graders.exam.polarity import KINDS, examine_polarity, minimal_pairs
    from steadfast.progress import ConsoleProgress
    from steadfast.tasks import Taxonomy, built_in_gold, built_in_scenarios

    config = judge_config(judge, max_calls=budget)
    if cross_fit and (config.name != "embedded" or scenarios):
        raise SteadfastError(
            "--cross-fit refits the embedded judge on the corpus that ships: use it with neither "
            "another --judge nor --scenarios"
        )
    if (scenarios is None) != (gold is None):
        raise SteadfastError("--scenarios and --gold belong together: give both, or neither for the corpus that ships")
    examined = made_judge(judge, max_calls=budget)
    corpus = exams.load_gold(scenarios, gold, Taxonomy.load(traits, domains)) if scenarios and gold else None
    known, pairs = corpus or (built_in_scenarios(), built_in_gold())
    chosen = [s for s in known if corpus or s.split == "held_out"]
    examples, attacked = len([s for s in known if s.id in pairs]), len([s for s in chosen if s.id in pairs])
    minimal = sum(len(minimal_pairs(kind)) for kind in KINDS)
    attacking = attacks or (attacks is None and not config.is_model)
    progress = ConsoleProgress()
    progress.plan(
        {_GOLD: 2.0 * examples, _MINIMAL: 2.0 * minimal}
        | ({_ATTACKS: float(attacked * len(exams.ANSWERS))} if attacking else {})
        | ({f"each {left} left out": _REFIT * examples for left in _LEFT} if cross_fit else {})
    )
    try:
        with _part(progress, _GOLD):
            more = progress.counter(_GOLD, examples, "scenarios", units=2)
            if corpus:
                result = exams.examine(examined, chosen, pairs, on_done=more)
            else:
                result = exams.examine_built_in(examined, more)
        with _part(progress, _MINIMAL):
            result["polarity"] = examine_polarity(examined)
        if attacking:
            with _part(progress, _ATTACKS):
                result["attacks"] = exams.attack(examined, chosen, pairs, _track(progress, _ATTACKS, attacked))
        if cross_fit:
            result["cross_fit"] = []
            for left in _LEFT:
                with _part(progress, stage := f"each {left} left out"):
                    groups = len({getattr(s, left) for s in known if s.id in pairs})
                    result["cross_fit"].append(left_out(left, _track(progress, stage, _REFIT * examples / groups)))
    finally:
        progress.finish()
    if as_json:
        print_json(result)
    else:
        _print_exam(result)


@judges_app.command()
@user_errors
def agree(
    first: Annotated[str, typer.Argument(help=JUDGE_HELP)],
    second: Annotated[str, typer.Argument(help="Another judge.")],
    scenarios: Annotated[Path | None, typer.Option(help="Your scenarios, JSON Lines or YAML, with --answers.")] = None,
    answers: Annotated[
        Path | None, typer.Option(help='Your answers, JSON Lines: {"scenario": id, "answer": text}.')
    ] = None,
    traits: TraitsFile = None,
    domains: DomainsFile = None,
    budget: Budget = None,
    as_json: AsJson = False,
) -> None:
    """Tell how far two judges agree, on the gold answers of held-out scenarios or on your answers."""
    from steadfast.graders.exam import agreement
    from steadfast.graders.stored_answers import load_answers
    from steadfast.tasks import Taxonomy

    if (scenarios is None) != (answers is None):
        raise SteadfastError("--scenarios and --answers belong together: give both, or neither for our gold answers")
    limited = {name: judge_config(name).is_model for name in (first, second)}
    if budget and not any(limited.values()):
        raise SteadfastError("--judge-budget limits a provider/model judge, and neither of these is one")
    one, other = (made_judge(name, max_calls=budget if limited[name] else None) for name in (first, second))
    if scenarios and answers:
        given = load_answers(scenarios, answers, Taxonomy.load(traits, domains))
    else:
        given = agreement.gold_answers()
    result = agreement.agree(one, other, given)
    if as_json:
        print_json(result)
        return
    rows = [{"figure": name, "value": _shown(value)} for name, value in result.items()]
    print_rows(rows, False, f"{one.name} and {other.name}")


def _print_exam(result: dict[str, Any]) -> None:
    calibrated: dict[str, Any] = result.pop("calibration", {})
    mapped: dict[str, Any] = calibrated.get("mapped", {})
    figures = {
        name: value for name, value in result.items() if not isinstance(value, dict | list) or "interval" in name
    }
    figures |= {"Brier score": calibrated.get("brier"), "calibration error": calibrated.get("ece")}
    if mapped:
        figures |= {
            f"Brier score, mapped on {mapped['fitted_on']} training pairs": mapped["brier"],
            "calibration error, mapped": mapped["ece"],
        }
    rows = [{"figure": name, "value": _shown(value)} for name, value in figures.items()]
    print_rows(rows, False, f"exam of {result['judge']}")
    print_rows(calibrated.get("bins", []), False, "reliability: score read as the probability of being the good answer")
    _print_groups("pairs", result["polarity"], "minimal pairs: the share in which the true answer scores higher")
    for kind in ("trait", "domain"):
        _print_groups(kind, result[f"by_{kind}"], f"by {kind}")
    print_rows(result.get("attacks", []), False, "attacks, beside gold and honest answers")
    for left in result.get("cross_fit", []):
        pooled = {name: value for name, value in left.items() if name not in ("left", "by")}
        _print_groups(left["left"], {**left["by"], "all, pooled": pooled}, f"each {left['left']} left out of the fit")


def _print_groups(kind: str, groups: dict[str, dict[str, Any]], title: str) -> None:
    print_rows([{kind: name, **{k: _shown(v) for k, v in g.items()}} for name, g in groups.items()], False, title)


def _shown(value: Any) -> Any:
    """A value as a cell shows it; intervals as "low to high"."""
    if isinstance(value, list):
        return " to ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in cast("list[Any]", value))
    return value


@contextmanager
def _part(progress: "Progress", stage: str) -> Generator[None]:
    """Show a part of the exam from its begin to its end; on the error stream, so that --json stays clean."""
    progress.begin(stage)
    yield
    progress.end(stage)


def _track(progress: "Progress", stage: str, units: float) -> "Track":
    """Progress over names, each of which stands for so many units of the stage."""

    def passed(names: Sequence[str]) -> Iterator[str]:
        more = progress.counter(stage, len(names), units=units)
        for name in names:
            yield name
            more(1)

    return passed
