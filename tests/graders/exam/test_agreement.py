import numpy as np
import pytest
from scipy.stats import spearmanr

from steadfast.errors import SteadfastError
from steadfast.graders.exam.agreement import agree
from steadfast.rollouts import Rollout
from tests.graders.fakes import FakeJudge


@pytest.fixture
def answers(scenario):
    scenarios = [scenario.model_copy(update={"id": f"s{i}"}) for i in range(12)]
    return [Rollout.of_text(s, f"{s.id} {number}") for s in scenarios for number in range(3)]


def judges(answers, second):
    first = {a.text: i / 100 for i, a in enumerate(answers)}
    other = {a.text: value for a, value in zip(answers, second, strict=True)}
    return FakeJudge(lambda a: first[a.text], "one"), FakeJudge(lambda a: other[a.text], "other")


def test_judges_that_order_alike_agree_fully_whatever_their_scales(answers):
    result = agree(*judges(answers, [(i / 100) ** 2 for i in range(36)]), answers)
    assert result["spearman"] == pytest.approx(1)
    assert result["order"] == 1
    assert result["order_interval"] == [1, 1]
    assert (result["answers"], result["scenarios"], result["pairs"], result["ungraded"]) == (36, 12, 36, 0)


def test_judges_that_order_the_other_way_round_never_agree(answers):
    result = agree(*judges(answers, [1 - i / 100 for i in range(36)]), answers)
    assert result["spearman"] == pytest.approx(-1)
    assert result["order"] == 0


def test_spearman_is_scipys_and_lies_within_its_interval(answers):
    second = np.random.default_rng(1).random(36).tolist()
    result = agree(*judges(answers, second), answers)
    assert result["spearman"] == pytest.approx(spearmanr(range(36), second).statistic)
    low, high = result["spearman_interval"]
    assert low < result["spearman"] < high


def test_a_tie_of_one_judge_counts_half(answers):
    result = agree(*judges(answers, [0.5] * 35 + [0.6]), answers)
    assert result["order"] == pytest.approx((34 * 0.5 + 2) / 36)


def test_only_answers_to_one_scenario_are_compared_in_order(answers):
    """The judges disagree on which scenario is harder, and agree within each."""
    result = agree(*judges(answers, [(11 - i // 3) / 20 + (i % 3) / 100 for i in range(36)]), answers)
    assert result["order"] == 1
    assert result["spearman"] < 0


def test_answers_that_one_judge_could_not_grade_are_counted_and_left_out(answers):
    result = agree(*judges(answers, [None] + [i / 100 for i in range(1, 36)]), answers)
    assert (result["answers"], result["ungraded"], result["pairs"]) == (35, 1, 34)


def test_a_judge_of_constant_scores_has_no_correlation_rather_than_none_at_all(answers):
    result = agree(*judges(answers, [0.5] * 36), answers)
    assert result["spearman"] is None
    assert result["order"] == 0.5


def test_one_scenario_has_figures_and_no_intervals(answers):
    result = agree(*judges(answers[:3], [0.1, 0.3, 0.2]), answers[:3])
    assert result["order"] == pytest.approx(2 / 3)
    assert result["spearman_interval"] is result["order_interval"] is None


def test_two_judges_of_one_name_are_refused(answers):
    with pytest.raises(SteadfastError, match="another judge than 'fake'"):
        agree(FakeJudge(), FakeJudge(), answers)


def test_too_few_graded_answers_are_an_error_that_counts_them(answers):
    with pytest.raises(SteadfastError, match="only 1 of 36"):
        agree(*judges(answers, [0.5] + [None] * 35), answers)
