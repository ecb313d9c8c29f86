"""Judges of a user's own, without weights."""

from collections.abc import Sequence

from steadfast.graders import Grade, Verdict, protocol_hash
from steadfast.rollouts import Rollout


class HalfJudge:
    """Gives every answer a half, except one that says that it cannot be graded."""

    name = "half"
    settings = {"version": 1}

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        return [
            Grade(
                None if a.text == "ungradable" else 0.5,
                tuple(Verdict(c.criterion, 0.5) for c in a.task.rubric),
                self.name,
                protocol_hash(self.name, self.settings, a.task),
                error="no verdict" if a.text == "ungradable" else None,
            )
            for a in answers
        ]


class LengthJudge:
    """The longer an answer, the better."""

    name, divisor = "length", 1000
    settings = {"version": 1}

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        return [self._one(a, len(a.text) / self.divisor) for a in answers]

    def _one(self, answer: Rollout, score: float) -> Grade:
        verdicts = tuple(Verdict(c.criterion, score, reason="because") for c in answer.task.rubric)
        return Grade(score, verdicts, self.name, protocol_hash(self.name, self.settings, answer.task))


class HalvedLengthJudge(LengthJudge):
    """Orders as LengthJudge does, on another scale."""

    name, divisor = "halved length", 2000


class BlindJudge:
    """Can grade nothing."""

    name = "blind"
    settings = {"version": 1}

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        return [Grade(None, (), self.name, "none", error="it is dark") for _ in answers]


class BrokenJudge:
    """A judge whose own code has a bug that no boundary of ours knows."""

    name = "broken"
    settings = {"version": 1}

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        raise RuntimeError("a bug of the user's")
