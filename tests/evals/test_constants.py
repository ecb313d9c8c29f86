"""Constant answers are measured as checkpoints are, and no more often than needed."""

import polars as pl

from steadfast.evals.constants import SUBJECTS, constants_done, measure_constants, parts_with_floor
from steadfast.evals.measure import Part
from steadfast.evals.rows import CONSTANT
from steadfast.evals.surface import CONSTANTS
from steadfast.graders import Grade
from steadfast.tasks import Suite, find_suite


class LengthJudge:
    """Gives a score by the length of the answer, and remembers what it was asked."""

    name, settings = "length", {}

    def __init__(self):
        self.asked = []

    def grade(self, answers):
        self.asked += answers
        return [Grade(min(1.0, len(a.text) / 500), (), self.name, "") for a in answers]


def part(name, count=2):
    suite = find_suite(name)
    return Part(suite, suite.paired[:count], suite.answered[:count])


def test_a_constant_answers_what_a_judge_grades_and_what_stands_beside_it_and_compares_nothing():
    judged, acted = part("sandbagging"), part("agent-guardrails")
    assert acted.answered[0].grader.kind == "outcome"
    found = parts_with_floor([judged, acted])
    assert [p.suite.name for p in found] == ["sandbagging", "agent-guardrails"]
    assert all(p.compared == () for p in found)
    assert parts_with_floor([acted]) == [], "where no judge grades, nothing needs a floor"
    assert parts_with_floor([Part(judged.suite, judged.compared)]) == []
    chat = Suite(**(vars(judged.suite) | {"kind": "chat"}))
    assert parts_with_floor([Part(chat, (), judged.answered)]) == []


def test_every_constant_is_graded_on_every_task_and_again_only_where_it_lost_its_score(tmp_path):
    parts = parts_with_floor([part("sandbagging"), part("agent-guardrails")])
    judge = LengthJudge()

    def file_of(label):
        return tmp_path / f"{label}.parquet"

    assert not constants_done(parts, file_of)
    done = []
    rows = measure_constants(parts, judge, file_of, on_done=done.append)
    assert constants_done(parts, file_of)
    assert sum(done) == len(CONSTANTS) * sum(p.requests for p in parts)
    assert set(rows["condition"]) == {CONSTANT}
    assert len(judge.asked) == len(CONSTANTS) * 2, "the judge reads no agentic task"
    judged = rows.filter(grader="rubric")
    scores = dict(judged.group_by("checkpoint").agg(pl.col("score").mean()).iter_rows())
    assert scores == {f"constant: {n}": len(text) / 500 for n, text in CONSTANTS.items()}
    assert set(rows.filter(grader="outcome")["score"]) == {0.0}, "a constant that calls no tool reaches no goal"

    first = parts[0].answered[0].id
    lost = pl.when(pl.col("task") == first).then(None).otherwise("score")
    pl.read_parquet(file_of("yes")).with_columns(score=lost).write_parquet(file_of("yes"))
    assert not constants_done(parts, file_of)
    judge.asked.clear()
    again = measure_constants(parts, judge, file_of)
    assert [(a.task.id, a.text) for a in judge.asked] == [(first, CONSTANTS["yes"])]
    key = ["checkpoint", "suite", "task", "grader"]
    assert again.sort(key).equals(rows.sort(key))


def test_the_judge_that_trained_grades_constants_on_traits_alone(tmp_path):
    judged = part("sandbagging")
    trait = Part(Suite(**(vars(judged.suite) | {"kind": "trait", "name": "trait:x"})), (), judged.answered)
    evaluation, training = LengthJudge(), LengthJudge()
    training.name = "trained"
    rows = measure_constants(
        parts_with_floor([judged, trait]), evaluation, lambda n: tmp_path / f"{n}.parquet", training_judge=training
    )
    assert set(rows.filter(judge="trained")["kind"]) == {"trait"}
    assert len(training.asked) == len(CONSTANTS) * 2
    assert len(evaluation.asked) == len(CONSTANTS) * 4
    assert len(SUBJECTS) == len(CONSTANTS)
