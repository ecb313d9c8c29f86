"""How much each arm was trained: prompts, tokens and KL, in the page and in the JSON."""

import json

import pytest

from steadfast.report.json_summary import summarize
from steadfast.report.loading import load_run
from steadfast.report.page import render
from steadfast.report.training import trained_amounts
from tests.report.synthetic import STEPS, make_run


def test_tokens_are_summed_over_the_steps_and_the_kl_is_that_of_the_last_ones(tmp_path):
    run = load_run(make_run(tmp_path / "run", recipe={"training": {"steps": STEPS, "prompts_per_step": 6}}))
    baseline, health = trained_amounts(run)
    assert (baseline.arm, health.arm) == ("baseline", "health-only")
    assert baseline.method == "rl"
    assert baseline.prompts == 6 * 12
    assert baseline.sampled == 100 * sum(range(1, 13))
    assert baseline.trained == 10 * sum(range(1, 13))
    assert baseline.kl == pytest.approx(0.01 * 10), "steps 8 to 12"
    assert summarize(tmp_path / "run")["trained"][1]["trained"] == health.trained
    assert "7,800" in render(run)


def test_a_kl_that_was_seldom_measured_is_that_of_the_last_steps_alone(tmp_path):
    directory = make_run(tmp_path / "run")
    file = directory / "arms" / "baseline" / "seed-0" / "metrics.jsonl"
    metrics = [json.loads(line) for line in file.read_text().splitlines()]
    for m in metrics[1:-1]:
        del m["kl"]
    file.write_text("".join(json.dumps(m) + "\n" for m in metrics))
    assert trained_amounts(load_run(directory))[0].kl == pytest.approx(metrics[-1]["kl"])


def test_of_an_arm_that_imitates_only_prompts_with_an_answer_count(tmp_path):
    arm = {"name": "copy", "method": "supervised"}
    directory = make_run(tmp_path / "run", arms=("baseline", arm))
    file = directory / "arms" / "copy" / "seed-0" / "metrics.jsonl"
    metrics = [json.loads(line) | {"demonstrations": 5} for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(m) + "\n" for m in metrics))
    _, copy = trained_amounts(load_run(directory))
    assert (copy.method, copy.prompts) == ("supervised", 5 * 12)


def test_what_was_not_logged_is_said_and_is_no_zero(tmp_path):
    directory = make_run(tmp_path / "run")
    file = directory / "arms" / "baseline" / "seed-0" / "metrics.jsonl"
    kept = [{"step": json.loads(line)["step"]} for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(m) + "\n" for m in kept))
    run = load_run(directory)
    assert (trained_amounts(run)[0].sampled, trained_amounts(run)[0].kl) == (None, None)
    assert "not logged" in render(run)
    (directory / "arms" / "baseline" / "seed-0" / "metrics.jsonl").unlink()
    assert [a.arm for a in trained_amounts(load_run(directory))] == ["health-only"]
