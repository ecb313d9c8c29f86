"""Measure any model on the battery and on public benchmarks, eval by eval: what is complete is not run again.

protocol.json                the model's and the judge's hashes, and the items' of each eval
evals/NAME.parquet           rows of an eval, written when it is complete
logs/                        Inspect's logs, for `inspect view`
grades.sqlite                every grade of a free answer, under the judge's protocol
results.parquet              all rows
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import polars as pl
from inspect_ai.model import GenerateConfig, Model, get_model

from steadfast.errors import DataError, JudgeError, RecipeError
from steadfast.evals.public import (
    EXTRA,
    PublicEval,
    PublicEvalError,
    check_reach,
    is_installed,
    public_evals,
    select_public,
)
from steadfast.evals.public_run import run_public
from steadfast.evals.run import Measurement
from steadfast.evals.schema import RESULT_SCHEMA
from steadfast.evals.subject import Subject, open_subject
from steadfast.files import write_atomically, write_json
from steadfast.graders import BudgetedJudge, CachedJudge, Judge, JudgeConfig, Limits, make_judge, protocol_hash
from steadfast.locking import sole_use
from steadfast.progress import Progress
from steadfast.tasks import built_in_gold, built_in_scenarios, traits
from steadfast.tasks.battery import Eval, battery
from steadfast.tasks.environment import episode_protocol
from steadfast.tasks.programs import held_out_items

TRAITS, CAPABILITY = "held-out-traits", "capability"
_CAPABILITY_ITEMS = 16
_UNKNOWN_SAMPLES = 200
"""Guess for the progress bar where a benchmark's size is not known before its data are here."""


@dataclass(frozen=True)
class Options:
    """What to measure, on which model.

    Attributes:
        model: a folder, a name on the hub, or "provider/model".
        adapter: folder of an adapter for local weights.
        evals: by name, of either source; None: all that `constructs` and `source` leave.
        constructs: only these; none: all.
        source: whose evals.
        scoring: of the battery and the traits.
        limit: items an eval at most; scenarios a trait.
        judge: grades free answers; a "provider/model" also grades the public benchmarks.
        judge_limits: what a "provider/model" may cost here; the public benchmarks' own calls to it are not counted.
        traits: the held-out scenarios of the paper's seven starred traits too.
        capability: held-out standard items too.
        max_new_tokens: limit of an answer.
    """

    model: str
    adapter: Path | None = None
    evals: tuple[str, ...] | None = None
    constructs: tuple[str, ...] = ()
    source: Literal["steadfast", "public", "all"] = "steadfast"
    scoring: Literal["choice", "generation", "both"] = "choice"
    limit: int | None = None
    judge: str = "embedded-plain"
    judge_limits: Limits | None = None
    traits: bool = False
    capability: bool = False
    max_new_tokens: int = 256


@dataclass
class Evaluated:
    """The rows, and a line for each benchmark that could not run."""

    rows: pl.DataFrame
    failures: list[str] = field(default_factory=list[str])


def evaluate_model(options: Options, out: Path, progress: Progress) -> Evaluated:
    """Measure a model in a directory, or go on where an earlier call stopped.

    Raises:
        DataError: an unknown eval or construct, or nothing left to run.
        JudgeError: no such judge, the model would grade itself, or the judge's budget is spent.
        ModelNotFoundError: no such model.
        PublicEvalError: nothing but public benchmarks was asked for, and none can run here.
        RecipeError: the directory holds results under another protocol.
        SteadfastError: another process uses the directory.
    """
    own, public = choose(options)
    _refuse_self_grading(options)
    judge = make_judge(options.judge, options.judge_limits)
    reached, failures = _in_reach(public, out, graded=JudgeConfig.parse(options.judge).is_model)
    if failures and not (reached or own or options.traits or options.capability):
        raise PublicEvalError("\n".join(failures))
    subject = open_subject(options.model, options.adapter, options.max_new_tokens)
    out.mkdir(parents=True, exist_ok=True)
    with sole_use(out):
        judge = BudgetedJudge(CachedJudge(judge, out / "grades.sqlite"))
        units = _units(options, own, judge)
        _claim(out, _protocol(options, subject, judge, units, public))
        for failure in failures:
            progress.note(failure)
        failures += _measure_all(options, subject, units, reached, out, progress)
        names = [*units, *(e.name for e in public)]
        frames = [pl.read_parquet(f) for f in (_rows_file(out, n) for n in names) if f.is_file()]
        rows = pl.concat(frames) if frames else pl.DataFrame(schema=RESULT_SCHEMA)
        write_atomically(out / "results.parquet", lambda p: rows.write_parquet(p))
    return Evaluated(rows, failures)


def _measure_all(
    options: Options,
    subject: Subject,
    units: Mapping[str, Measurement],
    public: Sequence[PublicEval],
    out: Path,
    progress: Progress,
) -> list[str]:
    """Measure what is not complete; returns what went wrong with the public benchmarks."""
    grader = _grader(options) if any(e.needs_grader for e in public) else None
    progress.plan({**{n: m.requests for n, m in units.items()}, **{e.name: _size(e, options) for e in public}})
    failures: list[str] = []
    try:
        for name, measurement in units.items():
            _measure(subject, name, measurement, out, progress)
        for evaluation in public:
            failures += _run_public(options, subject, evaluation, grader, out, progress)
    finally:
        progress.finish()
    return failures


def choose(options: Options) -> tuple[list[Eval], list[PublicEval]]:
    """The evals of both sources that the options ask for.

    Raises:
        DataError: naming what is unknown, or that nothing is left.
    """
    own = list(battery()) if options.source in ("steadfast", "all") else []
    public = list(public_evals()) if options.source in ("public", "all") else []
    if options.evals is not None:
        by_name = {e.name: e for e in battery()}
        own = [by_name[n] for n in options.evals if n in by_name]
        public = select_public([n for n in options.evals if n not in by_name])
    known = sorted({e.construct for e in (*battery(), *public_evals())})
    unknown = [c for c in options.constructs if c not in known]
    if unknown:
        raise DataError([f"unknown construct {c!r}; known: {', '.join(known)}" for c in unknown])
    if options.constructs:
        own = [e for e in own if e.construct in options.constructs]
        public = [e for e in public if e.construct in options.constructs]
    if not (own or public or options.traits or options.capability):
        raise DataError(["no eval fits --eval, --construct and --source together"])
    return own, public


def _refuse_self_grading(options: Options) -> None:
    if JudgeConfig.parse(options.judge).is_judged_model(options.model):
        raise JudgeError(f"--judge {options.judge!r} is the model under test; no model grades itself, give another")


def _units(options: Options, own: Sequence[Eval], judge: Judge) -> dict[str, Measurement]:
    units = {e.name: _battery_unit(options, e, judge) for e in own}
    if options.traits:
        units[TRAITS] = _trait_unit(options, judge)
    if options.capability:
        items = held_out_items(options.limit or _CAPABILITY_ITEMS, 0, [])
        units[CAPABILITY] = _measurement(options, judge, capability=items)
    return units


def _measurement(options: Options, judge: Judge, **parts: Any) -> Measurement:
    empty: dict[str, Any] = {
        "evals": {},
        "generated": {},
        "chat": None,
        "scenarios": (),
        "gold": {},
        "capability": {},
        "choice": options.scoring != "generation",
        "answer_scenarios": options.scoring != "choice",
    }
    return Measurement(**empty | parts, judge=judge, style=None, max_new_tokens=options.max_new_tokens)


def _battery_unit(options: Options, evaluation: Eval, judge: Judge) -> Measurement:
    items = evaluation.items()[: options.limit]
    generated = {} if options.scoring == "choice" else {evaluation.name: items}
    return _measurement(options, judge, evals={evaluation.name: (evaluation, items)}, generated=generated)


def _trait_unit(options: Options, judge: Judge) -> Measurement:
    starred = {t.id for t in traits() if t.starred}
    held_out = [s for s in built_in_scenarios() if s.split == "held_out" and s.trait in starred]
    by_trait = groupby(sorted(held_out, key=lambda s: s.trait), key=lambda s: s.trait)
    scenarios = [s for _, group in by_trait for s in list(group)[: options.limit]]
    return _measurement(options, judge, scenarios=scenarios, gold=built_in_gold())


def _protocol(
    options: Options, subject: Subject, judge: Judge, units: Mapping[str, Measurement], public: Sequence[PublicEval]
) -> dict[str, Any]:
    graded = options.scoring != "choice" or any(e.needs_grader for e in public)
    items = {n: protocol_hash(n, {"requests": _texts(m)}) for n, m in units.items()}
    release = _release("inspect-evals")
    for e in public if release else ():  # without the package none can run yet, and a later call may have it
        items[e.name] = protocol_hash(e.name, {"task": e.task, "args": e.args, "release": release})
    return {
        "model": subject.identity,
        "judge": {"name": judge.name, "protocol": protocol_hash(judge.name, judge.settings)} if graded else None,
        "scoring": options.scoring,
        "limit": options.limit,
        "max_new_tokens": options.max_new_tokens,
        "items": items,
    }


def _release(package: str) -> str | None:
    """A package's version; None where it is not installed, which `_in_reach` says with what to do."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _texts(measurement: Measurement) -> list[Any]:
    """All that a model is shown and answers are graded by."""
    items = [i.model_dump(mode="json") for _, members in measurement.evals.values() for i in members]
    scenarios = [s.model_dump(mode="json") for s in measurement.scenarios]
    gold = [measurement.gold[s.id].model_dump(mode="json") for s in measurement.scenarios if s.id in measurement.gold]
    tasks = [[m.model_dump() for m in i.messages] for members in measurement.capability.values() for i in members]
    return [items, scenarios, gold, tasks, episode_protocol(measurement.environments())]


def _claim(out: Path, protocol: dict[str, Any]) -> None:
    """Write the protocol, or check that what the directory holds was measured alike; evals may be added."""
    file = out / "protocol.json"
    if file.is_file():
        before: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        changed = [k for k in protocol if k != "items" and protocol[k] != before.get(k)]
        changed += [f"items of {n}" for n, h in protocol["items"].items() if before["items"].get(n, h) != h]
        if changed:
            raise RecipeError(
                f"{out} holds results under another {', '.join(changed)}; "
                "ask for the same as before, or give another --out"
            )
        protocol = protocol | {"items": before["items"] | protocol["items"]}
    write_json(file, protocol)


def _measure(subject: Subject, name: str, measurement: Measurement, out: Path, progress: Progress) -> None:
    file = _rows_file(out, name)
    if file.is_file():
        progress.skip(name)
        return
    progress.begin(name)
    done = 0

    def on_done(count: int) -> None:
        nonlocal done
        done += count
        progress.reach(name, done, f"{done}/{measurement.requests}")

    rows = subject.measure(measurement, out / "logs", on_done)
    write_atomically(file, lambda p: rows.write_parquet(p))
    progress.end(name)


def _in_reach(public: Sequence[PublicEval], out: Path, *, graded: bool) -> tuple[list[PublicEval], list[str]]:
    """The benchmarks that are complete or can run, and what the others lack."""
    missing = [e.name for e in public if not _rows_file(out, e.name).is_file()]
    if missing and not is_installed():
        return [e for e in public if e.name not in missing], [f"public benchmarks ({', '.join(missing)}) need {EXTRA}"]
    reached: list[PublicEval] = []
    failures: list[str] = []
    for evaluation in public:
        try:
            if evaluation.name in missing:
                check_reach(evaluation, graded=graded)
            reached.append(evaluation)
        except PublicEvalError as error:
            failures.append(str(error))
    return reached, failures


def _run_public(
    options: Options, subject: Subject, evaluation: PublicEval, grader: Model | None, out: Path, progress: Progress
) -> list[str]:
    """Run one benchmark unless it is complete; returns what went wrong, and nothing is written then."""
    file = _rows_file(out, evaluation.name)
    if file.is_file():
        progress.skip(evaluation.name)
        return []
    progress.begin(evaluation.name)
    model = subject.inspect_model()
    try:
        rows = run_public(subject.name, model, evaluation, out / "logs", grader=grader, limit=options.limit)
    except PublicEvalError as error:
        progress.note(str(error))
        return [str(error)]
    finally:
        progress.end(evaluation.name)
    write_atomically(file, lambda p: rows.write_parquet(p))
    return []


def _grader(options: Options) -> Model | None:
    """The judge as a model, for benchmarks that bring their own grading prompts."""
    judge = JudgeConfig.parse(options.judge).model
    if judge is None:
        return None
    return get_model(judge, config=GenerateConfig(temperature=0.0))


def _rows_file(out: Path, name: str) -> Path:
    return out / "evals" / f"{name}.parquet"


def _size(evaluation: PublicEval, options: Options) -> int:
    samples = evaluation.samples or _UNKNOWN_SAMPLES
    return min(samples, options.limit or samples)
