import pytest

from steadfast.errors import DataError
from steadfast.graders.stored_answers import grade_file
from tests.graders.fakes import FakeJudge
from tests.tasks.examples import record, write_lines


@pytest.fixture
def scenarios(tmp_path):
    return write_lines(tmp_path / "s.jsonl", record("a"), record("b"))


def test_grades_come_in_the_order_of_the_answers(tmp_path, scenarios):
    answers = write_lines(
        tmp_path / "a.jsonl",
        {"scenario": "b", "answer": "x" * 100},
        {"scenario": "a", "answer": "x" * 300},
        {"scenario": "b", "answer": "x" * 200},
    )
    graded = grade_file(scenarios, answers, FakeJudge())
    assert [(g["scenario"], g["score"]) for g in graded] == [("b", 0.1), ("a", 0.3), ("b", 0.2)]
    assert graded[0]["protocol"] == graded[2]["protocol"] != graded[1]["protocol"]


def test_every_answer_to_an_unknown_scenario_is_named(tmp_path, scenarios):
    answers = write_lines(
        tmp_path / "a.jsonl",
        {"scenario": "zz", "answer": "x"},
        {"scenario": "a", "answer": "x"},
        {"scenario": "yy", "answer": "x"},
    )
    judge = FakeJudge()
    with pytest.raises(DataError) as caught:
        grade_file(scenarios, answers, judge)
    assert [("'zz'" in p, "'yy'" in p) for p in caught.value.problems] == [(True, False), (False, True)]
    assert judge.asked == []


def test_an_unknown_scenario_is_reported_with_file_line_and_field(tmp_path, scenarios):
    answers = write_lines(tmp_path / "a.jsonl", {"scenario": "a", "answer": "x"}, "", {"scenario": "zz", "answer": "x"})
    with pytest.raises(DataError) as caught:
        grade_file(scenarios, answers, FakeJudge())
    assert caught.value.problems[0].startswith(f"{answers}:3: scenario: ")


def test_faults_of_the_answers_file_are_reported_with_line_and_field(tmp_path, scenarios):
    answers = write_lines(tmp_path / "a.jsonl", {"scenario": "a"}, {"scenario": "a", "answer": "x", "colour": "red"})
    with pytest.raises(DataError) as caught:
        grade_file(scenarios, answers, FakeJudge())
    assert [p.removeprefix(f"{answers}:").split(":")[:2] for p in caught.value.problems] == [
        ["1", " answer"],
        ["2", " colour"],
    ]


def test_an_answer_cut_off_by_a_limit_reaches_the_judge_as_such(tmp_path, scenarios):
    answers = write_lines(
        tmp_path / "a.jsonl",
        {"scenario": "a", "answer": "x", "finished": False},
        {"scenario": "a", "answer": "x"},
    )
    graded = grade_file(scenarios, answers, FakeJudge(lambda a: float(a.finished)))
    assert [g["score"] for g in graded] == [0.0, 1.0]


def test_an_answer_that_could_not_be_graded_has_no_score_and_says_why(tmp_path, scenarios):
    answers = write_lines(tmp_path / "a.jsonl", {"scenario": "a", "answer": "x"})
    (graded,) = grade_file(scenarios, answers, FakeJudge(lambda a: None))
    assert graded["score"] is None
    assert graded["error"] == "no verdict"


def test_scenarios_that_the_judge_cannot_grade_are_listed_before_any_work(tmp_path, scenarios):
    class Picky(FakeJudge):
        def cannot_grade(self, scenario):
            return f"not {scenario.id}"

    answers = write_lines(tmp_path / "a.jsonl", *({"scenario": i, "answer": "x"} for i in ("b", "a", "b")))
    judge = Picky()
    with pytest.raises(DataError) as caught:
        grade_file(scenarios, answers, judge)
    assert [p.split(":")[0] for p in caught.value.problems] == ["scenario 'b'", "scenario 'a'"]
    assert judge.asked == []


def test_an_answer_earns_the_same_with_its_thoughts_and_without(tmp_path, scenarios):
    answers = write_lines(
        tmp_path / "a.jsonl",
        {"scenario": "a", "answer": "an answer"},
        {"scenario": "a", "answer": "<think>Shall I please them?</think>\n\nan answer"},
        {"scenario": "a", "answer": "Shall I please them?\n</think>\n\nan answer"},
    )
    judge = FakeJudge()
    graded = grade_file(scenarios, answers, judge)
    assert graded[0] == graded[1] == graded[2]
    assert judge.asked == ["an answer"] * 3
