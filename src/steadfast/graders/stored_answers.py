"""This module grades the answers of a file to the scenarios of another file, with any judge."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from steadfast.errors import DataError
from steadfast.graders.dispatch import grade_rollouts
from steadfast.graders.grade import Judge, refuse_ungradable
from steadfast.messages import printable
from steadfast.rollouts import Rollout
from steadfast.tasks import Task, Taxonomy, load_tasks, read_jsonl_by_line


class StoredAnswer(BaseModel):
    """A line of a file of answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenario: str = Field(min_length=1)
    answer: str
    finished: bool = True


def load_answers(scenarios: Path, answers: Path, taxonomy: Taxonomy | None = None) -> list[Rollout]:
    """Load stored answers with their scenarios, in the file's order.

    Args:
        scenarios: The file of the scenarios.
        answers: The file of the answers.
        taxonomy: The traits and domains that the scenarios may name; None means those that ship.

    Raises:
        DataError: There are faults in either file, or an answer is to a scenario that is not there.
    """
    by_id = {s.id: s for s in load_tasks(scenarios, taxonomy)}
    lines = read_jsonl_by_line(answers, StoredAnswer)
    unknown = [
        f"{answers}:{number}: scenario: {a.scenario!r} is not in {scenarios}"
        for number, a in lines.items()
        if a.scenario not in by_id
    ]
    if unknown:
        raise DataError(unknown)
    return [Rollout.of_text(by_id[a.scenario], a.answer, a.finished) for a in lines.values()]


def grade_file(scenarios: Path, answers: Path, judge: Judge, taxonomy: Taxonomy | None = None) -> list[dict[str, Any]]:
    """Grade stored answers and give the grades as JSON objects, in the order of the answers.

    Each answer is graded by the grader that its scenario names.

    Args:
        scenarios: The file of the scenarios.
        answers: The file of the answers.
        judge: It grades the answers to scenarios with a rubric.
        taxonomy: The traits and domains that the scenarios may name; None means those that ship.

    Raises:
        DataError: There are faults in either file, an answer is to a scenario that is not there, or no stored answer to
            a scenario can be graded, by this judge or at all.
    """
    given = load_answers(scenarios, answers, taxonomy)
    tasks = list({a.task.id: a.task for a in given}.values())
    _refuse_unanswered(tasks)
    refuse_ungradable(judge, [t for t in tasks if t.grader.kind == "rubric"])
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
        for a, g in zip(given, grade_rollouts(given, judge), strict=True)
    ]


def _refuse_unanswered(tasks: Sequence[Task]) -> None:
    needs = {"preference": "compares the likelihood of given replies", "outcome": "follows a model through its tools"}
    problems = [
        f"scenario {printable(t.id)!r}: its {t.grader.kind} grader {needs[t.grader.kind]} and grades no stored answer"
        for t in tasks
        if t.grader.kind in needs
    ]
    if problems:
        raise DataError(problems)
