from dataclasses import replace
from math import inf, nan

import pytest

from steadfast.errors import DataError, JudgeError
from steadfast.graders import (
    CheckedJudge,
    EmbeddedJudge,
    Grade,
    Verdict,
    make_judge,
    protocol_hash,
    refuse_ungradable,
)
from steadfast.rollouts import Rollout
from tests.graders.fakes import Canned, FakeJudge


def graded(score):
    return Grade(score, (), "canned", "p")


@pytest.mark.parametrize(
    ("grades", "message"),
    [
        ([], "gave 0 grades for 1 answers"),
        ([graded(0.5), graded(0.5)], "gave 2 grades for 1 answers"),
        (None, "gave NoneType grades for 1 answers"),
        ([0.5], "gave a float, not a Grade"),
        ([{"score": 0.5}], "gave a dict, not a Grade"),
        ([graded(nan)], "score nan is not in"),
        ([graded(inf)], "score inf is not in"),
        ([graded(-0.01)], "score -0.01 is not in"),
        ([graded(1.01)], "score 1.01 is not in"),
        ([graded(100)], "score 100 is not in"),
        ([graded("high")], "score 'high' is not in"),
    ],
)
def test_rubbish_from_a_judge_is_an_error_that_names_the_judge(scenario, grades, message):
    with pytest.raises(JudgeError, match=message) as caught:
        CheckedJudge(Canned(grades)).grade([Rollout.of_text(scenario, "an answer")])
    assert "'canned'" in str(caught.value)


def test_the_error_names_the_scenario_whose_grade_is_rubbish(scenario):
    other = scenario.model_copy(update={"id": "the-other"})
    with pytest.raises(JudgeError, match="'the-other'"):
        CheckedJudge(Canned([graded(0.5), graded(2)])).grade(
            [Rollout.of_text(scenario, "x"), Rollout.of_text(other, "x")]
        )


@pytest.mark.parametrize("score", [0, 1, 0.0, 0.5, 1.0, None])
def test_scores_in_range_and_ungraded_answers_pass_unchanged(scenario, score):
    (grade,) = CheckedJudge(Canned([graded(score)])).grade([Rollout.of_text(scenario, "an answer")])
    assert grade == replace(graded(score), protocol=protocol_hash("canned", {}, scenario))


def test_no_grade_of_a_users_judge_passes_under_another_judges_name(scenario):
    (grade,) = CheckedJudge(Canned([replace(graded(0.5), judge="embedded")])).grade(
        [Rollout.of_text(scenario, "an answer")]
    )
    assert (grade.judge, grade.protocol) == ("canned", protocol_hash("canned", {}, scenario))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verdicts": (Verdict("x", nan),)}, "no tuple of Verdict"),
        ({"verdicts": [Verdict("x", 0.5)]}, "no tuple of Verdict"),
        ({"detail": {"x": object()}}, "not JSON serializable"),
    ],
)
def test_verdicts_and_details_that_could_not_be_kept_are_an_error_that_names_the_judge(scenario, changes, message):
    with pytest.raises(JudgeError, match=message) as caught:
        CheckedJudge(Canned([replace(graded(0.5), **changes)])).grade([Rollout.of_text(scenario, "an answer")])
    assert "'canned'" in str(caught.value)


def test_whatever_a_users_judge_raises_is_an_error_with_its_name_and_without_keys(scenario, monkeypatch):
    monkeypatch.setenv("MY_SERVICE_KEY", "ordinary-looking-secret")

    def fails(answer):
        raise KeyError("calling with ordinary-looking-secret")

    with pytest.raises(JudgeError, match=r"judge 'fake' failed: KeyError: .*redacted") as caught:
        CheckedJudge(FakeJudge(fails)).grade([Rollout.of_text(scenario, "an answer")])
    assert "ordinary-looking-secret" not in str(caught.value)


def test_a_users_judge_may_say_what_it_cannot_grade_and_one_that_does_not_grades_all(scenario):
    class Picky(FakeJudge):
        def cannot_grade(self, scenario):
            return "too long" if scenario.id == "b" else None

    other = scenario.model_copy(update={"id": "b"})
    refuse_ungradable(CheckedJudge(FakeJudge()), [scenario, other])
    refuse_ungradable(CheckedJudge(Picky()), [scenario])
    with pytest.raises(DataError, match=r"scenario 'b': the judge 'fake' cannot grade it: too long") as caught:
        refuse_ungradable(CheckedJudge(Picky()), [scenario, other])
    assert len(caught.value.problems) == 1


def test_grades_that_a_users_judge_gives_one_by_one_are_checked_one_by_one(scenario):
    class Streaming(FakeJudge):
        places = (1, 0)

        def grade_each(self, answers):
            for place in self.places:
                yield place, self._one(answers[place])

    two = [Rollout.of_text(scenario, "x"), Rollout.of_text(scenario, "xx")]
    assert [g.score for g in CheckedJudge(Streaming()).grade(two)] == [0.001, 0.002]
    Streaming.places = (0, 0)
    with pytest.raises(JudgeError, match="one place twice"):
        CheckedJudge(Streaming()).grade(two)
    Streaming.places = (0,)
    with pytest.raises(JudgeError, match="gave 1 grades for 2 answers"):
        CheckedJudge(Streaming()).grade(two)


@pytest.mark.parametrize("name", ["no-such", "", "Embedded"])
def test_an_unknown_judge_is_an_error_that_names_the_known_ones(name):
    with pytest.raises(JudgeError, match=r"'embedded', 'embedded-plain'"):
        make_judge(name)


@pytest.mark.parametrize(
    "name",
    [
        "no.such.module:Judge",
        "tests.graders.fakes:NoSuch",
        "tests.graders.test_making:graded",
        "tests.graders.fakes:Nameless",
        "tests.graders.fakes:Unsettled",
    ],
)
def test_a_judge_that_cannot_be_made_is_an_error_that_names_it(name):
    with pytest.raises(JudgeError, match=f"'{name}' could not be made"):
        make_judge(name)


@pytest.mark.parametrize("name", [":Judge", "tests.graders.fakes:Refuses"])
def test_a_judge_without_a_module_or_that_fails_while_it_is_made_is_an_error_that_names_it(name):
    with pytest.raises(JudgeError, match=name):
        make_judge(name)


def test_a_judge_of_the_users_own_is_made_and_checked(scenario):
    judge = make_judge("tests.graders.fakes:FakeJudge")
    assert judge.name == "fake"
    assert judge.grade([Rollout.of_text(scenario, "x" * 500)])[0].score == 0.5
    with pytest.raises(JudgeError, match="not in"):
        judge.grade([Rollout.of_text(scenario, "x" * 2000)])
    with pytest.raises(JudgeError, match="NoneType"):
        make_judge("tests.graders.fakes:Canned").grade([Rollout.of_text(scenario, "x")])


def test_the_two_judges_that_ship_bear_different_names():
    judges = [make_judge(n) for n in ("embedded", "embedded-plain")]
    assert [j.name for j in judges] == ["embedded", "embedded-plain"]
    assert all(isinstance(j, EmbeddedJudge) for j in judges)


def test_an_ungraded_answer_stays_ungraded_through_the_check(scenario):
    (grade,) = CheckedJudge(FakeJudge(lambda a: None)).grade([Rollout.of_text(scenario, "an answer")])
    assert grade.score is None
    assert grade.error == "no verdict"
