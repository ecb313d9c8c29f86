"""Judges for tests of the study: they count words, load nothing, and are named in recipes as a user's own would be."""

from steadfast.graders import Grade, Verdict, protocol_hash


class WordJudge:
    name = "words"
    settings = {"version": 1}

    def grade(self, answers):
        return [
            Grade(
                min(1.0, len(set(a.text)) / 40),
                tuple(Verdict(c.criterion, 0.5) for c in a.task.rubric),
                self.name,
                protocol_hash(self.name, self.settings, a.task),
            )
            for a in answers
        ]


class OtherWordJudge(WordJudge):
    name = "other-words"


class RubbishJudge(WordJudge):
    name = "rubbish"

    def grade(self, answers):
        return [Grade(float("nan"), (), self.name, "") for _ in answers]
