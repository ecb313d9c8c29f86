"""A hash stands for the whole grading protocol, and a cache keeps grades under it."""

import hashlib
import json
import sqlite3
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from steadfast.errors import JudgeError
from steadfast.graders.grade import Grade, Judge, Verdict, WrappedJudge, grades_as_they_come
from steadfast.rollouts import Rollout
from steadfast.tasks.task import Task


def protocol_hash(name: str, settings: dict[str, Any], scenario: Task | None = None) -> str:
    """Hash all that decides a grade besides the answer: the judge, its settings, the scenario's text and its rubric.

    Args:
        name: The judge's name.
        settings: Everything that the judge's grades depend on.
        scenario: The scenario; None gives the hash of the judge's own protocol.
    """
    graded = None
    if scenario is not None:
        graded = {
            "messages": [m.model_dump(mode="json") for m in scenario.messages],
            "rubric": [c.model_dump(mode="json", exclude={"tags"}) for c in scenario.rubric],
        }
    text = json.dumps([name, settings, graded], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class CachedJudge(WrappedJudge):
    """A judge whose grades are kept in a SQLite file under the protocol's hash and the answer.

    Another judge, model, rubric or conversation has another hash, so no judge's verdict is served under another's
    name. Answers that could not be graded are not kept: they are tried again. Each grade is written as the judge gives
    it, so that neither a later fault nor a kill costs a grade that was paid for. A row is verified when it is read; one
    that was altered, or is no grade of this judge under this protocol, counts as absent, and a warning says so once.

    Attributes:
        faulty: The number of rows that were passed over because they did not hold what was written.

    Raises:
        JudgeError: The file cannot be opened, or is no cache of grades.
    """

    def __init__(self, judge: Judge, path: Path) -> None:
        super().__init__(judge)
        self.faulty = 0
        self._path = path
        with self._naming_the_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path)
            self._db.text_factory = bytes  # a damaged row may be no UTF-8, which is its own fault and not the file's
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS verified_grades "
                "(key TEXT PRIMARY KEY, grade TEXT NOT NULL, checksum TEXT NOT NULL)"
            )

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        """Take grades from the cache where it has them, and from the judge where it does not.

        Raises:
            JudgeError: The file is damaged or cannot be written, or the judge itself failed.
        """
        keyed = [self._key(answer) for answer in answers]
        found: dict[str, Grade] = {}
        before = self.faulty
        for key, protocol in dict.fromkeys(keyed):
            if (grade := self._lookup(key, protocol)) is not None:
                found[key] = grade
        self._warn_of_faulty_rows(before)
        missing = {key: answer for (key, _), answer in zip(keyed, answers, strict=True) if key not in found}
        keys = list(missing)
        for batch in grades_as_they_come(self.judge, list(missing.values())):
            fresh = {keys[place]: grade for place, grade in batch}
            self._keep(fresh)
            found |= fresh
        return [found[key] for key, _ in keyed]

    def _key(self, answer: Rollout) -> tuple[str, str]:
        """Give an answer's key in the file, and the protocol under which it is graded."""
        protocol = protocol_hash(self.name, self.settings, answer.task)
        text = f"{protocol}\0{answer.finished}\0{answer.text}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), protocol

    def _keep(self, grades: dict[str, Grade]) -> None:
        rows = [(key, json.dumps(asdict(g))) for key, g in grades.items() if g.score is not None]
        with self._naming_the_file(), self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO verified_grades VALUES (?, ?, ?)",
                [(key, text, _checksum(key, text.encode())) for key, text in rows],
            )

    def _lookup(self, key: str, protocol: str) -> Grade | None:
        """Look up the grade kept under a key; None if there is none, or none that can be trusted."""
        with self._naming_the_file():
            row = self._db.execute("SELECT grade, checksum FROM verified_grades WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        grade = _verified(key, *row)
        if grade is None or (grade.judge, grade.protocol) != (self.name, protocol):
            self.faulty += 1
            return None
        return grade

    def _warn_of_faulty_rows(self, before: int) -> None:
        if self.faulty > before == 0:
            warnings.warn(
                f"{self._path}: stored grades that were altered or damaged: {self.faulty}; they are graded anew",
                stacklevel=3,
            )

    @contextmanager
    def _naming_the_file(self) -> Generator[None]:
        """Raise a fault of the file as an error that names it; a full disk, whose remedy differs, keeps its own."""
        try:
            yield
        except (sqlite3.DatabaseError, FileExistsError, NotADirectoryError, PermissionError) as error:
            if "full" in str(error):
                raise
            raise JudgeError(
                f"{self._path}: the cache of grades cannot be used ({error}); if no other process holds it, move it "
                "away and run the same command again: what it held is graded anew"
            ) from error


def _checksum(key: str, grade: bytes) -> str:
    return hashlib.sha256(key.encode() + b"\0" + grade).hexdigest()


def _verified(key: str, text: Any, checksum: Any) -> Grade | None:
    """Read a row's grade; None unless it is what was written, and a grade."""
    if not isinstance(text, bytes) or checksum != _checksum(key, text).encode():
        return None
    try:
        stored = json.loads(text)
        stored["verdicts"] = tuple(Verdict(**verdict) for verdict in stored["verdicts"])
        grade = Grade(**stored)
        scores = [grade.score, *(verdict.score for verdict in grade.verdicts)]
        return grade if all(isinstance(s, float | int) and 0.0 <= s <= 1.0 for s in scores) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
