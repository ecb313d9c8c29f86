"""Judges for tests of the study: they count words, load nothing, and are named in recipes as a user's own would be."""

import os

from steadfast.errors import JudgeError
from steadfast.graders import Grade, Verdict, protocol_hash
from steadfast.graders.exam.polarity import KINDS, minimal_pairs


class NegationDeafJudge:
    """Fails the exam of polarity."""

    name = "deaf-words"
    settings = {"version": 1}

    def grade(self, answers):
        return [
            Grade(
                self.score(a.text),
                tuple(Verdict(c.criterion, 0.5) for c in a.task.rubric),
                self.name,
                protocol_hash(self.name, self.settings, a.task),
            )
            for a in answers
        ]

    def score(self, text):
        return min(1.0, len(set(text)) / 40)


class WordJudge(NegationDeafJudge):
    """Passes the exam of polarity by heart, so that it may train."""

    name = "words"
    known = {t: s for k in KINDS for p in minimal_pairs(k) for t, s in ((p.true, 1.0), (p.false, 0.0))}

    def score(self, text):
        return self.known.get(text, super().score(text))


class OtherWordJudge(WordJudge):
    name = "other-words"


class RubbishJudge(WordJudge):
    name = "rubbish"

    def grade(self, answers):
        return [Grade(float("nan"), (), self.name, "") for _ in answers]


class FailingJudge(WordJudge):
    """Fails in a process that has graded more often than an environment variable allows."""

    calls = 0

    def grade(self, answers):
        type(self).calls += 1
        if self.calls > float(os.environ.get("STEADFAST_TEST_JUDGE_FAILS_AFTER", "inf")):
            raise JudgeError("the judge has left the room")
        return super().grade(answers)
