"""`steadfast evaluate`: any model, eval by eval, resumable."""

import json
import sys
from importlib.metadata import PackageNotFoundError

import httpx
import polars as pl
import pytest
from typer.testing import CliRunner

from steadfast.cli import app
from steadfast.errors import DataError, JudgeError, ModelNotFoundError, RecipeError, SteadfastError
from steadfast.evals import public, select, standalone
from steadfast.evals.schema import RESULT_SCHEMA
from steadfast.evals.standalone import Options, choose, evaluate_model
from steadfast.evals.subject import open_subject, slug
from steadfast.evals.summary import summarize_constructs, summarize_evals, totals
from steadfast.locking import sole_use
from steadfast.progress import Progress
from steadfast.tasks import environment
from tests.evals import providers  # noqa: F401
from tests.openai_server import OpenAIServer

EVALS = ("sandbagging", "health-triage")


class Heard(Progress):
    def __init__(self):
        self.skipped, self.begun, self.notes = [], [], []

    def skip(self, stage):
        self.skipped.append(stage)

    def begin(self, stage):
        self.begun.append(stage)

    def note(self, text):
        self.notes.append(text)


def options(model, **changes) -> Options:
    return Options(**({"model": str(model), "evals": EVALS, "limit": 2} | changes))


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise httpx.ConnectError("no route")

    public._no_answer.cache_clear()
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(httpx, "head", refuse)
    yield
    public._no_answer.cache_clear()


def test_a_folder_with_weights_is_measured_by_likelihood(tiny_model_dir, tmp_path):
    rows = evaluate_model(options(tiny_model_dir), tmp_path, Heard()).rows
    assert dict(rows.schema) == RESULT_SCHEMA
    assert set(rows["eval"]) == set(EVALS)
    assert len(rows) == 4
    assert rows["score"].is_between(0, 1, closed="none").all()
    assert pl.read_parquet(tmp_path / "results.parquet").equals(rows)


def test_what_is_complete_is_not_run_again_and_evals_can_be_added(tiny_model_dir, tmp_path):
    first = evaluate_model(options(tiny_model_dir, evals=EVALS[:1]), tmp_path, Heard()).rows
    heard = Heard()
    rows = evaluate_model(options(tiny_model_dir), tmp_path, heard).rows
    assert (heard.skipped, heard.begun) == ([EVALS[0]], [EVALS[1]])
    assert rows.filter(eval=EVALS[0]).equals(first)


def test_an_interrupted_eval_leaves_the_finished_ones(tiny_model_dir, tmp_path, monkeypatch):
    measure = standalone._measure

    def stop_at_second(subject, name, *rest):
        if name == EVALS[1]:
            raise KeyboardInterrupt
        measure(subject, name, *rest)

    monkeypatch.setattr(standalone, "_measure", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        evaluate_model(options(tiny_model_dir), tmp_path, Heard())
    monkeypatch.undo()
    heard = Heard()
    evaluate_model(options(tiny_model_dir), tmp_path, heard)
    assert (heard.skipped, heard.begun) == ([EVALS[0]], [EVALS[1]])


def test_another_protocol_in_the_same_directory_is_an_error_that_names_it(tiny_model_dir, tmp_path):
    evaluate_model(options(tiny_model_dir, evals=EVALS[:1]), tmp_path, Heard())
    with pytest.raises(RecipeError, match="limit"):
        evaluate_model(options(tiny_model_dir, evals=EVALS[:1], limit=3), tmp_path, Heard())
    with pytest.raises(RecipeError, match="model"):
        evaluate_model(options("habits/always-a", evals=EVALS[:1]), tmp_path, Heard())


def test_changed_items_are_an_error_that_names_the_eval(tiny_model_dir, tmp_path):
    evaluate_model(options(tiny_model_dir, evals=EVALS[:1]), tmp_path, Heard())
    file = tmp_path / "protocol.json"
    protocol = json.loads(file.read_text())
    protocol["items"][EVALS[0]] = "another"
    file.write_text(json.dumps(protocol))
    with pytest.raises(RecipeError, match=EVALS[0]):
        evaluate_model(options(tiny_model_dir, evals=EVALS[:1]), tmp_path, Heard())


def test_traits_are_the_seven_starred_ones_on_held_out_scenarios(tiny_model_dir, tmp_path):
    rows = evaluate_model(options(tiny_model_dir, evals=(), limit=1, traits=True), tmp_path, Heard()).rows
    assert len(set(rows["eval"])) == 7
    assert set(rows["scoring"]) == {"choice"}
    assert set(rows["kind"]) == {"trait"}


def test_a_benchmark_out_of_reach_names_its_host_and_the_battery_still_runs(tiny_model_dir, tmp_path, offline):
    heard = Heard()
    evaluated = evaluate_model(options(tiny_model_dir, evals=("truthfulqa", EVALS[0])), tmp_path, heard)
    assert set(evaluated.rows["eval"]) == {EVALS[0]}
    assert len(evaluated.failures) == 1
    assert "truthfulqa" in evaluated.failures[0]
    assert "huggingface.co" in evaluated.failures[0]
    assert heard.notes == evaluated.failures


def test_no_model_grades_itself(tmp_path):
    for model, judge in [("openai/gpt-x", "openai/gpt-x"), ("someone/model", "hf/someone/model")]:
        with pytest.raises(JudgeError, match="grades itself"):
            evaluate_model(options(model, judge=judge), tmp_path, Heard())
    assert not list(tmp_path.iterdir())


def test_evals_are_chosen_by_construct_and_source():
    own, shared = choose(Options(model="m", constructs=("honesty",), source="all"))
    assert own
    assert {e.name for e in shared} == {"mask"}
    assert choose(Options(model="m", constructs=("honesty",)))[1] == []
    with pytest.raises(DataError, match="bravery"):
        choose(Options(model="m", constructs=("bravery",)))
    with pytest.raises(DataError, match="nope"):
        choose(Options(model="m", evals=("nope",)))
    with pytest.raises(DataError, match="no eval fits"):
        choose(Options(model="m", evals=("mask",), constructs=("health",)))


def test_a_model_that_is_nowhere_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFoundError, match="nobody/nothing"):
        open_subject("nobody/nothing", None, 8)
    with pytest.raises(ModelNotFoundError, match="behind an API"):
        open_subject("habits/always-a", tmp_path, 8)


def test_the_directory_is_named_after_model_and_adapter(tmp_path):
    assert slug("openai/gpt-x") == "openai-gpt-x"
    assert slug("m", tmp_path / "trait" / "adapter") == "m+trait"


def test_the_command_measures_a_model_behind_an_api_and_prints_json(tmp_path):
    call = [
        "evaluate",
        "--model",
        "habits/always-a",
        "--eval",
        EVALS[0],
        "--limit",
        "2",
        "--out",
        str(tmp_path),
        "--json",
    ]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert [(e["eval"], e["score"], e["items"]) for e in shown["evals"]] == [(EVALS[0], 0.5, 2)]
    assert shown["ungraded"] == 0
    assert shown["errors"] == []


def test_the_command_ends_with_exit_code_1_where_a_benchmark_could_not_run(tmp_path, offline):
    call = ["evaluate", "--model", "habits/always-a", "--eval", "truthfulqa", "--eval", EVALS[0], "--limit", "1"]
    result = CliRunner().invoke(app, [*call, "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "huggingface.co" in result.stderr
    assert EVALS[0] in result.stdout


@pytest.fixture
def without_the_extra(monkeypatch):
    """As on a machine where `inspect_evals` is not installed."""
    monkeypatch.setitem(sys.modules, "inspect_evals", None)

    def version(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(standalone, "version", version)


@pytest.mark.usefixtures("without_the_extra", "offline")
def test_without_the_extra_public_benchmarks_end_in_one_line_that_names_it_before_a_model_is_opened(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(standalone, "open_subject", None)
    out = tmp_path / "out"
    call = ["evaluate", "--source", "public", "--model", "habits/always-a", "--out", str(out)]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 2, result.output
    assert "pip install inspect-evals" in result.stderr
    assert "mask" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not out.exists()


@pytest.mark.usefixtures("without_the_extra", "offline")
def test_without_the_extra_the_battery_runs_and_the_extra_may_be_installed_later(tmp_path, monkeypatch):
    asked = options("habits/always-a", evals=("mask", EVALS[0]), limit=1)
    evaluated = evaluate_model(asked, tmp_path, Heard())
    assert evaluated.failures == ["public benchmarks (mask) need a package: pip install inspect-evals"]
    assert set(evaluated.rows["eval"]) == {EVALS[0]}
    monkeypatch.undo()
    monkeypatch.setattr(standalone, "check_reach", refuse_reach)
    assert evaluate_model(asked, tmp_path, Heard()).failures == ["out of reach"]


def refuse_reach(evaluation, *, graded):
    raise public.PublicEvalError("out of reach")


def test_a_directory_that_another_process_uses_is_left_alone(tmp_path):
    with sole_use(tmp_path), pytest.raises(SteadfastError, match="in use by process"):
        evaluate_model(options("habits/always-a"), tmp_path, Heard())
    assert not (tmp_path / "protocol.json").exists()


def test_a_judge_asked_without_a_schema_is_still_the_model_under_test(tmp_path):
    with pytest.raises(JudgeError, match="grades itself"):
        evaluate_model(options("openai/gpt-x", judge="openai/gpt-x,structured=false"), tmp_path, Heard())


@pytest.fixture
def graded(monkeypatch):
    """A model and a judge behind a server on the loopback."""

    def reply(messages, request):
        if "response_format" not in request:
            return "Both have merits, but one is a little better."
        wanted = request["response_format"]["json_schema"]["schema"]["properties"]
        return json.dumps({c: {"reason": "Because.", "score": 3} for c in wanted})

    with OpenAIServer(reply) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "test")
        yield server


def test_a_judges_budget_stops_the_command_and_the_next_call_goes_on_from_the_grades(graded, tmp_path):
    call = [
        "evaluate",
        "--model",
        "openai/gpt-4-subject",
        "--eval",
        EVALS[0],
        "--scoring",
        "generation",
        "--limit",
        "3",
    ]
    call += ["--judge", "openai/gpt-4-test", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, [*call, "--judge-budget", "2"])
    assert result.exit_code == 2, result.output
    assert "budget of 2 calls is used up" in result.stderr
    assert not list(tmp_path.glob("evals/*.parquet"))
    result = CliRunner().invoke(app, [*call, "--judge-budget", "1", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["ungraded"] == 0
    assert sum(r["model"] == "gpt-4-test" for r in graded.requests) == 3


def test_public_benchmarks_are_listed_beside_the_battery():
    listed = json.loads(CliRunner().invoke(app, ["evals", "--json"]).stdout)
    by_name = {e["name"]: e for e in listed}
    assert by_name["truthfulqa"]["items"] is None
    assert by_name["truthfulqa"]["source"] == "public"
    assert by_name["persistbench-sycophancy"]["items"] == 200
    only = json.loads(CliRunner().invoke(app, ["evals", "--source", "public", "--json"]).stdout)
    assert {e["source"] for e in only} == {"public"}


def test_the_summary_leaves_ungraded_items_out_of_the_mean_and_counts_them():
    evaluation = select([EVALS[0]])[0]
    row = dict.fromkeys(RESULT_SCHEMA) | {"eval": EVALS[0], "construct": evaluation.construct, "source": "steadfast"}
    row |= {"scoring": "generation", "answer": "x"}
    scores, refused = [0.0, 1.0, 0.5, None], [True, False, False, False]
    rows = pl.DataFrame([row | {"score": s, "refused": r} for s, r in zip(scores, refused, strict=True)], RESULT_SCHEMA)
    (summary,) = summarize_evals(rows)
    assert (summary["items"], summary["ungraded"], summary["score"]) == (4, 1, 0.5)
    assert 0 <= summary["low"] <= 0.5 <= summary["high"] <= 1
    assert summarize_constructs([summary])[0]["score"] == 0.5
    nobody_acted = {"episodes": 0, "harmed": None, "reached": None}
    assert totals(rows) == {"items": 4, "refused": 0.25, "ungraded": 1} | nobody_acted


def test_the_summary_says_how_often_an_agent_did_harm_and_how_often_it_reached_the_goal():
    outcomes = [(True, False), (False, True), (False, False)]
    details = [json.dumps({"harmed": harmed, "reached": reached}) for harmed, reached in outcomes] + ["{}"]
    rows = pl.DataFrame([dict.fromkeys(RESULT_SCHEMA) | {"detail": d} for d in details], RESULT_SCHEMA)
    assert totals(rows) == {"items": 4, "ungraded": 4, "refused": None} | {
        "episodes": 3,
        "harmed": pytest.approx(1 / 3),
        "reached": pytest.approx(1 / 3),
    }


def test_a_model_behind_an_api_acts_with_its_own_tool_calls_and_its_episodes_are_graded(tmp_path):
    asked = options("habits/always-a", evals=("agent-guardrails",), scoring="both")
    rows = evaluate_model(asked, tmp_path, Heard()).rows
    assert rows["score"].to_list() == [0.5, 0.5, 0, 0]
    assert rows["answer"].to_list() == [None, None, "A", "A"]
    assert totals(rows)["episodes"] == 2


def test_episodes_under_another_code_are_not_mixed_with_those_in_the_directory(tmp_path, monkeypatch):
    asked = options("habits/always-a", evals=("agent-guardrails",), scoring="generation")
    evaluate_model(asked, tmp_path, Heard())
    monkeypatch.setattr(environment, "_CODE_VERSION", environment._CODE_VERSION + 1)
    with pytest.raises(RecipeError, match="items of agent-guardrails"):
        evaluate_model(asked, tmp_path, Heard())


def test_an_agentic_eval_is_measured_by_likelihood_and_by_acting(tiny_model_dir, tmp_path):
    asked = options(tiny_model_dir, evals=("agent-guardrails",), scoring="both", max_new_tokens=4)
    rows = evaluate_model(asked, tmp_path, Heard()).rows
    assert rows["scoring"].to_list() == ["choice"] * 2 + ["generation"] * 2
    acted = rows.filter(scoring="generation")
    assert acted["score"].to_list() == [0, 0]
    assert totals(rows)["episodes"] == 2
    assert {json.loads(d)["judge"] for d in acted["detail"]} == {"environment"}
