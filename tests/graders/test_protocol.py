import json
import sqlite3
import subprocess
import sys
import warnings

import pytest

from steadfast.errors import JudgeError
from steadfast.graders import CachedJudge, CheckedJudge, protocol_hash
from steadfast.graders import protocol as protocols
from steadfast.messages import Message
from steadfast.rollouts import Rollout
from steadfast.tasks import Criterion
from tests.graders.fakes import FakeJudge


def variants(scenario):
    """The scenario with one thing that a judge reads changed."""
    first, *rest = scenario.rubric

    def with_first(**changes):
        return scenario.with_rubric((first.model_copy(update=changes), *rest))

    return {
        "conversation": scenario.model_copy(update={"messages": (Message(role="user", content="Another?"),)}),
        "criterion": with_first(criterion="Another."),
        "points": with_first(points=first.points + 1),
        "met": with_first(met=("Another.",)),
        "unmet": with_first(unmet=("Another.",)),
        "fewer criteria": scenario.with_rubric((first,)),
        "order of criteria": scenario.with_rubric(scenario.rubric[::-1]),
        "one more": scenario.with_rubric(
            (*scenario.rubric, Criterion(criterion="x", points=1, met=("y",), unmet=("z",)))
        ),
    }


CHANGES = ["conversation", "criterion", "points", "met", "unmet", "fewer criteria", "order of criteria", "one more"]


@pytest.mark.parametrize("change", CHANGES)
def test_another_conversation_or_rubric_has_another_protocol_and_is_graded_anew(scenario, tmp_path, change):
    other = variants(scenario)[change]
    assert protocol_hash("j", {}, other) != protocol_hash("j", {}, scenario)
    judge = FakeJudge()
    cached = CachedJudge(judge, tmp_path / "grades.sqlite")
    cached.grade([Rollout.of_text(scenario, "an answer")])
    cached.grade([Rollout.of_text(other, "an answer")])
    assert len(judge.asked) == 2


def test_another_judge_or_setting_has_another_protocol(scenario):
    protocols = {
        protocol_hash("a", {"x": 1}, scenario),
        protocol_hash("b", {"x": 1}, scenario),
        protocol_hash("a", {"x": 2}, scenario),
        protocol_hash("a", {"x": 1, "y": 1}, scenario),
        protocol_hash("a", {"x": 1}),
    }
    assert len(protocols) == 5


def test_the_protocol_does_not_depend_on_the_order_of_settings_nor_on_what_no_judge_reads(scenario):
    renamed = scenario.model_copy(update={"id": "renamed", "split": "train"})
    assert protocol_hash("a", {"x": 1, "y": 2}, scenario) == protocol_hash("a", {"y": 2, "x": 1}, renamed)


@pytest.mark.parametrize("changes", [{"name": "other"}, {"settings": {"version": 2}}])
def test_no_judge_is_served_the_grade_of_another(scenario, tmp_path, changes):
    path, answer = tmp_path / "grades.sqlite", Rollout.of_text(scenario, "an answer")
    (first,) = CachedJudge(FakeJudge(lambda a: 0.25), path).grade([answer])
    other = FakeJudge(lambda a: 0.75, **changes)
    (second,) = CachedJudge(other, path).grade([answer])
    assert (first.score, second.score) == (0.25, 0.75)
    assert second.judge == other.name
    assert CachedJudge(FakeJudge(lambda a: 0.5), path).grade([answer]) == [first]


def test_another_answer_and_another_ending_are_graded_anew(scenario, tmp_path):
    judge = FakeJudge(lambda a: 0.5 if a.finished else 0.0)
    cached = CachedJudge(judge, tmp_path / "grades.sqlite")
    answers = [
        Rollout.of_text(scenario, "one"),
        Rollout.of_text(scenario, "one", finished=False),
        Rollout.of_text(scenario, "one "),
    ]
    assert [g.score for a in answers for g in cached.grade([a])] == [0.5, 0.0, 0.5]
    assert len(judge.asked) == 3


def test_a_grade_comes_back_from_the_file_as_it_was_and_the_judge_is_not_asked(scenario, tmp_path):
    path = tmp_path / "deep" / "grades.sqlite"
    answers = [Rollout.of_text(scenario, t) for t in ("one", "two words", "h\u00e9llo \u2028 \U0001f642")]
    fresh = CachedJudge(FakeJudge(lambda a: len(a.text) / 7 % 1), path).grade(answers)
    silent = FakeJudge(lambda a: 1 / 0)
    assert CachedJudge(silent, path).grade(answers) == fresh
    assert silent.asked == []


def test_grades_keep_the_order_of_the_answers_where_some_are_cached(scenario, tmp_path):
    judge = FakeJudge()
    cached = CachedJudge(judge, tmp_path / "grades.sqlite")
    cached.grade([Rollout.of_text(scenario, "b" * 20)])
    texts = ["a" * 10, "b" * 20, "c" * 30, "a" * 10]
    assert [g.score for g in cached.grade([Rollout.of_text(scenario, t) for t in texts])] == [0.01, 0.02, 0.03, 0.01]
    assert judge.asked == ["b" * 20, "a" * 10, "c" * 30]


def test_an_answer_that_could_not_be_graded_is_not_zero_and_is_tried_again(scenario, tmp_path):
    scores = iter([None, 0.5])
    judge = FakeJudge(lambda a: next(scores))
    cached = CachedJudge(judge, tmp_path / "grades.sqlite")
    (first,), (second,) = (cached.grade([Rollout.of_text(scenario, "an answer")]) for _ in range(2))
    assert first.score is None
    assert first.error == "no verdict"
    assert second.score == 0.5
    assert len(judge.asked) == 2


def test_a_grade_of_zero_is_kept(scenario, tmp_path):
    judge = FakeJudge(lambda a: 0.0)
    cached = CachedJudge(judge, tmp_path / "grades.sqlite")
    for _ in range(2):
        assert cached.grade([Rollout.of_text(scenario, "an answer")])[0].score == 0.0
    assert len(judge.asked) == 1


def test_the_cache_bears_the_name_and_settings_of_its_judge(tmp_path):
    judge = FakeJudge(name="n", settings={"x": 1})
    cached = CachedJudge(judge, tmp_path / "grades.sqlite")
    assert (cached.name, cached.settings) == ("n", {"x": 1})


def altered(path, change):
    """Change the one row of a cache as someone with an editor would; `change` takes and gives key, grade, checksum."""
    with sqlite3.connect(path) as db:
        row = db.execute("SELECT key, grade, checksum FROM verified_grades").fetchone()
        db.execute("UPDATE verified_grades SET key = ?, grade = ?, checksum = ?", change(*row))
    db.close()


def with_field(name, value, *, resealed=False):
    def change(key, grade, checksum):
        text = json.dumps({**json.loads(grade), name: value})
        return key, text, protocols._checksum(key, text.encode()) if resealed else checksum

    return change


def with_text(text):
    return lambda key, grade, checksum: (key, text, protocols._checksum(key, text if isinstance(text, bytes) else b""))


ALTERED = {
    "an edited score": with_field("score", 0.75),
    "a score of seven": with_field("score", 7, resealed=True),
    "a score of NaN": with_field("score", float("nan"), resealed=True),
    "a score below zero": with_field("score", -0.5, resealed=True),
    "no score": with_field("score", None, resealed=True),
    "another judge's name": with_field("judge", "other", resealed=True),
    "another protocol": with_field("protocol", "0" * 16, resealed=True),
    "an unknown field": with_field("colour", "red", resealed=True),
    "verdicts beyond one": with_field("verdicts", [{"criterion": "x", "score": 2}], resealed=True),
    "verdicts of another type": with_field("verdicts", 3, resealed=True),
    "half a row": lambda key, grade, checksum: (key, grade[:40], checksum),
    "no JSON": with_text(b"nonsense"),
    "a JSON list": with_text(b"[1]"),
    "bytes that are no UTF-8": lambda key, grade, checksum: (key, b"\xff\xfe", checksum),
    "a number": lambda key, grade, checksum: (key, 7, checksum),
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_row_that_was_altered_is_graded_anew_counted_and_told_once(scenario, tmp_path, name):
    path, answer = tmp_path / "grades.sqlite", Rollout.of_text(scenario, "an answer")
    CachedJudge(FakeJudge(lambda a: 0.25), path).grade([answer])
    altered(path, ALTERED[name])
    judge = FakeJudge(lambda a: 0.5)
    cached = CachedJudge(judge, path)
    with pytest.warns(UserWarning, match=r"grades\.sqlite: stored grades that were altered or damaged: 1"):
        assert cached.grade([answer])[0].score == 0.5
    assert (cached.faulty, len(judge.asked)) == (1, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CachedJudge(FakeJudge(lambda a: 1 / 0), path).grade([answer])[0].score == 0.5


def test_a_row_moved_to_another_answers_key_is_not_served(scenario, tmp_path):
    path, other = tmp_path / "grades.sqlite", Rollout.of_text(scenario, "another answer")
    cached = CachedJudge(FakeJudge(lambda a: 0.25), path)
    cached.grade([Rollout.of_text(scenario, "an answer")])
    altered(path, lambda key, grade, checksum: (cached._key(other)[0], grade, checksum))
    with pytest.warns(UserWarning, match="altered"):
        assert CachedJudge(FakeJudge(lambda a: 0.5), path).grade([other])[0].score == 0.5


@pytest.mark.parametrize("content", [b"this is no database at all" * 50, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_an_error_that_names_it_and_the_way_out(scenario, tmp_path, content):
    path = tmp_path / "grades.sqlite"
    path.write_bytes(content)
    with pytest.raises(JudgeError, match="move it away and run the same command again") as caught:
        CachedJudge(FakeJudge(), path).grade([Rollout.of_text(scenario, "an answer")])
    assert str(path) in str(caught.value)


def test_a_file_damaged_in_its_middle_is_an_error_that_names_it(scenario, tmp_path):
    path = tmp_path / "grades.sqlite"
    answers = [Rollout.of_text(scenario, f"answer {i} {'x' * 400}") for i in range(200)]
    cached = CachedJudge(FakeJudge(lambda a: 0.5), path)
    cached.grade(answers)
    cached._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    cached._db.close()
    content = bytearray(path.read_bytes())
    content[4096:-4096] = b"\xee" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(JudgeError, match="move it away"):
        CachedJudge(FakeJudge(lambda a: 0.5), path).grade(answers)


def test_a_folder_or_a_file_in_the_way_is_an_error_that_names_the_cache(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "grades.sqlite").mkdir()
    for path in (tmp_path / "file" / "grades.sqlite", tmp_path / "grades.sqlite"):
        with pytest.raises(JudgeError, match="move it away") as caught:
            CachedJudge(FakeJudge(), path)
        assert str(path) in str(caught.value)


def test_grades_before_a_fault_of_the_judge_are_kept(scenario, tmp_path):
    answers = [Rollout.of_text(scenario, "x" * (i + 1)) for i in range(40)]
    judge = FakeJudge(lambda a: 2.0 if len(a.text) == 40 else 0.5)  # the last one is no score
    with pytest.raises(JudgeError, match="not in"):
        CachedJudge(CheckedJudge(judge), tmp_path / "grades.sqlite").grade(answers)
    again = FakeJudge(lambda a: 0.5)
    CachedJudge(CheckedJudge(again), tmp_path / "grades.sqlite").grade(answers)
    assert again.asked == ["x" * 40]


KILLED = """
import os, signal, sys
from pathlib import Path
from steadfast.rollouts import Rollout
from steadfast.graders import CachedJudge
from steadfast.tasks import Task
from tests.graders.fakes import FakeJudge
from tests.tasks.examples import record

class Paid(FakeJudge):
    def grade_each(self, answers):
        for place, answer in enumerate(answers):
            if place == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            yield place, self._one(answer)

scenario = Task.model_validate(record())
CachedJudge(Paid(), Path(sys.argv[1])).grade([Rollout.of_text(scenario, "x" * (i + 1)) for i in range(6)])
"""


def test_a_kill_costs_no_grade_that_was_given(scenario, tmp_path):
    path = tmp_path / "grades.sqlite"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert killed.returncode == -9
    judge = FakeJudge()
    CachedJudge(judge, path).grade([Rollout.of_text(scenario, "x" * (i + 1)) for i in range(6)])
    assert judge.asked == ["x" * 4, "x" * 5, "x" * 6]


def test_an_answer_with_thoughts_and_one_without_share_a_grade(scenario, tmp_path):
    judge = FakeJudge()
    cached = CachedJudge(judge, tmp_path / "grades.sqlite")
    grades = cached.grade(
        [Rollout.of_text(scenario, "an answer"), Rollout.of_text(scenario, "<think>hm</think>\n\nan answer")]
    )
    assert grades[0] == grades[1]
    assert judge.asked == ["an answer"]
