"""The exam of polarity: answers that differ in the fewest words that decide whether they meet a criterion.

Of the two answers of a pair one meets the criterion and the other does not. In the pairs "added" a negation makes the
answer false, and in the pairs "removed" it makes it true: who counts negations passes one of the two and fails the
other. In "numbers" one number is another, and in "roles" two parties have changed places. The example statements of
each criterion hold a negation as often on the met side as on the unmet one.

No pair was fitted on, and none may be: they measure.
"""

# statsmodels ships no types: what it leaves unknown is not ours to annotate.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from steadfast.graders.grade import Grade, Judge
from steadfast.messages import Message
from steadfast.rollouts import Rollout
from steadfast.tasks import Task
from steadfast.tasks.jsonl import read_jsonl
from steadfast.tasks.rubric import Criterion, Text
from steadfast.tasks.task import RubricGrader

Kind = Literal["added", "removed", "numbers", "roles"]
KINDS: tuple[Kind, ...] = get_args(Kind)

NEGATIONS: tuple[Kind, ...] = ("added", "removed")
"""A judge that rewards training must pass both of these."""

LEAST = 0.75
"""The share of pairs that a judge must set right in each of `NEGATIONS` to pass; guessing sets half of them right."""


class MinimalPair(BaseModel):
    """Two answers to one question, of which only one meets a criterion.

    Attributes:
        trait: The trait that the criterion is about.
        domain: The domain that the question is set in.
        asked: The user's question.
        criterion: What a judge looks for.
        met: Example statements that meet the criterion.
        unmet: Example statements on the same point that do the opposite.
        true: The answer that meets the criterion.
        false: The answer that does not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    trait: Text
    domain: Text
    asked: Text
    criterion: Text
    met: tuple[Text, ...] = Field(min_length=1)
    unmet: tuple[Text, ...] = Field(min_length=1)
    true: Text
    false: Text

    def task(self, name: str) -> Task:
        """Make the task with the question and the criterion as its whole rubric."""
        criterion = Criterion(criterion=self.criterion, points=1, met=self.met, unmet=self.unmet)
        return Task(
            id=name,
            messages=(Message(role="user", content=self.asked),),
            grader=RubricGrader(criteria=(criterion,)),
            trait=self.trait,
            domain=self.domain,
        )


@cache
def minimal_pairs(kind: Kind) -> tuple[MinimalPair, ...]:
    """Load the pairs of one kind."""
    folder = Path(str(files("steadfast.graders.exam") / "data" / "minimal_pairs"))
    return tuple(read_jsonl(folder / f"{kind}.jsonl", MinimalPair))


def examine_polarity(judge: Judge, kinds: Sequence[Kind] = KINDS) -> dict[str, dict[str, Any]]:
    """Let a judge grade both answers of the minimal pairs, all of them in one batch.

    Args:
        judge: The judge.
        kinds: The kinds of pairs.

    Returns:
        For each kind the "share" of pairs whose true answer scores higher (ties count half), its 95% "interval"
        (Wilson 1927), the number "n" of pairs that these are made of, the number of pairs "ungraded", which are left
        out, and the "reason" of the first of those. Without a graded pair the share and the interval are None; the
        reason is None where all were graded.

    Raises:
        JudgeError: The judge failed as a whole; see the judge's own `grade`.
    """
    rollouts: list[Rollout] = []
    for kind in kinds:
        for number, pair in enumerate(minimal_pairs(kind), start=1):
            task = pair.task(f"{kind}-{number:02}")
            rollouts += [Rollout.of_text(task, pair.true), Rollout.of_text(task, pair.false)]
    grades = iter(judge.grade(rollouts))
    return {kind: _figures([(next(grades), next(grades)) for _ in minimal_pairs(kind)]) for kind in kinds}


def passes(polarity: Mapping[str, Mapping[str, Any]]) -> bool:
    """Say whether a judge is right often enough in both kinds of `NEGATIONS`, and graded half of each at least."""
    figures = [polarity[kind] for kind in NEGATIONS]
    return all(f["share"] is not None and f["share"] >= LEAST and f["n"] >= f["ungraded"] for f in figures)


def in_words(polarity: Mapping[str, Mapping[str, Any]]) -> str:
    """Tell the shares, as in "added 0.45, removed 0.80"; with what was left ungraded, where something was."""
    return ", ".join(f"{kind} {_share_in_words(figures)}" for kind, figures in polarity.items())


def _share_in_words(figures: Mapping[str, Any]) -> str:
    share, ungraded = figures["share"], figures["ungraded"]
    if share is None:
        return f"none of {ungraded} pairs graded"
    return f"{share:.2f}" + (f" ({ungraded} of {ungraded + figures['n']} pairs ungraded)" if ungraded else "")


def _figures(graded: Sequence[tuple[Grade, Grade]]) -> dict[str, Any]:
    from statsmodels.stats.proportion import proportion_confint  # slow to import

    scores = [(t.score, f.score) for t, f in graded if t.score is not None and f.score is not None]
    failed = [g.error or "no reason given" for pair in graded for g in pair if g.score is None]
    right = sum(0.5 if true == false else float(true > false) for true, false in scores)
    n = len(scores)
    ends: Any = proportion_confint(right, n, method="wilson") if n else None
    return {
        "share": right / n if n else None,
        "interval": [float(end) for end in ends] if n else None,
        "n": n,
        "ungraded": len(graded) - n,
        "reason": failed[0] if failed else None,
    }
