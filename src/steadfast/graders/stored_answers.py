"""Grading stored answers: a file of scenarios, a file of answers, any judge."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from steadfast.errors import DataError
from steadfast.graders.grade import Judge, refuse_ungradable
from steadfast.rollouts import Rollout
from steadfast.tasks import load_tasks, read_jsonl_by_line


class StoredAnswer(BaseModel):
    """A line of an answers file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenario: str = Field(min_length=1)
    answer: str
    finished: bool = True


def load_answers(scenarios: Path, answers: Path) -> list[Rollout]:
    """Stored answers with their scenarios, in the file's order.

    Raises:
        DataError: faults of either file, or an answer to a scenario that is not there.
    """
    by_id = {s.id: s for s in load_tasks(scenarios)}
    lines = read_jsonl_by_line(answers, StoredAnswer)
    unknown = [
        f"{answers}:{number}: scenario: {a.scenario!r} is not in {scenarios}"
        for number, a in lines.items()
        if a.scenario not in by_id
    ]
    if unknown:
        raise DataError(unknown)
    return [Rollout.of_text(by_id[a.scenario], a.answer, a.finished) for a in lines.values()]


def grade_file(scenarios: Path, answers: Path, judge: Judge) -> list[dict[str, Any]]:
    """Grades as JSON objects, in the order of the answers.

    Raises:
        DataError: faults of either file, an answer to a scenario that is not there, or scenarios that the judge cannot
            grade.
    """
    given = load_answers(scenarios, answers)
    refuse_ungradable(judge, list({a.task.id: a.task for a in given}.values()))
    return [
        {
            "scenario": a.task.id,
            "score": g.score,
            "verdicts": [
                {"criterion": v.criterion, "score": v.score, **({"reason": v.reason} if v.reason else {})}
                for v in g.verdicts
            ],
            "judge": g.judge,
            "protocol": g.protocol,
            **({"gate": g.gate} if g.gate else {}),
            **({"error": g.error} if g.error else {}),
        }
        for a, g in zip(given, judge.grade(given), strict=True)
    ]
