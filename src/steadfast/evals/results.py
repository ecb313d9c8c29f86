"""Rows of results.parquet: one an item under a scoring, read from Inspect's logs."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inspect_ai import Task
from inspect_ai.log import EvalLog, EvalSample

from steadfast.errors import EvaluationError
from steadfast.graders.refusal import is_refusal
from steadfast.tasks.battery import Eval


@dataclass(frozen=True)
class Plan:
    """An Inspect task and what its samples are in the results.

    Attributes:
        task: to run.
        kind: of its rows.
        evaluation: it belongs to.
        scoring: "choice", "generation" or "verified".
        constructs: for items that stand for an eval of their own: (eval, construct, domain) by item.
    """

    task: Task
    kind: str
    evaluation: Eval
    scoring: str
    constructs: Mapping[str, tuple[str, str, str]] = field(default_factory=dict[str, tuple[str, str, str]])


def plan_rows(checkpoint: str, plan: Plan, log: EvalLog) -> list[dict[str, Any]]:
    """The rows of a finished task.

    Raises:
        EvaluationError: the task did not finish; its log, whose place is named, says why.
    """
    if log.status != "success" or log.samples is None:
        reason = log.error.message if log.error else log.status
        raise EvaluationError(
            f"eval {plan.task.name} on {checkpoint} did not finish: {reason}\n"
            f"its log is {log.location}; run the same command again to go on"
        )
    return [_row(checkpoint, plan, sample) for sample in log.samples]


def _row(checkpoint: str, plan: Plan, sample: EvalSample) -> dict[str, Any]:
    item, evaluation = str(sample.id), plan.evaluation
    name, construct, domain = plan.constructs.get(item, (evaluation.name, evaluation.construct, evaluation.domain))
    value, answer, metadata = math.nan, None, dict[str, Any]()
    if sample.scores:
        score = next(iter(sample.scores.values()))
        value, metadata = score.as_float(), dict(score.metadata or {})
        answer = score.answer if plan.scoring != "choice" else None
        if score.reason:
            metadata["ungraded"] = score.reason
    elif sample.error:
        metadata["ungraded"] = sample.error.message
    return {
        "checkpoint": checkpoint,
        "kind": plan.kind,
        "eval": name,
        "construct": construct,
        "domain": domain,
        "source": evaluation.source,
        "scoring": plan.scoring,
        "item": item,
        "score": None if math.isnan(value) else value,
        "answer": answer,
        "finished": metadata.get("finished"),
        "refused": None if answer is None else metadata.get("refused", is_refusal(answer)),
        "detail": json.dumps(metadata, ensure_ascii=False),
    }
