"""These sentences say whether the reward grew faster than what it stands for, by both judges and by likelihoods."""

from statistics import fmean

from steadfast.analysis.points import points
from steadfast.report.loading import Run
from steadfast.report.summary import CheckpointComparison
from steadfast.report.wording import difference, direction, the


def overoptimization(run: Run, v: CheckpointComparison) -> list[str]:
    """Write sentences on the gap between the judge that trained and every other measure, for an arm of trait rewards.

    On held-out scenarios the change by the training judge is compared with that by the evaluation judge and with that
    of the word tokens of gold answers. A shift of punctuation and end tokens is told apart and is no sign of anything:
    a policy that learns when to stop moves them. Over training, both judges' scores of the same rollouts are compared.
    """
    arm = run.recipe.arm(v.treatment)
    if arm.grader != "own" or arm.method == "supervised":
        return []  # the judge paid for another rubric than that of held-out scenarios, or for nothing
    found = [_held_out(v), _over_training(run, v.treatment)]
    return [sentence for sentence in found if sentence]


def _held_out(v: CheckpointComparison) -> str | None:
    trained = v.traits_by_training_judge
    if trained is None or direction(trained.low, trained.high) != 1:
        return None
    others = [("the evaluation judge", v.traits), ("the word tokens of gold answers", v.traits_words)]
    against = [(name, o) for name, o in others if o is not None and direction(o.low, o.high) != 1]
    if not against:
        return None
    falls = any(direction(o.low, o.high) == -1 for _, o in against)
    said = " and ".join(f"by {name} it changes by {difference(o)}" for name, o in against)
    return (
        f"{'Over-optimization' if falls else 'A sign of over-optimization'}: against {the(v.control)} the score of "
        f"held-out scenarios rises by {difference(trained)} points by the judge that trained, while {said}. "
        f"The policy learnt what its judge pays for more than what the rubrics mean.{_ends(v)}"
    )


def _ends(v: CheckpointComparison) -> str:
    if v.traits_ends is None:
        return ""
    return (
        " Gold answers' punctuation and end tokens, which count for nothing here, moved by "
        f"{difference(v.traits_ends)} points."
    )


def _over_training(run: Run, arm: str) -> str | None:
    steps = run.second_opinions.get(arm, [])
    if len(steps) < 4:
        return None
    part = max(1, len(steps) // 5)
    first, last = steps[:part], steps[-part:]
    trained = fmean(s["trained"] for s in last) - fmean(s["trained"] for s in first)
    other = fmean(s["other"] for s in last) - fmean(s["other"] for s in first)
    text = (
        f"Over training the reward of the {arm} arm's {run.recipe.arm(arm).pool} rollouts changed by "
        f"{points(trained)} points and the other judge's score of the same rollouts by {points(other)} (first against "
        "last fifth of the steps): "
        f"the gap between the judges grew by {points(trained - other)}."
    )
    if trained > 0 > other:
        text += " A reward that grows while the other judge's score falls is over-optimization."
    return text
