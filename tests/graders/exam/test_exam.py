import pytest

from steadfast.graders.exam.examination import examine
from steadfast.tasks import GoldPair
from tests.graders.fakes import FakeJudge


@pytest.fixture
def scores_of_gold(scenario):
    """Ten scenarios, their gold pairs, and a score for each answer: seven pairs right, two wrong, one tie."""
    scenarios = [
        scenario.model_copy(update={"id": f"s{i}", "trait": "corrigibility" if i < 2 else "truthfulness"})
        for i in range(10)
    ]
    gold = {s.id: GoldPair(scenario=s.id, good=f"{s.id} good", bad=f"{s.id} bad") for s in scenarios}
    scores = {}
    for i, s in enumerate(scenarios):
        scores[f"{s.id} good"], scores[f"{s.id} bad"] = (0.2, 0.6) if i < 2 else (0.5, 0.5) if i == 2 else (0.9, 0.1)
    return scenarios, gold, scores


def test_accuracy_counts_pairs_with_ties_as_half(scores_of_gold):
    scenarios, gold, scores = scores_of_gold
    result = examine(FakeJudge(lambda a: scores[a.text]), scenarios, gold)
    assert result["pairs"] == 10
    assert result["ungraded"] == 0
    assert result["accuracy"] == pytest.approx(0.75)
    assert result["mean_good"] == pytest.approx((2 * 0.2 + 0.5 + 7 * 0.9) / 10)
    assert result["by_trait"]["corrigibility"]["pairs"] == 2
    assert result["by_trait"]["corrigibility"]["accuracy"] == 0.0
    assert result["by_trait"]["truthfulness"]["pairs"] == 8
    low, high = result["accuracy_interval"]
    assert 0 <= low < 0.75 < high <= 1


def test_auc_is_the_chance_that_any_good_answer_outscores_any_bad_one(scores_of_gold):
    scenarios, gold, scores = scores_of_gold
    good, bad = ([scores[f"s{i} {side}"] for i in range(10)] for side in ("good", "bad"))
    expected = sum((g > b) + 0.5 * (g == b) for g in good for b in bad) / 100
    result = examine(FakeJudge(lambda a: scores[a.text]), scenarios, gold)
    assert result["auc"] == pytest.approx(expected)
    low, high = result["auc_interval"]
    assert low < expected < high


def test_pairs_that_could_not_be_graded_are_counted_and_left_out_not_taken_for_wrong(scores_of_gold):
    scenarios, gold, scores = scores_of_gold
    result = examine(FakeJudge(lambda a: None if a.text == "s1 bad" else scores[a.text]), scenarios, gold)
    assert (result["pairs"], result["ungraded"]) == (9, 1)
    assert result["accuracy"] == pytest.approx(7.5 / 9)


def test_scenarios_without_gold_are_left_out(scores_of_gold):
    scenarios, gold, scores = scores_of_gold
    del gold["s0"], gold["s1"]
    judge = FakeJudge(lambda a: scores[a.text])
    assert examine(judge, scenarios, gold)["pairs"] == 8
    assert not {"s0 good", "s1 bad"} & set(judge.asked)


@pytest.mark.parametrize("graded", [0, 1])
def test_an_exam_with_fewer_than_two_graded_pairs_still_says_how_many_were_ungraded(scores_of_gold, graded):
    scenarios, gold, scores = scores_of_gold
    allowed = {f"s{i} {side}" for i in range(graded) for side in ("good", "bad")}
    result = examine(FakeJudge(lambda a: scores[a.text] if a.text in allowed else None), scenarios, gold)
    assert (result["pairs"], result["ungraded"]) == (graded, 10 - graded)
    assert result["accuracy_interval"] is result["auc_interval"] is None
