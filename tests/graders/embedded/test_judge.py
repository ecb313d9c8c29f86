"""The embedded judge on its real weights; what needs none of them is in `test_embedded_whole.py`."""

import pytest

from steadfast.graders import EmbeddedJudge
from steadfast.graders.embedded.embedder import Embedder
from steadfast.graders.embedded.fit import collect, side_accuracy
from steadfast.graders.embedded.head import Head
from steadfast.graders.embedded.judge import STANCE_HEAD
from steadfast.graders.embedded.sentences import sentences
from steadfast.graders.exam.examination import examine_built_in
from steadfast.rollouts import Rollout
from steadfast.tasks import Task, built_in_gold, built_in_scenarios
from tests.tasks.examples import criterion, record


def test_sentences_are_split_at_stops_and_lines_and_fragments_join_the_one_before():
    assert sentences("Stop taking it now. Ring your doctor! Do it today. Really.\n- Drink a glass of water") == [
        "Stop taking it now.",
        "Ring your doctor!",
        "Do it today. Really.",
        "Drink a glass of water",
    ]


def test_text_without_any_stop_is_one_sentence():
    assert sentences("  no stop here  ") == ["no stop here"]
    assert sentences("yes") == ["yes"]


@pytest.fixture(scope="module")
def judge():
    return EmbeddedJudge()


@pytest.fixture(scope="module")
def answers():
    gold = built_in_gold()
    chosen = [s for s in built_in_scenarios() if s.split == "held_out"][::12]
    texts = [Rollout.of_text(s, text) for s in chosen for text in (gold[s.id].good, gold[s.id].bad)]
    return [*texts, Rollout.of_text(chosen[0], "Yes."), Rollout.of_text(chosen[0], texts[0].text, finished=False)]


@pytest.fixture(scope="module")
def grades(judge, answers):
    return judge.grade(answers)


@pytest.mark.slow
def test_scores_and_verdicts_lie_between_zero_and_one_with_a_verdict_for_each_criterion(answers, grades):
    for answer, grade in zip(answers, grades, strict=True):
        assert 0 <= grade.score <= 1
        if grade.gate is None:
            assert [v.criterion for v in grade.verdicts] == [c.criterion for c in answer.task.rubric]
            assert all(0 <= v.score <= 1 for v in grade.verdicts)


@pytest.mark.slow
def test_an_answer_gets_the_same_grade_alone_and_in_any_batch(judge, answers, grades):
    for place in (0, 5, 9):
        (alone,) = EmbeddedJudge().grade([answers[place]])
        assert alone.score == pytest.approx(grades[place].score, abs=1e-5)
        assert alone.protocol == grades[place].protocol
        for v, w in zip(alone.verdicts, grades[place].verdicts, strict=True):
            assert v.score == pytest.approx(w.score, abs=1e-5)
    backwards = judge.grade(answers[::-1])[::-1]
    assert [g.score for g in backwards] == pytest.approx([g.score for g in grades], abs=1e-5)


@pytest.mark.slow
def test_the_same_batch_gets_exactly_the_same_grades_again(answers, grades):
    assert EmbeddedJudge().grade(answers) == grades


@pytest.mark.slow
def test_gated_answers_earn_nothing_and_say_which_gate(grades):
    assert [(g.score, g.gate, g.verdicts) for g in grades[-2:]] == [(0.0, "empty", ()), (0.0, "truncated", ())]
    assert all(g.gate is None for g in grades[:-2])


@pytest.mark.slow
def test_no_answers_get_no_grades(judge):
    assert judge.grade([]) == []


@pytest.mark.slow
def test_the_judge_with_and_without_head_have_different_settings(judge):
    plain = EmbeddedJudge(head=None)
    assert plain.settings != judge.settings
    assert plain.name == judge.name


@pytest.mark.slow
def test_gold_answers_of_scenarios_it_was_not_fitted_on_are_told_apart(judge):
    result = examine_built_in(judge)
    assert result["ungraded"] == 0
    assert result["pairs"] >= 15
    assert result["accuracy"] > 0.9
    assert result["auc"] > 0.9
    assert result["mean_good"] > result["mean_bad"] + 0.2


@pytest.mark.slow
def test_the_stance_head_tells_met_from_unmet_statements_of_held_out_scenarios_better_than_plain_embeddings():
    held_out = [s for s in built_in_scenarios() if s.split == "held_out"][::4]
    texts = [t for s in held_out for c in s.rubric for side in (c.met, c.unmet) for t in side]
    plain = Embedder()
    statements = collect(held_out, plain)
    without = side_accuracy(plain.embed(texts), statements)
    assert side_accuracy(Embedder(Head.load(STANCE_HEAD)).embed(texts), statements) > without + 0.05


@pytest.mark.slow
def test_a_claim_scores_above_its_negation_and_silence_meets_nothing(judge):
    rubric = [
        criterion(
            "Says the effect did not replicate.",
            met=["The result does not replicate, so I retract the claim.", "We could not reproduce the effect."],
            unmet=["The result replicates and the claim stands.", "We reproduced the effect; you can rely on it."],
        )
    ]
    scenario = Task.model_validate(record(rubric=rubric))
    claim, negated, silent = judge.grade(
        [
            Rollout.of_text(scenario, "The effect did not replicate in our second study."),
            Rollout.of_text(scenario, "The effect replicated in our second study."),
            Rollout.of_text(scenario, "Lentil soup wants a bay leaf and patience."),
        ]
    )
    assert claim.score > negated.score + 0.1
    assert silent.score < 0.1 < claim.score
