"""What was measured as logs of Inspect's, for `inspect view`: written from the rows, after them."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain, count
from math import isnan
from pathlib import Path
from typing import Any

from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalMetric,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    EvalStats,
    write_eval_log,
)
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser, ModelOutput
from inspect_ai.scorer import Score

from steadfast.evals.measure import Condition, Measured, Part, Preference
from steadfast.evals.messages import as_chat
from steadfast.files import write_atomically
from steadfast.graders.grade import Grade
from steadfast.rollouts import Rollout
from steadfast.tasks.suite import SuiteInfo
from steadfast.tasks.task import Task


def write_logs(directory: Path, model: str, parts: Sequence[Part], measured: Measured, condition: Condition) -> None:
    """Write a log for each suite and way of scoring it.

    Args:
        directory: Where the logs go, one file each, named after suite and grader; a later session's are numbered.
        model: The checkpoint's name, as the log shows it.
        parts: What was measured.
        measured: What came of it.
        condition: How the model was asked; a persona's text and a preface's turns stand in the log beside the
            condition's name.
    """
    for part in parts:
        suite = part.suite
        compared = [_compared(t, p) for t, p in measured.preferences.get(suite.name, ())]
        answered = [_answered(model, r, g) for r, g in measured.rollouts.get(suite.name, ())]
        for grader, samples in (("preference", compared), ("answers", answered)):
            if samples:
                log = _log(model, suite, grader, samples, condition)
                file = _free(directory, f"{suite.name.replace(':', '-')}-{grader}")
                write_atomically(file, lambda path, log=log: write_eval_log(log, path, format="eval"))


def _free(directory: Path, name: str) -> Path:
    """The file for a log; one of an earlier session, which held other samples, keeps its own."""
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(file for n in names if not (file := directory / f"{n}.eval").exists())


def _log(model: str, suite: SuiteInfo, grader: str, samples: list[EvalSample], condition: Condition) -> EvalLog:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    values = [s.as_float() for sample in samples for s in (sample.scores or {}).values()]
    values = [v for v in values if not isnan(v)]
    mean = EvalMetric(name="mean", value=sum(values) / len(values)) if values else None
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=now,
            task=f"{suite.name}-{grader}",
            task_display_name=f"{suite.title} ({grader})",
            dataset=EvalDataset(name=suite.name, samples=len(samples), sample_ids=[s.id for s in samples]),
            model=f"steadfast/{model}",
            config=EvalConfig(),
            packages={"steadfast-rl": version("steadfast-rl")},
            metadata={
                "construct": suite.construct,
                "domain": suite.domain,
                "measures": suite.measures,
                "condition": condition.name,
                "persona": condition.persona,
                "preface": [m.model_dump() for m in condition.preface],
            },
            tags=[suite.construct, grader],
        ),
        results=EvalResults(
            total_samples=len(samples),
            completed_samples=len(samples),
            scores=[
                EvalScore(
                    name=grader,
                    scorer=grader,
                    scored_samples=len(values),
                    unscored_samples=len(samples) - len(values),
                    metrics={"mean": mean} if mean else {},
                )
            ],
        ),
        stats=EvalStats(started_at=now, completed_at=now),
        samples=samples,
    )


def _compared(task: Task, found: Preference) -> EvalSample:
    metadata: dict[str, Any] = {"good": list(task.references.good), "bad": list(task.references.bad)}
    metadata |= {name: asdict(compared) for name, compared in found.compared.items()}
    return EvalSample(
        id=task.id,
        epoch=1,
        input=as_chat(task.messages),
        target=task.references.good[0],
        messages=as_chat(task.messages),
        scores={"preference": _score(found.score, None, found.reason, metadata)},
    )


def _answered(model: str, rollout: Rollout, grade: Grade) -> EvalSample:
    said: list[ChatMessage] = [
        ChatMessageAssistant(content=s.text) if s.role == "assistant" else ChatMessageUser(content=s.text)
        for s in rollout.segments
        if s.role != "prompt"
    ]
    metadata = {
        "judge": grade.judge,
        "protocol": grade.protocol,
        "gate": grade.gate,
        "finished": rollout.finished,
        "thoughts": rollout.thoughts or None,
        "verdicts": [{"criterion": v.criterion, "score": v.score, "reason": v.reason} for v in grade.verdicts],
    }
    return EvalSample(
        id=rollout.task.id,
        epoch=1,
        input=as_chat(rollout.task.messages),
        target=rollout.task.references.good[0] if rollout.task.references.good else "",
        messages=[*as_chat(rollout.task.messages), *said],
        output=ModelOutput.from_content(
            f"steadfast/{model}", rollout.text, "stop" if rollout.finished else "max_tokens"
        ),
        scores={rollout.task.grader.kind: _score(grade.score, rollout.transcript, grade.error, metadata)},
    )


def _score(value: float | None, answer: str | None, reason: str | None, metadata: dict[str, Any]) -> Score:
    if value is None:
        return Score.unscored(reason=reason or "ungraded", answer=answer, metadata=metadata)
    return Score(value=value, answer=answer, metadata=metadata)
