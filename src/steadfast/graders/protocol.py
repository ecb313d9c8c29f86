"""The whole grading protocol as a hash, and a cache of grades under it."""

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from steadfast.graders.grade import Grade, Judge, Verdict, WrappedJudge
from steadfast.rollouts import Rollout
from steadfast.tasks.task import Task


def protocol_hash(name: str, settings: dict[str, Any], scenario: Task | None = None) -> str:
    """Hash of all that decides a grade besides the answer: judge, its settings, and the scenario's text and rubric.

    Args:
        name: of the judge.
        settings: everything its grades depend on.
        scenario: None for the judge's own protocol.
    """
    graded = None
    if scenario is not None:
        graded = {
            "messages": [m.model_dump(mode="json") for m in scenario.messages],
            "rubric": [c.model_dump(mode="json", exclude={"tags"}) for c in scenario.rubric],
        }
    text = json.dumps([name, settings, graded], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


_TRANSACTION = 256
"""Answers graded before their grades are kept: what a kill costs at most, where grades are paid for."""


class CachedJudge(WrappedJudge):
    """A judge whose grades are kept in a SQLite file under the protocol's hash and the answer.

    Another judge, model, rubric or conversation has another hash, so no judge's verdict is served under another's
    name. Answers that could not be graded are not kept: they are tried again.
    """

    def __init__(self, judge: Judge, path: Path) -> None:
        super().__init__(judge)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("CREATE TABLE IF NOT EXISTS grades (key TEXT PRIMARY KEY, grade TEXT NOT NULL)")

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        """Grades from the cache, the rest from the judge; each batch is kept before the next one is asked for."""
        keys = [self._key(answer) for answer in answers]
        found = {key: grade for key in dict.fromkeys(keys) if (grade := self._lookup(key)) is not None}
        missing = {key: answer for key, answer in zip(keys, answers, strict=True) if key not in found}
        keys_left = list(missing)
        for start in range(0, len(keys_left), _TRANSACTION):
            batch = keys_left[start : start + _TRANSACTION]
            fresh = dict(zip(batch, self.judge.grade([missing[key] for key in batch]), strict=True))
            with self._db:
                self._db.executemany(
                    "INSERT OR REPLACE INTO grades VALUES (?, ?)",
                    [(key, json.dumps(asdict(g))) for key, g in fresh.items() if g.score is not None],
                )
            found |= fresh
        return [found[key] for key in keys]

    def _key(self, answer: Rollout) -> str:
        protocol = protocol_hash(self.name, self.settings, answer.task)
        text = f"{protocol}\0{answer.finished}\0{answer.text}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _lookup(self, key: str) -> Grade | None:
        row = self._db.execute("SELECT grade FROM grades WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        stored = json.loads(row[0])
        stored["verdicts"] = tuple(Verdict(**v) for v in stored["verdicts"])
        return Grade(**stored)
