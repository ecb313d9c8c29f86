"""Each rollout is graded by the grader that its task names in its data."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from steadfast.errors import SteadfastError
from steadfast.graders.grade import Grade, Judge
from steadfast.graders.outcome import grade_outcome
from steadfast.graders.program import grade_program
from steadfast.graders.refusal import grade_refusal
from steadfast.rollouts import Rollout

UNSHOWN = "unshown"
"""The gate of a task that cannot be shown to the model: it has no score, and asking again would not give it one."""

_BY_KIND: Mapping[str, Callable[[Rollout], Grade]] = {
    "program": grade_program,
    "outcome": grade_outcome,
    "refusal": grade_refusal,
}


def grade_rollouts(rollouts: Sequence[Rollout], judge: Judge) -> list[Grade]:
    """Give one grade for each rollout, in order.

    Args:
        rollouts: The rollouts, of any tasks whose grader grades an answer.
        judge: It grades the rollouts whose task has a rubric, all of them in one batch. A rollout without an answer is
            never handed to it, and has no score.

    Raises:
        SteadfastError: A task's grader compares references, so no rollout of it can be graded.
    """
    judged = [r for r in rollouts if r.task.grader.kind == "rubric" and r.answered]
    verdicts = iter(judge.grade(judged) if judged else ())
    return [_grade(rollout, verdicts, judge.name) for rollout in rollouts]


def _grade(rollout: Rollout, verdicts: Iterator[Grade], judge: str) -> Grade:
    kind = rollout.task.grader.kind
    if not rollout.answered:
        asked, gate = judge if kind == "rubric" else kind, UNSHOWN if rollout.stop == UNSHOWN else None
        return Grade(None, (), asked, "", gate=gate, error=rollout.reason or "there is no answer")
    if kind == "rubric":
        return next(verdicts)
    if kind not in _BY_KIND:
        raise SteadfastError(f"task {rollout.task.id!r}: a {kind} grader compares references and grades no rollout")
    return _BY_KIND[kind](rollout)
