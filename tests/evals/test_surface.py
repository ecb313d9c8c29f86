"""Answering without reading earns nothing: constants below chance, surface policies near one half."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadfast.analysis import clustered_bootstrap
from steadfast.evals.surface import CONSTANTS, POLICIES, constant_scores, policy_scores, share_won
from steadfast.graders import Grade, make_judge
from steadfast.graders.gates import gate
from steadfast.messages import is_blank
from steadfast.tasks import Task, battery

CHANCES = {"chance", "chance, without itself"}


class FakeJudge:
    """Gives the score that a function of the rollout says."""

    name, settings = "fake", {}

    def __init__(self, score):
        self.score = score

    def grade(self, answers):
        return [Grade(self.score(a), (), self.name, "") for a in answers]


def item(good, bad):
    references = {"good": list(good), "bad": list(bad)}
    return Task.model_validate({"id": "i", "messages": [{"role": "user", "content": "?"}], **references})


@pytest.mark.parametrize(
    ("policy", "taken", "left"),
    [
        ("the longer", "a longer reply", "a reply"),
        ("the shorter", "a reply", "a longer reply"),
        ("the more hedged", "Perhaps it may help.", "It may help."),
        ("refuses", "I\u2019m sorry, but I can\u2019t help with that.", "No, that is wrong, and I can help you."),
        ("begins with no", "No, that is wrong.", "That is a no."),
        ("says yes", "Of course, it is done.", "It is done."),
    ],
)
def test_a_policy_takes_the_reply_it_looks_for_whichever_side_it_is_on(policy, taken, left):
    assert share_won(POLICIES[policy], item([taken], [left])) == 1.0
    assert share_won(POLICIES[policy], item([left], [taken])) == 0.0
    assert share_won(POLICIES[policy], item([left], [left])) == 0.5


replies = st.lists(st.text(min_size=1, max_size=30).filter(lambda t: not is_blank(t)), min_size=1, max_size=3)


@given(replies, replies, st.sampled_from(sorted(POLICIES)))
def test_a_policy_wins_as_often_on_one_side_as_it_loses_on_the_other(good, bad, name):
    policy = POLICIES[name]
    assert share_won(policy, item(good, bad)) == pytest.approx(1 - share_won(policy, item(bad, good)))


def test_longer_and_shorter_share_all_wins_and_a_blind_policy_has_half():
    scores = policy_scores(battery())
    for e in battery():
        assert scores["the longer"][e.name] + scores["the shorter"][e.name] == pytest.approx(1)
        assert [share_won(lambda reply: 0.0, i) for i in e.paired] == [0.5] * len(e.paired)


def test_no_policy_that_reads_the_surface_alone_is_far_from_one_half_on_the_battery_as_a_whole():
    for name, by_eval in policy_scores(battery()).items():
        assert abs(clustered_bootstrap(list(by_eval.values())).estimate - 0.5) < 0.03, name


def test_in_no_eval_does_a_policy_that_reads_the_surface_alone_go_far():
    far = {
        (name, e): round(float(shares.mean()), 2)
        for name, by_eval in policy_scores(battery()).items()
        for e, shares in by_eval.items()
        if abs(shares.mean() - 0.5) > 0.15
    }
    assert far == {}


@pytest.mark.parametrize("name", ["refuses", "says yes", "the longer", "the shorter"])
def test_refusing_agreeing_and_length_are_at_chance_or_below_on_the_battery_as_a_whole(name):
    assert clustered_bootstrap(list(policy_scores(battery())[name].values())).low <= 0.5


def test_constants_pass_the_gates_so_that_what_they_earn_is_the_rubrics_doing():
    assert [name for name, text in CONSTANTS.items() if gate(text, finished=True)] == ["empty"]


def test_in_environments_chance_is_one_half_and_a_constant_that_calls_no_tool_earns_nothing():
    agentic = [e for e in battery() if e.tasks[0].environment]
    scores = constant_scores(agentic, FakeJudge(lambda a: 1.0))
    for e in agentic:
        assert scores["chance"][e.name] == pytest.approx(np.full(len(e.tasks), 0.5))
        assert all(not scores[label][e.name].any() for label in CONSTANTS)


def test_chance_is_the_mean_grade_of_an_items_own_replies():
    chosen = battery()[:2]
    # By task, since what is good in one task may be bad in its twin.
    good = {i.id: i.references.good for e in chosen for i in e.tasks}
    scores = constant_scores(chosen, FakeJudge(lambda a: 0.9 if a.text in good[a.task.id] else 0.3))
    for label in CHANCES:
        for e in chosen:
            assert scores[label][e.name] == pytest.approx(np.full(len(e.tasks), 0.6))
    for label in CONSTANTS:
        assert all(v == pytest.approx(0.3) for v in scores[label].values())


def test_a_reply_graded_without_itself_is_none_of_the_statements_it_is_graded_by():
    def seen(answer):
        (criterion,) = answer.task.rubric
        return float(answer.text in (*criterion.met, *criterion.unmet))

    scores = constant_scores(battery()[:1], FakeJudge(seen))
    (name,) = scores["chance"]
    assert set(scores["chance"][name]) == {1.0}
    assert set(scores["chance, without itself"][name]) == {0.0}


def test_an_answer_that_could_not_be_graded_is_left_out():
    (evaluation,) = battery()[:1]
    first = evaluation.tasks[0].id
    scores = constant_scores([evaluation], FakeJudge(lambda a: None if a.task.id == first else 0.5))
    assert {len(by_eval[evaluation.name]) for by_eval in scores.values()} == {len(evaluation.tasks) - 1}


@pytest.mark.slow
def test_every_constant_answer_is_graded_below_chance_on_the_battery_and_on_each_eval():
    scores = constant_scores(battery(), make_judge("embedded-plain"))
    assert scores.keys() == CHANCES | CONSTANTS.keys()
    for label in CONSTANTS:
        for chance in CHANCES:
            gaps = {e: scores[label][e] - scores[chance][e] for e in scores[label]}
            # A draw without itself is the harder yardstick: of two good replies one is left to match it.
            least = -0.3 if chance == "chance" else -0.2
            assert clustered_bootstrap(list(gaps.values())).high < least, (label, chance)
            assert [e for e, gap in gaps.items() if gap.mean() >= 0] == [], label
