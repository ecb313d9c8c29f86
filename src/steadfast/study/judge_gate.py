"""A judge that cannot tell a statement from its negation may not reward training, unless the user insists.

A policy learns whatever raises its reward. Where "I stopped" and "I did not stop" earn the same, it learns to speak of
stopping. The judge is therefore examined on minimal pairs before anything is trained.
"""

from typing import Any

from steadfast.errors import JudgeError
from steadfast.graders import Judge, ModelJudge
from steadfast.graders.exam.polarity import LEAST, NEGATIONS, examine_polarity, in_words, passes
from steadfast.graders.grade import WrappedJudge
from steadfast.progress import Progress
from steadfast.study.data import StudyData


def examine_training_judge(data: StudyData, judge: Judge, progress: Progress, *, force: bool) -> dict[str, Any] | None:
    """Examine the judge that rewards training, if it rewards any arm.

    Args:
        data: The run's data.
        judge: The training judge, with its cache: a resumed run does not ask again.
        progress: It is told the result and the calls that it cost.
        force: Whether a judge that fails may train all the same.

    Returns:
        The figures of `examine_polarity` for both kinds of negation, and whether the judge "passed"; None where no arm
        is rewarded by a judge.

    Raises:
        JudgeError: The judge fails, and nobody insists; or its limits are spent.
    """
    arms = judged_arms(data)
    if not arms:
        return None
    before = _calls(judge)
    polarity = examine_polarity(judge, NEGATIONS)
    cost = f"; it cost {calls - before} calls" if (calls := _calls(judge)) else ""
    progress.note(f"exam of polarity of judge {judge.name!r}: {in_words(polarity)}{cost}")
    passed = passes(polarity)
    if not passed and not force:
        raise JudgeError(
            f"judge {judge.name!r} fails the exam of polarity ({in_words(polarity)}; each must reach {LEAST}), so it "
            f"may not reward {_listed(arms)}: of two answers that differ by one negation it too often prefers the "
            "false one. Use a language model (judge: provider/model), train on twins, which programs check "
            "(data.train_on: [twins]), or go on all the same with --force (force=True in Python)"
        )
    return {**polarity, "passed": passed}


def judged_arms(data: StudyData) -> list[str]:
    """List the arms whose rewards a judge gives: trained by reinforcement on a slice with rubrics in it."""
    return [
        arm.name
        for arm in data.recipe.arms
        if arm.method == "rl" and any(t.grader.kind == "rubric" for t in data.slices[arm.name])
    ]


def _calls(judge: Judge) -> int:
    """Count the calls that a language model has been asked so far; 0 for any other judge."""
    while isinstance(judge, WrappedJudge):
        judge = judge.judge
    return judge.spent.calls if isinstance(judge, ModelJudge) else 0


def _listed(arms: list[str]) -> str:
    return f"arm{'s' * (len(arms) > 1)} {', '.join(map(repr, arms))}"
