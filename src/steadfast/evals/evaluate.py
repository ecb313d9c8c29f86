"""Measure any model, suite by suite: what is complete in the directory is not run again."""

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import polars as pl
from inspect_ai.model import GenerateConfig, Model, get_model

from steadfast.errors import DataError, JudgeError, ModelNotFoundError, PublicEvalError
from steadfast.evals.api_subject import ApiSubject, open_api_model
from steadfast.evals.completion import complete, without_any_score
from steadfast.evals.constants import (
    SUBJECTS,
    constants_done,
    constants_protocol,
    measure_constants,
    parts_with_floor,
)
from steadfast.evals.inspect_logs import write_logs
from steadfast.evals.inspect_model import local_model
from steadfast.evals.local_subject import LocalSubject
from steadfast.evals.measure import Condition, Measured, Part, Subject, measure
from steadfast.evals.personas import personas_protocol
from steadfast.evals.public import EXTRA, PublicEval, check_reach, is_installed, public_evals
from steadfast.evals.public_run import run_public
from steadfast.evals.rows import CONSTANT, ROW_SCHEMA, Place
from steadfast.files import write_atomically
from steadfast.graders import (
    AnyJudgeConfig,
    BudgetedJudge,
    CachedJudge,
    Judge,
    JudgeConfig,
    make_judge,
    protocol_hash,
    refuse_ungradable,
)
from steadfast.locking import sole_use
from steadfast.models.identity import identify
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.pretrained import LoadedModel, as_before, load_model, locate_adapter
from steadfast.progress import Progress
from steadfast.rundir import RunDirectory
from steadfast.tasks import Suite, SuiteInfo, Task, Taxonomy, built_in_gold, built_in_scenarios, catalogue, find_suite
from steadfast.tasks.environment import episode_protocol
from steadfast.tasks.loading import with_gold
from steadfast.tasks.programs import held_out_tasks, source_hashes
from steadfast.tasks.suite import capability_suites, trait_suites

_CAPABILITY_TASKS = 16
_CONSTANTS = "constant answers"
"""The name of the stage that grades them."""
_UNKNOWN_SAMPLES = 200
"""Guess for the progress bar where a benchmark's size is not known before its data are here."""


def _default_judge() -> AnyJudgeConfig:
    return JudgeConfig.parse("embedded-plain")


@dataclass(frozen=True)
class Options:
    """What to measure, on which model.

    Attributes:
        model: A folder, a name on the hub, or "provider/model".
        adapter: A folder or hub name of an adapter for local weights.
        evals: Suites by name, file or "module:function", or public benchmarks by name; None: all that `constructs` and
            `source` leave.
        constructs: Only suites of these; none: all.
        source: Whose suites.
        scoring: "choice" compares references, "generation" has tasks answered, "both" does both.
        limit: The number of tasks of a suite at most; of scenarios, for each trait.
        judge: Grades free answers; one that is a language model also grades the public benchmarks.
        traits: Whether to measure the held-out scenarios of the paper's seven starred traits too.
        capability: Whether to measure held-out standard tasks too.
        floor: Whether constant answers are graded too, so that judged scores have a floor.
        max_new_tokens: The limit of an answer.
        dtype: The type of local weights.
        device: Where local weights are put; None takes a GPU if there is one.
        trust_remote_code: Whether code that comes with the model may be run.
        chat_template_kwargs: What the chat template is given, such as `enable_thinking`.
        taxonomy: The traits and domains that the user's suites may name.
        condition: How the model is asked: plainly, or under a persona. Rows of other conditions in the directory stay.
    """

    model: str
    adapter: str | None = None
    evals: tuple[str, ...] | None = None
    constructs: tuple[str, ...] = ()
    source: Literal["steadfast", "public", "all"] = "steadfast"
    scoring: Literal["choice", "generation", "both"] = "choice"
    limit: int | None = None
    judge: AnyJudgeConfig = field(default_factory=_default_judge)
    traits: bool = False
    capability: bool = False
    floor: bool = True
    max_new_tokens: int = 256
    dtype: str = "float32"
    device: str | None = None
    trust_remote_code: bool = False
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    taxonomy: Taxonomy = field(default_factory=Taxonomy.load)
    condition: Condition = field(default_factory=Condition)


@dataclass
class Evaluated:
    """What came of an evaluation.

    Attributes:
        rows: The rows of the model under the condition that was asked for.
        constants: The rows of constant answers to the same suites; empty where no judge graded answers.
        failures: A line for each benchmark that could not run.
        unscored: A line for each suite of which nothing was scored.
    """

    rows: pl.DataFrame
    constants: pl.DataFrame
    failures: list[str] = field(default_factory=list[str])
    unscored: list[str] = field(default_factory=list[str])


def evaluate_model(options: Options, out: Path, progress: Progress) -> Evaluated:
    """Measure a model in a directory, or go on where an earlier call stopped.

    Raises:
        DataError: an unknown suite or construct, nothing left to run, or tasks that the judge cannot grade.
        JudgeError: no such judge, the model would grade itself, or the judge's budget is spent.
        ModelNotFoundError: no such model.
        PublicEvalError: nothing but public benchmarks was asked for, and none can run here.
        RecipeError: the directory holds results under another protocol.
        SteadfastError: another process uses the directory.
    """
    started = time.time()
    own, public = choose(options)
    _refuse_self_grading(options)
    directory = RunDirectory(out)
    parts = _parts(options, own)
    judge = make_judge(options.judge)
    refuse_ungradable(judge, [t for p in parts.values() for t in p.answered])
    reached, failures = _in_reach(public, directory, graded=options.judge.is_model)
    if failures and not (reached or parts):
        raise PublicEvalError("\n".join(failures))
    before = directory.protocol().get("model") or {}
    subject, loaded = open_subject(options, before.get("model"))
    out.mkdir(parents=True, exist_ok=True)
    applied = loaded.with_adapter(options.adapter) if loaded and options.adapter else nullcontext()
    with sole_use(out), applied, directory.timed(started):
        if isinstance(subject, LocalSubject):
            prepack_frozen_linears(subject.lm)
        judge = BudgetedJudge(CachedJudge(judge, directory.grades_file))
        directory.claim(_protocol(options, subject, judge, parts, public), may_grow=["items", "personas"])
        directory.write_environment()
        for failure in failures:
            progress.note(failure)
        if idle := _idle_judge(options, parts, reached):
            progress.note(idle)
        failures += _measure_all(options, subject, judge, parts, reached, directory, progress)
        files = _rows_files(directory, [*parts, *(e.name for e in public)])
        floored = _floored(options, parts)
        # Constants that were graded in an earlier session stay, although this one asks for no floor.
        files += [f for s in SUBJECTS if (f := _constants_file(directory, s.label)).is_file()]
        written = directory.write_results(files, ROW_SCHEMA)
    rows, constants = (written.filter(condition=name) for name in (options.condition.name, CONSTANT))
    constants = constants.filter(pl.col("suite").is_in([p.suite.name for p in floored]))
    return Evaluated(rows, constants, failures, without_any_score(rows))


def _rows_files(directory: RunDirectory, names: Sequence[str]) -> list[Path]:
    """The tables of some suites and benchmarks: under the plain condition, then under every persona asked so far."""
    under = [Condition(name).folders for name in directory.protocol()["personas"]]
    return [directory.rows_file(*folders, name) for folders in ((), *under) for name in names]


def choose(options: Options) -> tuple[list[Suite], list[PublicEval]]:
    """The suites and the public benchmarks that the options ask for.

    Raises:
        DataError: naming what is unknown, or that nothing is left.
    """
    known_public = {e.name: e for e in public_evals()}
    names: Sequence[str] = [i.name for i in catalogue()] if options.source in ("steadfast", "all") else []
    public = list(known_public.values()) if options.source in ("public", "all") else []
    if options.evals is not None:
        names = [n for n in options.evals if n not in known_public]
        public = [known_public[n] for n in options.evals if n in known_public]
    constructs: Sequence[SuiteInfo | PublicEval] = [*catalogue(), *public_evals()]
    if public and options.condition.persona is not None:
        raise DataError(
            [
                f"{public[0].name}: a public benchmark is asked in its own words, so it cannot be asked under "
                f"{options.condition.name}; give --source steadfast, or other evals"
            ]
        )
    found, problems = [], []
    for name in names:
        try:
            found.append(find_suite(name, options.taxonomy))
        except DataError as error:
            problems += error.problems
    known = sorted({e.construct for e in (*constructs, *found)})
    problems += [f"unknown construct {c!r}; known: {', '.join(known)}" for c in options.constructs if c not in known]
    if problems:
        raise DataError(problems)
    if options.constructs:
        found = [s for s in found if s.construct in options.constructs]
        public = [e for e in public if e.construct in options.constructs]
    if not (found or public or options.traits or options.capability):
        raise DataError(["no eval fits --eval, --construct and --source together"])
    return found, public


def _refuse_self_grading(options: Options) -> None:
    if options.judge.is_judged_model(options.model):
        raise JudgeError(
            f"--judge {options.judge.name!r} is the model under test; no model grades itself, give another"
        )


def _parts(options: Options, own: Sequence[Suite]) -> dict[str, Part]:
    """What is measured, by name; a suite that the scoring leaves nothing of is left out."""
    suites = list(own)
    if options.traits:
        suites += trait_suites(with_gold(_starred(options), built_in_gold()), options.limit)
    if options.capability:
        suites += capability_suites(held_out_tasks(options.limit or _CAPABILITY_TASKS, 0, []))
    parts: dict[str, Part] = {}
    for suite in suites:
        tasks = suite.limited(options.limit) if suite.kind in ("eval", "twins") else suite.tasks
        program = suite.kind == "capability"
        compared = tuple(t for t in tasks if t.references.paired) if options.scoring != "generation" else ()
        answered = tuple(t for t in tasks if t.grader.kind != "preference" and (program or options.scoring != "choice"))
        if not (compared or answered):  # a suite that has no references is answered, whatever was asked for
            answered = tuple(t for t in tasks if t.grader.kind != "preference")
        parts[suite.name] = Part(suite, compared, answered)
    return parts


def _idle_judge(options: Options, parts: Mapping[str, Part], public: Sequence[PublicEval]) -> str | None:
    """Say that a judge that was asked for grades nothing; None if it grades something, or is the default."""
    graded = any(t.grader.kind == "rubric" for p in parts.values() for t in p.answered)
    graded = graded or any(e.needs_grader for e in public)
    if graded or options.judge == _default_judge():
        return None
    return (
        f"judge {options.judge.name!r} grades nothing here: scoring {options.scoring!r} has no answer that needs a "
        "judge; ask for --scoring generation or both"
    )


def _floored(options: Options, parts: Mapping[str, Part]) -> list[Part]:
    """What constant answers are given to."""
    return parts_with_floor(list(parts.values())) if options.floor else []


def _constants_file(directory: RunDirectory, label: str) -> Path:
    return directory.rows_file("constants", label)


def _starred(options: Options) -> list[Task]:
    starred = {t.id for t in options.taxonomy.traits if t.starred}
    return [s for s in built_in_scenarios() if s.split == "held_out" and s.trait in starred]


def open_subject(options: Options, before: Mapping[str, Any] | None = None) -> tuple[Subject, LoadedModel | None]:
    """Find a model by folder, hub name or "provider/model".

    A folder comes first, then a provider of Inspect's, then the hub. "hf/NAME" takes the hub's model where a provider
    has the name of its owner, such as "hf/google/gemma-3-270m-it".

    Args:
        options: What to measure.
        before: The identity of the local model that an earlier session used.

    Raises:
        ModelNotFoundError: it is not to be had, or an adapter was given for a model behind an API.
    """
    name = slug(options.model, options.adapter)
    local = options.model.removeprefix("hf/")
    if local == options.model and not Path(local).expanduser().is_dir():
        api = open_api_model(local, max_tokens=options.max_new_tokens)
        if api is not None and options.adapter is not None:
            raise ModelNotFoundError(f"--adapter goes with local weights; {options.model!r} is behind an API")
        if api is not None:
            return ApiSubject(name, api), None
    adapter = locate_adapter(options.adapter).folder if options.adapter else None
    loaded = load_model(
        local,
        dtype=options.dtype,
        device=options.device,
        trust_remote_code=options.trust_remote_code,
        chat_template_kwargs=options.chat_template_kwargs,
        **as_before(before),
    )
    identity = {
        "model": loaded.identity.as_dict(),
        "adapter": identify(adapter, None).as_dict() if adapter else None,
        "dtype": options.dtype,
    }
    return LocalSubject(name, loaded.lm, loaded.chat, options.max_new_tokens, identity=identity), loaded


def slug(model: str, adapter: str | None = None) -> str:
    """A model's name as a folder's."""
    path = Path(model).expanduser()
    base = path.resolve().name if path.is_dir() else model
    if adapter is not None:
        folder = Path(adapter)
        base += f"+{folder.parent.name if folder.name == 'adapter' else folder.name}"
    return re.sub(r"[^\w.+-]+", "-", base).strip("-.") or "model"


def _protocol(
    options: Options, subject: Subject, judge: Judge, parts: Mapping[str, Part], public: Sequence[PublicEval]
) -> dict[str, Any]:
    graded = any(t.grader.kind == "rubric" for p in parts.values() for t in p.answered)
    graded = graded or any(e.needs_grader for e in public)
    items = {name: part_protocol(part) for name, part in parts.items()}
    release = _release("inspect-evals")
    for e in public if release else ():  # without the package none can run yet, and a later call may have it
        items[e.name] = protocol_hash(e.name, {"task": e.task, "args": e.args, "release": release})
    return {
        "model": subject.identity,
        "judge": {"name": judge.name, "protocol": protocol_hash(judge.name, judge.settings)} if graded else None,
        "constant answers": constants_protocol(),
        "personas": personas_protocol([options.condition]),
        "scoring": options.scoring,
        "limit": options.limit,
        "max_new_tokens": options.max_new_tokens,
        "items": items,
    }


def part_protocol(part: Part) -> str:
    """The hash of all that a model is shown and its rollouts are graded by, in one part."""
    tasks = {t.id: t for t in (*part.compared, *part.answered)}
    environments = episode_protocol(t.environment for t in part.answered if t.environment)
    shown = [[t.row() for t in tasks.values()], [t.id for t in part.compared], [t.id for t in part.answered]]
    programs = source_hashes(part.answered)
    return protocol_hash(part.suite.name, {"tasks": shown, "environments": environments, "programs": programs})


def _release(package: str) -> str | None:
    """A package's version; None where it is not installed, which `_in_reach` says with what to do."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _measure_all(
    options: Options,
    subject: Subject,
    judge: Judge,
    parts: Mapping[str, Part],
    public: Sequence[PublicEval],
    directory: RunDirectory,
    progress: Progress,
) -> list[str]:
    """Measure what is not complete; returns what went wrong with the public benchmarks."""
    grader = _grader(options) if any(e.needs_grader for e in public) else None
    floored = _floored(options, parts)
    answers = len(SUBJECTS) * sum(p.requests for p in floored)
    plan = {n: p.requests for n, p in parts.items()} | ({_CONSTANTS: answers} if floored else {})
    progress.plan({**plan, **{e.name: _size(e, options) for e in public}})
    failures: list[str] = []
    try:
        for name, part in parts.items():
            _measure(subject, judge, name, part, options.condition, directory, progress)
        if floored:
            _measure_constants(judge, floored, answers, directory, progress)
        for evaluation in public:
            failures += _run_public(options, subject, evaluation, grader, directory, progress)
    finally:
        progress.finish()
    return failures


def _measure(
    subject: Subject,
    judge: Judge,
    name: str,
    part: Part,
    condition: Condition,
    directory: RunDirectory,
    progress: Progress,
) -> None:
    folders = () if condition.persona is None else condition.folders
    begun = False

    def run(left: list[Part]) -> Measured:
        nonlocal begun
        begun = True
        progress.begin(name)
        on_done = progress.counter(name, part.requests)
        place = Place(subject.name, None, condition.name)
        measured = measure(subject, left, judge, place=place, condition=condition, on_done=on_done)
        write_logs(directory.logs.joinpath(*folders), subject.name, left, measured, condition)
        return measured

    complete(directory.rows_file(*folders, name), subject.name, [part], run)
    progress.end(name) if begun else progress.skip(name)


def _measure_constants(
    judge: Judge, parts: Sequence[Part], requests: int, directory: RunDirectory, progress: Progress
) -> None:
    """Grade constant answers, as far as that is not done."""

    def file_of(label: str) -> Path:
        return _constants_file(directory, label)

    if constants_done(parts, file_of):
        progress.skip(_CONSTANTS)
        return
    progress.begin(_CONSTANTS)
    measure_constants(parts, judge, file_of, on_done=progress.counter(_CONSTANTS, requests, "answers"))
    progress.end(_CONSTANTS)


def _in_reach(
    public: Sequence[PublicEval], directory: RunDirectory, *, graded: bool
) -> tuple[list[PublicEval], list[str]]:
    """The benchmarks that are complete or can run, and what the others lack."""
    missing = [e.name for e in public if not directory.rows_file(e.name).is_file()]
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
    options: Options,
    subject: Subject,
    evaluation: PublicEval,
    grader: Model | None,
    directory: RunDirectory,
    progress: Progress,
) -> list[str]:
    """Run one benchmark unless it is complete; returns what went wrong, and nothing is written then."""
    file = directory.rows_file(evaluation.name)
    if file.is_file():
        progress.skip(evaluation.name)
        return []
    progress.begin(evaluation.name)
    place = Place(subject.name, None, "plain")
    try:
        rows = run_public(place, inspect_model(subject), evaluation, directory.logs, grader=grader, limit=options.limit)
    except PublicEvalError as error:
        progress.note(str(error))
        return [str(error)]
    finally:
        progress.end(evaluation.name)
    write_atomically(file, lambda p: rows.write_parquet(p))
    return []


def inspect_model(subject: Subject) -> Model:
    """A subject as Inspect's own tasks take it."""
    if isinstance(subject, ApiSubject):
        return subject.model
    assert isinstance(subject, LocalSubject)
    return local_model(f"steadfast/{subject.name}", subject.lm, subject.chat, max_new_tokens=subject.max_new_tokens)


def _grader(options: Options) -> Model | None:
    """The judge as a model, for benchmarks that bring their own grading prompts."""
    if not options.judge.is_model or options.judge.model is None:
        return None
    return get_model(options.judge.model, config=GenerateConfig(temperature=0.0))


def _size(evaluation: PublicEval, options: Options) -> int:
    samples = evaluation.samples or _UNKNOWN_SAMPLES
    return min(samples, options.limit or samples)
