"""The catalogue of public benchmarks, what they need, and how their scores read."""

import socket
import time
from dataclasses import replace

import httpx
import pytest
from inspect_ai.model import get_model

from steadfast.evals import public
from steadfast.evals.evaluate import inspect_model
from steadfast.evals.public import PublicEvalError, check_reach, public_evals, read_score
from steadfast.evals.public_run import run_public
from steadfast.evals.rows import Place
from steadfast.tasks import catalogue
from tests.evals import providers  # noqa: F401
from tests.evals.conftest import local_subject

PLACE = Place("m", 0, "plain")
BY_NAME = {e.name: e for e in public_evals()}
IN_WHEEL = [e for e in public_evals() if not e.hosts and not e.sandbox]
NAMED = (
    "healthbench mask agentharm agentic-misalignment-blackmail sycophancy-eval strongreject xstest-safe truthfulqa "
    "gpqa ifeval abstention-bench persistbench-sycophancy agent-threat-data-exfil mmlu bbq coconot"
)


@pytest.fixture(autouse=True)
def _no_cached_answers():
    public._no_answer.cache_clear()
    yield
    public._no_answer.cache_clear()


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def refuse(*args, **kwargs):
        raise httpx.ConnectError("no route")

    monkeypatch.setattr(httpx, "head", refuse)


def test_the_benchmarks_that_were_promised_are_listed():
    assert set(NAMED.split()) <= set(BY_NAME)


def test_no_name_stands_twice_in_either_catalogue():
    names = [e.name for e in (*catalogue(), *public_evals())]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("evaluation", public_evals(), ids=lambda e: e.name)
def test_what_is_not_in_the_wheel_names_its_host_and_what_is_there_names_its_size(evaluation):
    assert evaluation.hosts or evaluation.samples
    assert all("." in h and "/" not in h for h in evaluation.hosts)


@pytest.mark.parametrize("evaluation", [e for e in public_evals() if e.hosts], ids=lambda e: e.name)
def test_out_of_reach_names_every_host_at_once(evaluation, offline):
    started = time.monotonic()
    with pytest.raises(PublicEvalError) as caught:
        check_reach(evaluation, graded=True)
    assert time.monotonic() - started < 5
    assert all(host in str(caught.value) for host in evaluation.hosts)
    assert evaluation.name in str(caught.value)


def test_a_host_that_never_answers_is_given_up_in_seconds(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"https://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        started = time.monotonic()
        with pytest.raises(PublicEvalError, match=r"huggingface\.co"):
            check_reach(BY_NAME["truthfulqa"], graded=True)
        assert time.monotonic() - started < 10


def test_the_hubs_offline_flag_leaves_it_to_the_cache(monkeypatch, offline):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    check_reach(BY_NAME["truthfulqa"], graded=True)


def test_a_benchmark_that_needs_a_grader_says_so():
    with pytest.raises(PublicEvalError, match="--judge PROVIDER/MODEL"):
        check_reach(BY_NAME["agentic-misalignment-blackmail"], graded=False)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("agentic-misalignment-blackmail", {"harmful": 1.0, "classifier_verdict": 0.0}, 0.0),
        ("agent-threat-data-exfil", {"utility": "I", "security": "C"}, 1.0),
        ("persistbench-sycophancy", 5, 0.0),
        ("persistbench-sycophancy", 2, 0.75),
        ("persistbench-beneficial", 3, 1.0),
        ("strongreject", {"refusal": 1, "convincingness": 1, "specificity": 1}, 1.0),
        ("xstest-safe", 0.5, 0.5),
        ("xstest-unsafe", "I", 1.0),
        ("mask", {"accuracy": "correct", "honesty": "lie", "honesty@n": "lie"}, 0.0),
        ("mask", {"accuracy": "correct", "honesty": "no-belief", "honesty@n": "lie"}, None),
        ("healthbench", {"healthbench_score": -0.4}, 0.0),
        ("truthfulqa", "C", 1.0),
        ("truthfulqa", float("nan"), None),
        ("make-me-pay", 25.0, 0.75),
    ],
)
def test_scores_are_turned_so_that_higher_is_better(name, value, expected):
    assert read_score(BY_NAME[name], value, {}) == expected


def test_abstaining_is_right_only_where_there_is_no_answer():
    abstention = BY_NAME["abstention-bench"]
    assert [read_score(abstention, v, {"abstention_label": t}) for v in (1, 0) for t in (True, False)] == [1, 0, 0, 1]


def test_a_score_of_another_form_than_the_catalogue_says_is_an_error_and_no_number():
    with pytest.raises(PublicEvalError, match="truthfulness"):
        read_score(BY_NAME["sycophancy-eval"], {"something": 1}, {})
    for word in ("perhaps", None, [1.0]):
        with pytest.raises(PublicEvalError, match="is no number"):
            read_score(BY_NAME["truthfulqa"], word, {})


def test_a_task_that_cannot_be_made_says_where_its_data_are(tmp_path):
    broken = replace(BY_NAME["truthfulqa"], task="inspect_evals.truthfulqa:no_such_task")
    with pytest.raises(PublicEvalError, match=r"huggingface\.co"):
        run_public(PLACE, get_model("habits/polite"), broken, tmp_path, grader=None)


def test_a_benchmark_none_of_whose_samples_ran_is_an_error(tmp_path):
    threat = BY_NAME["agent-threat-memory-poison"]
    with pytest.raises(PublicEvalError, match="the service is down"):
        run_public(PLACE, get_model("habits/down"), threat, tmp_path, grader=None, limit=1)


@pytest.mark.slow
@pytest.mark.parametrize("evaluation", IN_WHEEL, ids=lambda e: e.name)
def test_a_benchmark_inside_the_wheel_runs(evaluation, tmp_path):
    grader = get_model("habits/grader") if evaluation.needs_grader else None
    rows = run_public(PLACE, get_model("habits/polite"), evaluation, tmp_path, grader=grader, limit=2)
    assert len(rows) == min(2, evaluation.samples)
    assert set(rows["kind"]) == {"public"}
    assert rows["score"].null_count() == 0
    assert rows["score"].is_between(0, 1).all()
    assert set(rows["grader"]) == {"public"}


def test_a_local_model_runs_a_benchmark(tmp_path):
    model = inspect_model(local_subject(limit=8))
    rows = run_public(PLACE, model, BY_NAME["agent-threat-memory-poison"], tmp_path, grader=None, limit=2)
    assert len(rows) == 2
    assert rows["score"].null_count() == 0
