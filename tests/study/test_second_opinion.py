import polars as pl
import pytest

from steadfast.study.second_opinion import SAMPLE, second_opinion
from steadfast.tasks import built_in_scenarios
from tests.study.word_judges import OtherWordJudge


def rollout(step, task, completion, reward, pool="trait"):
    return {
        "step": step, "task": task, "pool": pool, "completion": completion, "text": f"some words {completion}",
        "reward": reward, "finished": True,
    }  # fmt: skip


@pytest.fixture
def scenarios():
    return {s.id: s for s in built_in_scenarios() if s.split == "train"}


def test_both_judges_are_averaged_over_the_same_rollouts_of_the_trait_pool(scenarios):
    first, second = list(scenarios)[:2]
    rows = [rollout(1, first, 0, 0.2), rollout(1, second, 0, 0.4), rollout(2, first, 0, 0.9)]
    rows += [rollout(1, "addition-1", 0, 1.0, pool="standard"), rollout(2, first, 1, None)]
    records = second_opinion(pl.DataFrame(rows), "trait", scenarios, OtherWordJudge())
    assert [r["step"] for r in records] == [1, 2]
    assert [r["answers"] for r in records] == [2, 1]
    assert [r["trained"] for r in records] == pytest.approx([0.3, 0.9])
    assert all(0 <= r["other"] <= 1 for r in records)


def test_a_step_with_many_rollouts_is_sampled_evenly_over_its_prompts(scenarios):
    prompts = list(scenarios)[:4]
    rows = [rollout(1, p, c, 0.5) for p in prompts for c in range(16)]
    (record,) = second_opinion(pl.DataFrame(rows), "trait", scenarios, OtherWordJudge())
    assert record["answers"] == SAMPLE


def test_an_arm_without_trait_rollouts_has_no_records(scenarios):
    rollouts = pl.DataFrame([rollout(1, "x", 0, 1.0, pool="standard")])
    assert second_opinion(rollouts, "trait", scenarios, OtherWordJudge()) == []
