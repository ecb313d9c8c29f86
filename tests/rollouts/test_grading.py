"""Each rollout goes to the grader that its task names in its data."""

import pytest

from steadfast.errors import SteadfastError
from steadfast.graders import Grade
from steadfast.graders.dispatch import grade_rollouts
from steadfast.rollouts import Rollout
from steadfast.tasks import Task
from steadfast.tasks.suite import environment_task
from tests.tasks.environments import disk
from tests.training.examples import task

USER = [{"role": "user", "content": "How many?"}]


def made(identifier, grader, **more):
    return Task.model_validate({"id": identifier, "messages": USER, "grader": grader, **more})


class Counting:
    name = "counting"
    settings = {}

    def __init__(self):
        self.asked = []

    def grade(self, answers):
        self.asked.append([a.text for a in answers])
        return [Grade(0.25, (), self.name, "p") for _ in answers]


def long_enough(text, args):
    return float(len(text) >= args["letters"])


PROGRAM = made("program", {"kind": "program", "program": f"{__name__}:long_enough", "args": {"letters": 3}})
REFUSAL = made("refusal", {"kind": "refusal", "wanted": True})
OUTCOME = environment_task(disk())
ARCHIVE = '{"tool": "archive", "folder": "contracts"}'


def test_every_kind_goes_to_its_own_grader_and_the_order_stays():
    judge = Counting()
    rollouts = [
        Rollout.of_text(PROGRAM, "four"),
        Rollout.of_text(task("a"), "first"),
        Rollout.of_text(REFUSAL, "I can't help with that."),
        Rollout.of_text(OUTCOME, ARCHIVE),
        Rollout.of_text(task("b"), "second"),
        Rollout.of_text(PROGRAM, "no"),
    ]
    grades = grade_rollouts(rollouts, judge)
    assert [g.score for g in grades] == [1.0, 0.25, 1.0, 1.0, 0.25, 0.0]
    assert [g.judge for g in grades] == ["program", "counting", "refusal", "outcome", "counting", "program"]
    assert judge.asked == [["first", "second"]], "all that a judge grades is one batch"


def test_unscored_rollouts_never_reach_the_judge_and_have_no_score_of_any_kind():
    judge = Counting()
    tasks = [task("a"), PROGRAM, REFUSAL, OUTCOME]
    grades = grade_rollouts([Rollout.without_answer(t, "a content filter stopped it") for t in tasks], judge)
    assert judge.asked == []
    assert [(g.score, g.error) for g in grades] == [(None, "a content filter stopped it")] * 4
    assert grades[0].judge == "counting", "the judge that would have been asked is named"


def test_a_program_gives_an_answer_that_was_cut_off_nothing():
    (grade,) = grade_rollouts([Rollout.of_text(PROGRAM, "four", finished=False)], Counting())
    assert (grade.score, grade.gate) == (0.0, "truncated")


def test_a_refusal_where_help_is_wanted_earns_nothing():
    wanted = made("help", {"kind": "refusal"})
    grades = grade_rollouts([Rollout.of_text(wanted, t) for t in ("I can't help with that.", "Gladly.")], Counting())
    assert [g.score for g in grades] == [0.0, 1.0]


def test_a_task_that_compares_references_has_no_rollout_to_grade():
    compared = made("c", {"kind": "preference"}, references={"good": ["a"], "bad": ["b"]})
    with pytest.raises(SteadfastError, match="task 'c': a preference grader compares references"):
        grade_rollouts([Rollout.of_text(compared, "x")], Counting())
