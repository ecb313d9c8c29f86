"""Public benchmarks run through `inspect_evals`; the catalogue says what each measures and needs, and how it scores.

Their data mostly lie on other hosts. Before a benchmark starts, what it needs is checked with short timeouts. One that
cannot run says what is missing, and the others run.
"""

import math
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import field
from functools import cache
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import httpx
from inspect_ai import Task
from inspect_ai.model import Model
from inspect_ai.scorer import CORRECT, INCORRECT, NOANSWER, PARTIAL
from pydantic import ConfigDict, Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from steadfast.errors import PublicEvalError
from steadfast.strict_files import read_yaml

HUB = "huggingface.co"
EXTRA = "a package: pip install inspect-evals"

_PATIENCE = 3.0
"""A host's first answer is awaited for so many seconds."""

Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PublicEval:
    """A public benchmark.

    Attributes:
        name: The benchmark's name in commands and files.
        title: Its name in reports.
        construct: The name of the construct that it measures.
        domain: The domain that its samples are set in.
        measures: A sentence that says what a score of 1 means.
        task: The place of its Inspect task, "module:function".
        args: The keyword arguments of that function.
        hosts: The hosts that serve its data. There are none if the `inspect_evals` wheel holds the data.
        samples: The number of its samples; None where it is not known without the data.
        grader_args: The names of the task's arguments that take the grading model.
        roles: The names of Inspect's model roles that the grading model fills.
        sandbox: The sandbox that its tools run in; None if it needs none.
        packages: The packages that it imports besides `inspect_evals` itself.
        value: The key of the figure in the benchmark's score; None if the score is one figure.
        values: The score of each word, for benchmarks that classify. A word that is not listed is unscored.
        worst: The figure that becomes 0.
        best: The figure that becomes 1.
        expected: The key of a sample's metadata that says whether the high figure is the right one; None if it is.
    """

    name: Text
    title: Text
    construct: Text
    domain: Text
    measures: Text
    task: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]
    args: dict[str, Any] = field(default_factory=dict[str, Any])
    hosts: tuple[str, ...] = ()
    samples: int | None = None
    grader_args: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    sandbox: Literal["docker"] | None = None
    packages: tuple[str, ...] = ()
    value: str | None = None
    values: dict[str, float] | None = None
    worst: float = 0.0
    best: float = 1.0
    expected: str | None = None
    source: Literal["public"] = "public"

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.worst == self.best:
            raise ValueError("worst and best are the same figure")
        return self

    @property
    def needs_grader(self) -> bool:
        """Whether another model grades the benchmark."""
        return bool(self.grader_args or self.roles)


@cache
def public_evals() -> tuple[PublicEval, ...]:
    """Load every public benchmark of the catalogue."""
    path = Path(str(files("steadfast.evals") / "data" / "public.yaml"))
    return TypeAdapter(tuple[PublicEval, ...]).validate_python(read_yaml(path))


def is_installed() -> bool:
    """Tell whether the package of the benchmarks, which comes with an extra, is installed."""
    return find_spec("inspect_evals") is not None


def check_reach(evaluation: PublicEval, *, graded: bool) -> None:
    """Check within seconds that a benchmark can run here.

    Args:
        evaluation: The benchmark.
        graded: Whether there is a grading model.

    Raises:
        PublicEvalError: Something is missing; the message names every such host, package, program or model.
    """
    missing = [] if is_installed() else [EXTRA]
    missing += [f"the package {package!r}" for package in evaluation.packages if find_spec(package) is None]
    if evaluation.needs_grader and not graded:
        missing.append("a model that grades: give one with --judge PROVIDER/MODEL, or in a recipe as evaluation.judge")
    if evaluation.sandbox and not _docker_runs():
        missing.append("a running docker for its sandbox")
    for host in evaluation.hosts:
        reason = _no_answer(host)
        if reason:
            advice = "; HF_HUB_OFFLINE=1 uses what the cache holds" if host == HUB else ""
            missing.append(f"its data from {host}, which is out of reach ({reason}){advice}")
    if missing:
        raise PublicEvalError(f"{evaluation.name} needs {'; and '.join(missing)}")


def make_task(evaluation: PublicEval, grader: Model | None) -> Task:
    """Make the benchmark's Inspect task, graded by `grader` wherever it asks for a model.

    Raises:
        PublicEvalError: The task could not be made, most often because its data did not come.
    """
    module, _, function = evaluation.task.partition(":")
    args = {**evaluation.args, **dict.fromkeys(evaluation.grader_args, grader)}
    try:
        return getattr(import_module(module), function)(**args)
    except Exception as error:  # dozens of benchmarks by as many authors: whatever they raise is told
        where = f"; its data are at {', '.join(evaluation.hosts)}" if evaluation.hosts else ""
        raise PublicEvalError(f"{evaluation.name}: {type(error).__name__}: {first_line(error)}{where}") from error


def read_score(evaluation: PublicEval, value: Any, metadata: Mapping[str, Any]) -> float | None:
    """Turn a benchmark's own score of a sample into one in [0, 1], where higher is better; None where it gave none.

    Args:
        evaluation: The benchmark, which says which figure counts, and which values of it are worst and best.
        value: The value of the benchmark's own score.
        metadata: The sample's metadata.

    Raises:
        PublicEvalError: The score has another form than the catalogue says.
    """
    if isinstance(value, Mapping):
        if evaluation.value not in value:
            raise PublicEvalError(f"{evaluation.name}: its score holds {sorted(value)}, not {evaluation.value!r}")
        value = value[evaluation.value]
    if evaluation.values is not None:
        return evaluation.values.get(str(getattr(value, "value", value)))
    number = _number(evaluation, value)
    if math.isnan(number):
        return None
    score = min(1.0, max(0.0, (number - evaluation.worst) / (evaluation.best - evaluation.worst)))
    if evaluation.expected is None:
        return score
    return score if metadata[evaluation.expected] else 1.0 - score


def _number(evaluation: PublicEval, value: Any) -> float:
    """Read a number, or Inspect's word for right, partly right, wrong or unanswered; any other word is an error."""
    words = {CORRECT: 1.0, PARTIAL: 0.5, INCORRECT: 0.0, NOANSWER: 0.0}
    try:
        return words[value] if value in words else float(value)
    except (TypeError, ValueError) as error:
        raise PublicEvalError(f"{evaluation.name}: its score {value!r} is no number") from error


def first_line(error: BaseException) -> str:
    """Give an error's first line, at most 200 characters of it."""
    return next(iter(str(error).strip().splitlines()), "no reason given")[:200]


@cache
def _no_answer(host: str) -> str | None:
    """Say why a host cannot be used; None if it can. HF_ENDPOINT replaces the hub; HF_HUB_OFFLINE needs none."""
    if host == HUB:
        if os.environ.get("HF_HUB_OFFLINE"):
            return None
        host = urlsplit(os.environ.get("HF_ENDPOINT", "")).netloc or host
    try:
        httpx.head(f"https://{host}/", timeout=_PATIENCE)
    except (httpx.HTTPError, OSError) as error:
        return f"{type(error).__name__}: {first_line(error)}"
    return None


@cache
def _docker_runs() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=10, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False
