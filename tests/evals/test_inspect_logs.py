"""Measurements as logs of Inspect's, read back with Inspect's own reader."""

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log

from steadfast.evals.inspect_logs import write_logs
from steadfast.evals.measure import Condition
from tests.evals.conftest import measure_parts, parts


@pytest.fixture(scope="module")
def logs(measured):
    return {log.eval.task: log for log in map(read_eval_log, list_eval_logs(str(measured.log_dir)))}


def test_every_suite_has_a_log_for_each_way_of_scoring_it(logs):
    compared = {"ship", "care", "trait:truthfulness", "disk"}
    answered = {*compared, "chat", "capability-sums"}
    assert set(logs) == {f"{s}-preference" for s in compared} | {f"{s}-answers" for s in answered}
    assert {log.status for log in logs.values()} == {"success"}


def test_scores_in_a_log_are_those_of_the_rows(logs, measured):
    for sample in logs["care-preference"].samples:
        row = measured.only(suite="care", grader="preference", task=sample.id).row(0, named=True)
        assert sample.scores["preference"].value == row["score"]
        assert sample.scores["preference"].metadata["pmi"]["share"] == row["score"]


def test_an_unscored_sample_is_no_zero_and_tells_its_reason(logs):
    by_id = {s.id: s for s in logs["ship-answers"].samples}
    assert by_id["item-0"].scores["rubric"].value == 0.75
    ungraded = by_id["item-1"].scores["rubric"]
    assert ungraded.value != 0
    assert ungraded.reason == "rubbish from the judge"


def test_the_mean_of_a_log_leaves_unscored_samples_out_and_counts_them(logs):
    (score,) = logs["ship-answers"].results.scores
    assert score.metrics["mean"].value == 0.75
    assert (score.scored_samples, score.unscored_samples) == (1, 1)


def test_a_log_holds_the_answer_with_its_judge_and_verdicts(logs, measured):
    (sample,) = (s for s in logs["ship-answers"].samples if s.id == "item-0")
    row = measured.only(suite="ship", grader="rubric", task="item-0").row(0, named=True)
    assert sample.output.completion == row["answer"]
    assert sample.scores["rubric"].metadata["judge"] == "evaluation-fake"
    assert sample.scores["rubric"].metadata["verdicts"][0]["criterion"] == "Says it straight."


def test_logs_of_a_later_session_take_nothing_away_from_those_before(measured, tmp_path):
    ship = parts()[0]
    found = measure_parts([ship])
    write_logs(tmp_path, "m", [ship], found, Condition())
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    write_logs(tmp_path, "m", [ship], found, Condition())
    assert len(list(tmp_path.iterdir())) == 2 * len(before)
    assert all((tmp_path / name).read_bytes() == content for name, content in before.items())
