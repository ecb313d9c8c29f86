import pytest

from steadfast.graders import Answer, CachedJudge, protocol_hash
from steadfast.messages import Message
from steadfast.tasks import Criterion
from tests.graders.fakes import FakeJudge


def variants(scenario):
    """The scenario with one thing that a judge reads changed."""
    first, *rest = scenario.rubric

    def with_first(**changes):
        return scenario.model_copy(update={"rubric": (first.model_copy(update=changes), *rest)})

    return {
        "conversation": scenario.model_copy(update={"messages": (Message(role="user", content="Another?"),)}),
        "criterion": with_first(criterion="Another."),
        "points": with_first(points=first.points + 1),
        "met": with_first(met=("Another.",)),
        "unmet": with_first(unmet=("Another.",)),
        "fewer criteria": scenario.model_copy(update={"rubric": (first,)}),
        "order of criteria": scenario.model_copy(update={"rubric": scenario.rubric[::-1]}),
        "one more": scenario.model_copy(
            update={"rubric": (*scenario.rubric, Criterion(criterion="x", points=1, met=("y",), unmet=("z",)))}
        ),
    }


CHANGES = ["conversation", "criterion", "points", "met", "unmet", "fewer criteria", "order of criteria", "one more"]


@pytest.mark.parametrize("change", CHANGES)
def test_another_conversation_or_rubric_has_another_protocol_and_is_graded_anew(scenario, tmp_path, change):
    other = variants(scenario)[change]
    assert protocol_hash("j", {}, other) != protocol_hash("j", {}, scenario)
    judge = FakeJudge()
    cached = CachedJudge(judge, tmp_path / "grades.sqlite")
    cached.grade([Answer(scenario, "an answer")])
    cached.grade([Answer(other, "an answer")])
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
    path, answer = tmp_path / "grades.sqlite", Answer(scenario, "an answer")
    (first,) = CachedJudge(FakeJudge(lambda a: 0.25), path).grade([answer])
    other = FakeJudge(lambda a: 0.75, **changes)
    (second,) = CachedJudge(other, path).grade([answer])
    assert (first.score, second.score) == (0.25, 0.75)
    assert second.judge == other.name
    assert CachedJudge(FakeJudge(lambda a: 0.5), path).grade([answer]) == [first]


def test_another_answer_and_another_ending_are_graded_anew(scenario, tmp_path):
    judge = FakeJudge(lambda a: 0.5 if a.finished else 0.0)
    cached = CachedJudge(judge, tmp_path / "grades.sqlite")
    answers = [Answer(scenario, "one"), Answer(scenario, "one", finished=False), Answer(scenario, "one ")]
    assert [g.score for a in answers for g in cached.grade([a])] == [0.5, 0.0, 0.5]
    assert len(judge.asked) == 3


def test_a_grade_comes_back_from_the_file_as_it_was_and_the_judge_is_not_asked(scenario, tmp_path):
    path = tmp_path / "deep" / "grades.sqlite"
    answers = [Answer(scenario, t) for t in ("one", "two words", "h\u00e9llo \u2028 \U0001f642")]
    fresh = CachedJudge(FakeJudge(lambda a: len(a.text) / 7 % 1), path).grade(answers)
    silent = FakeJudge(lambda a: 1 / 0)
    assert CachedJudge(silent, path).grade(answers) == fresh
    assert silent.asked == []


def test_grades_keep_the_order_of_the_answers_where_some_are_cached(scenario, tmp_path):
    judge = FakeJudge()
    cached = CachedJudge(judge, tmp_path / "grades.sqlite")
    cached.grade([Answer(scenario, "b" * 20)])
    texts = ["a" * 10, "b" * 20, "c" * 30, "a" * 10]
    assert [g.score for g in cached.grade([Answer(scenario, t) for t in texts])] == [0.01, 0.02, 0.03, 0.01]
    assert judge.asked == ["b" * 20, "a" * 10, "c" * 30]


def test_an_answer_that_could_not_be_graded_is_not_zero_and_is_tried_again(scenario, tmp_path):
    scores = iter([None, 0.5])
    judge = FakeJudge(lambda a: next(scores))
    cached = CachedJudge(judge, tmp_path / "grades.sqlite")
    (first,), (second,) = (cached.grade([Answer(scenario, "an answer")]) for _ in range(2))
    assert first.score is None
    assert first.error == "no verdict"
    assert second.score == 0.5
    assert len(judge.asked) == 2


def test_a_grade_of_zero_is_kept(scenario, tmp_path):
    judge = FakeJudge(lambda a: 0.0)
    cached = CachedJudge(judge, tmp_path / "grades.sqlite")
    for _ in range(2):
        assert cached.grade([Answer(scenario, "an answer")])[0].score == 0.0
    assert len(judge.asked) == 1


def test_the_cache_bears_the_name_and_settings_of_its_judge(tmp_path):
    judge = FakeJudge(name="n", settings={"x": 1})
    cached = CachedJudge(judge, tmp_path / "grades.sqlite")
    assert (cached.name, cached.settings) == ("n", {"x": 1})
