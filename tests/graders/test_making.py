from math import inf, nan

import pytest

from steadfast.errors import JudgeError
from steadfast.graders import Answer, CheckedJudge, EmbeddedJudge, Grade, make_judge
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
        CheckedJudge(Canned(grades)).grade([Answer(scenario, "an answer")])
    assert "'canned'" in str(caught.value)


def test_the_error_names_the_scenario_whose_grade_is_rubbish(scenario):
    other = scenario.model_copy(update={"id": "the-other"})
    with pytest.raises(JudgeError, match="'the-other'"):
        CheckedJudge(Canned([graded(0.5), graded(2)])).grade([Answer(scenario, "x"), Answer(other, "x")])


@pytest.mark.parametrize("score", [0, 1, 0.0, 0.5, 1.0, None])
def test_scores_in_range_and_ungraded_answers_pass_unchanged(scenario, score):
    (grade,) = CheckedJudge(Canned([graded(score)])).grade([Answer(scenario, "an answer")])
    assert grade == graded(score)


@pytest.mark.parametrize("name", ["no-such", "", "Embedded"])
def test_an_unknown_judge_is_an_error_that_names_the_known_ones(name):
    with pytest.raises(JudgeError, match=r"'embedded', 'embedded-plain'"):
        make_judge(name)


@pytest.mark.parametrize(
    "name", ["no.such.module:Judge", "tests.graders.fakes:NoSuch", "tests.graders.test_making:graded"]
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
    assert judge.grade([Answer(scenario, "x" * 500)])[0].score == 0.5
    with pytest.raises(JudgeError, match="not in"):
        judge.grade([Answer(scenario, "x" * 2000)])
    with pytest.raises(JudgeError, match="NoneType"):
        make_judge("tests.graders.fakes:Canned").grade([Answer(scenario, "x")])


def test_the_two_judges_that_ship_bear_different_names():
    judges = [make_judge(n) for n in ("embedded", "embedded-plain")]
    assert [j.name for j in judges] == ["embedded", "embedded-plain"]
    assert all(isinstance(j, EmbeddedJudge) for j in judges)


def test_an_ungraded_answer_stays_ungraded_through_the_check(scenario):
    (grade,) = CheckedJudge(FakeJudge(lambda a: None)).grade([Answer(scenario, "an answer")])
    assert grade.score is None
    assert grade.error == "no verdict"
