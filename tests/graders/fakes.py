"""Judges that give what a test tells them to, and remember what they were asked."""

from collections.abc import Callable, Sequence
from typing import Any

from steadfast.graders import Grade, Verdict, protocol_hash
from steadfast.rollouts import Rollout


class FakeJudge:
    def __init__(
        self,
        score: Callable[[Rollout], float | None] = lambda a: len(a.text) / 1000,
        name: str = "fake",
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.score, self.name, self.settings = score, name, settings or {"version": 1}
        self.asked: list[str] = []

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        self.asked += [a.text for a in answers]
        return [self._one(a) for a in answers]

    def _one(self, answer: Rollout) -> Grade:
        protocol = protocol_hash(self.name, self.settings, answer.task)
        score = self.score(answer)
        if score is None:
            return Grade(None, (), self.name, protocol, error="no verdict")
        verdicts = tuple(Verdict(c.criterion, score, reason="because") for c in answer.task.rubric)
        return Grade(score, verdicts, self.name, protocol, detail={"tokens": 7})


class Canned:
    """Gives the same object whatever it is asked."""

    name = "canned"
    settings: dict[str, Any] = {}

    def __init__(self, grades: Any = None) -> None:
        self.grades = grades

    def grade(self, answers: Sequence[Rollout]) -> Any:
        return self.grades


class Refuses:
    """A judge that cannot be made."""

    def __init__(self) -> None:
        raise ValueError("no API key")


class Nameless:
    """A judge without a name."""

    settings: dict[str, Any] = {}


class Unsettled:
    """A judge whose settings cannot be written down, so that its grades belong to no protocol."""

    name = "unsettled"
    settings: dict[str, Any] = {"model": object()}


class Half(FakeJudge):
    """Orders as FakeJudge does, on another scale and under another name."""

    def __init__(self) -> None:
        super().__init__(lambda a: len(a.text) / 2000, "half")
