"""This module runs a public benchmark on a model and turns its samples into rows of results.parquet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import Model

from steadfast.evals.public import PublicEval, PublicEvalError, first_line, make_task, read_score
from steadfast.evals.rows import PUBLIC, ROW_SCHEMA, Place, table
from steadfast.graders.refusal import is_refusal

_SAMPLE_SECONDS = 1800
"""One sample may take so many seconds, so that no benchmark hangs."""


def run_public(
    place: Place,
    model: Model,
    evaluation: PublicEval,
    log_dir: Path,
    *,
    grader: Model | None,
    limit: int | None = None,
) -> pl.DataFrame:
    """Run a benchmark, write Inspect's log to `log_dir`, and return the rows.

    A sample that fails is unscored, with the reason. A benchmark none of whose samples was scored is an error.

    Args:
        place: The checkpoint and condition that the rows belong to.
        model: The model under test.
        evaluation: The benchmark, which `check_reach` let pass.
        log_dir: The folder of the log.
        grader: The model that grades, which is never the one under test; None if there is none.
        limit: At most so many samples are run; None runs all.

    Raises:
        PublicEvalError: The benchmark could not be made or run, or its scores have another form than the catalogue
            says.
    """
    task = make_task(evaluation, grader)
    try:
        (log,) = inspect_eval(
            task,
            model=model,
            model_roles=dict.fromkeys(evaluation.roles, grader) if grader else {},
            limit=limit,
            log_dir=str(log_dir),
            display="none",
            fail_on_error=False,
            time_limit=_SAMPLE_SECONDS,
            log_realtime=False,
            score_display=False,
        )
    except Exception as error:  # whatever a benchmark's own set-up raises
        raise PublicEvalError(f"{evaluation.name}: {type(error).__name__}: {first_line(error)}") from error
    if log.status == "cancelled":  # Inspect keeps an interruption to itself
        raise KeyboardInterrupt
    return table(_rows(place, evaluation, log))


def _rows(place: Place, evaluation: PublicEval, log: EvalLog) -> list[dict[str, Any]]:
    samples = {str(s.id): s for s in log.samples or []}
    scored = _values(evaluation, log)
    if not scored:
        raise PublicEvalError(f"{evaluation.name}: no sample was scored: {_why(log)}; see {log.location}")
    return [_row(place, evaluation, sample, scored.get(item)) for item, sample in samples.items()]


def _values(evaluation: PublicEval, log: EvalLog) -> Mapping[str, Any]:
    """Collect the benchmark's score of each sample: reduced over epochs as it wants, or the first epoch's word."""
    if evaluation.values is None and log.reductions:
        return {str(s.sample_id): s.value for s in log.reductions[0].samples}
    first: dict[str, Any] = {}
    for sample in log.samples or []:
        if sample.scores:
            first.setdefault(str(sample.id), next(iter(sample.scores.values())).value)
    return first


def _row(place: Place, evaluation: PublicEval, sample: EvalSample, value: Any) -> dict[str, Any]:
    answer = sample.output.completion
    score = None if value is None else read_score(evaluation, value, sample.metadata)
    reason = None
    if score is None:
        reason = sample.error.message if sample.error else f"the benchmark gave no score (its value is {value!r})"
    return {
        **dict.fromkeys(ROW_SCHEMA),
        **place.fields,
        "kind": "public",
        "suite": evaluation.name,
        "construct": evaluation.construct,
        "domain": evaluation.domain,
        "source": evaluation.source,
        "task": str(sample.id),
        "grader": PUBLIC,
        "score": score,
        "reason": reason,
        "answer": answer,
        "finished": None if sample.output.empty else sample.output.stop_reason == "stop",
        "refused": is_refusal(answer),
    }


def _why(log: EvalLog) -> str:
    if log.error:
        return first_line(Exception(log.error.message))
    errors = [s.error.message for s in log.samples or [] if s.error]
    return first_line(Exception(errors[0])) if errors else log.status
