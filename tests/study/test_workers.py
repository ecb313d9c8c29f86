"""A run whose stages are shared by several processes: the same results, and nothing lost when one of them fails."""

import errno
import gc
import io
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import polars as pl
import psutil
import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file

from steadfast.errors import DataError, JudgeError, SteadfastError
from steadfast.progress import ConsoleProgress, Progress
from steadfast.rundir import RunDirectory
from steadfast.study import Recipe, load_recipe, run_recipe, running
from steadfast.study.stages import Stage
from steadfast.study.workers import Team, run_side_by_side, team_for
from tests.study.examples import content, recipe, save_model
from tests.study.test_twins_run import TWINS

ROOT = Path(__file__).parents[2]
TRAINED = ("warm-start", "health-only", "baseline")
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def made_of(model):
    """Two seeds with a warm start each, so that stages wait for others, and a judge that can be made to fail."""
    training = content(model)["training"] | {"warm_start": {"steps": 2}, "prompts_per_step": 4, "advantage": "centered"}
    evaluation = content(model)["evaluation"] | {"judge": "tests.study.word_judges:FailingJudge"}
    data = {"standard_prompts": 60, "train_on": ["twins"], "twins": TWINS}
    return content(model, seeds=list(SEEDS), data=data, training=training, evaluation=evaluation)


@pytest.fixture(scope="module")
def in_turn(model, tmp_path_factory):
    """The run by one process, with a thread for each stage as the workers have."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return run_recipe(Recipe.model_validate(made_of(model)), tmp_path_factory.mktemp("run") / "in-turn")
    finally:
        torch.set_num_threads(before)


def assert_same_end(one: Path, other: Path):
    for arm in TRAINED:
        for seed in SEEDS:
            place = Path("arms", arm, f"seed-{seed}", "adapter", "adapter_model.safetensors")
            ours, theirs = load_file(one / place), load_file(other / place)
            assert all(torch.equal(ours[k], theirs[k]) for k in theirs), place
    assert pl.read_parquet(one / "results.parquet").equals(pl.read_parquet(other / "results.parquet"))


@pytest.fixture
def one_thread(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)


@pytest.mark.usefixtures("one_thread")
def test_a_run_by_two_workers_ends_as_one_by_a_single_process(in_turn, model, tmp_path):
    text = io.StringIO()
    progress = ConsoleProgress(Console(file=text, width=200))
    run_recipe(Recipe.model_validate(made_of(model)), tmp_path / "run", progress, workers=2)
    assert_same_end(tmp_path / "run", in_turn)
    assert "2 worker processes, each with 1 thread\n" in text.getvalue()
    assert text.getvalue().index("train warm-start, seed 1") < text.getvalue().index("train health-only, seed 1")
    assert "100%" in text.getvalue()


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_fault_in_a_worker_is_raised_as_it_is_and_the_run_goes_on_from_what_was_saved(
    in_turn, model, tmp_path, monkeypatch
):
    made = Recipe.model_validate(made_of(model))
    monkeypatch.setenv("STEADFAST_TEST_JUDGE_FAILS_AFTER", "3")
    with pytest.raises(JudgeError, match="the judge has left the room"):
        run_recipe(made, tmp_path / "run", workers=2)
    assert list((tmp_path / "run" / "arms").glob("*/*/metrics.jsonl"))
    assert not [p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
    monkeypatch.delenv("STEADFAST_TEST_JUDGE_FAILS_AFTER")
    run_recipe(made, tmp_path / "run", workers=2)
    assert_same_end(tmp_path / "run", in_turn)


@pytest.fixture
def command(model, tmp_path):
    """The command line of a run by two workers, in a process of its own."""
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(made_of(model)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    return lambda: subprocess.Popen(
        [sys.executable, "-m", "steadfast", "run", file, "--out", tmp_path / "run", "--workers", "2"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [p for p in children if "spawn_main" in " ".join(p.cmdline())]


def wait_for(happened, process):
    deadline = time.monotonic() + 900  # only so that a hang ends
    while not happened():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_workers_and_killed_runs_end_as_one_never_killed(in_turn, model, command, tmp_path):
    process = command()
    wait_for(lambda: list(tmp_path.glob("run/arms/warm-start/*/metrics.jsonl")), process)
    workers_of(process)[0].kill()
    process.wait(timeout=300)
    assert process.returncode == 2
    assert "a worker process was ended from outside (exit code -9)" in process.stderr.read()

    process = command()
    wait_for(lambda: list(tmp_path.glob("run/arms/health-only/*/metrics.jsonl")), process)
    orphans = workers_of(process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(orphans, timeout=60)[1] == []

    process = command()
    wait_for(lambda: list(tmp_path.glob("run/rows/pre-RL/*")), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143

    run_recipe(load_recipe(tmp_path / "recipe.yaml"), tmp_path / "run")
    assert_same_end(tmp_path / "run", in_turn)


def team(asked=None, stages=9, weights=500_000_000, threads=None, alone=None):
    return team_for(asked, stages, weights=weights, threads=threads, alone=alone)


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 13_000_000_000}))


@pytest.mark.usefixtures("machine")
def test_workers_are_as_many_as_cores_memory_and_stages_allow():
    assert team() == Team(4, 2)
    assert team(weights=20_000_000) == Team(8, 1)
    assert team(weights=20_000_000, stages=3) == Team(3, 2)
    assert team(weights=50_000_000_000) == Team(1, 8)
    assert team(stages=0) == Team(1, 8)
    assert team(alone="it is on cuda") == Team(1, 8)
    assert team(asked=2) == Team(2, 4)
    assert team(asked=1) == Team(1, 8)
    assert team(asked=50, stages=2) == Team(2, 4)
    assert team(asked=50, stages=0) == Team(1, 8)
    assert team(asked=16) == Team(9, 1)


@pytest.mark.usefixtures("machine")
def test_a_run_that_is_resumed_keeps_the_threads_that_its_results_depend_on():
    assert team(threads=4) == Team(2, 4)
    assert team(threads=16) == Team(1, 16)
    assert team(asked=3, threads=1) == Team(3, 1)
    assert team(alone="it is on cuda", threads=2) == Team(1, 2)


def test_more_workers_than_a_run_can_have_are_an_error_with_the_reason(model, tmp_path):
    with pytest.raises(SteadfastError, match="--workers 2: the model is on cuda"):
        team(asked=2, alone="the model is on cuda, which one process uses")
    judge = {"kind": "llm", "model": "mockllm/model"}
    with pytest.raises(SteadfastError, match="--workers 2: a language model judges"):
        run_recipe(recipe(model, judge=judge), tmp_path / "run", force=True, workers=2)


def test_an_error_with_all_its_problems_comes_whole_from_another_process():
    error = pickle.loads(pickle.dumps(DataError(["a.jsonl:1: no id", "a.jsonl:2: no id"])))
    assert isinstance(error, DataError)
    assert error.problems == ["a.jsonl:1: no id", "a.jsonl:2: no id"]
    assert str(error).startswith("2 problems found:")


class StubbornError(SteadfastError):
    """An error of a user's own that no pickle can make again."""

    def __init__(self, file: str, line: int) -> None:
        super().__init__(f"{file}:{line}: mend this")


def meets_a_full_disk():
    try:
        raise OSError(errno.ENOSPC, "No space left on device", "rows.parquet")
    except OSError:
        raise RuntimeError("the log could not be closed")  # noqa: B904


def raises_a_stubborn_error():
    raise StubbornError("mine.py", 3)


def starts_a_process():
    child = multiprocessing.get_context("fork").Process(target=os.getpid)
    child.start()
    child.join()


def is_interrupted():
    os.kill(os.getpid(), signal.SIGINT)


def holds_off_its_end():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def leaves():
    raise SystemExit(3)


def stages_that_do_one_thing_each(_progress):
    found = (meets_a_full_disk, raises_a_stubborn_error, starts_a_process, is_interrupted, holds_off_its_end, leaves)
    return [Stage(f.__name__, lambda: False, 1.0, f) for f in found]


def run_in_a_worker(*stages):
    left = dict.fromkeys((f.__name__ for f in stages), None)
    run_side_by_side(left, stages_that_do_one_thing_each, Team(1, 1), Progress(), lambda _name, _seconds: None)


def test_a_stage_may_start_processes_and_hold_off_its_end_and_hears_no_ctrl_c(monkeypatch):
    monkeypatch.setattr("steadfast.study.workers._SECONDS_TO_END", 0.1)
    run_in_a_worker(starts_a_process, is_interrupted, holds_off_its_end)
    assert not [p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]


def test_a_users_error_that_cannot_be_pickled_is_still_one_that_she_can_mend():
    with pytest.raises(SteadfastError, match=r"^mine\.py:3: mend this$"):
        run_in_a_worker(raises_a_stubborn_error)


def test_what_an_error_of_a_worker_came_of_comes_with_it():
    with pytest.raises(RuntimeError, match="the log could not be closed") as found:
        run_in_a_worker(meets_a_full_disk)
    assert found.value.__cause__ is None
    assert isinstance(found.value.__context__, OSError)
    assert found.value.__context__.errno == errno.ENOSPC


def test_a_worker_that_ends_by_itself_is_not_told_as_one_that_was_killed():
    with pytest.raises(SteadfastError, match=r"ended by itself \(exit code 3\).*if __name__"):
        run_in_a_worker(leaves)


def test_collections_of_stages_pass_over_what_was_there_before_and_later_ones_do_not():
    passed_over = []

    def fails():
        passed_over.append(gc.get_freeze_count())
        raise KeyError

    with pytest.raises(KeyError):
        running._run_in_turn([Stage("one", lambda: False, 1.0, fails)], Progress(), 1, lambda _name, _seconds: None)
    assert passed_over[0] > 100_000, "torch alone is more"
    assert gc.get_freeze_count() == 0


def stages_that_tell_their_threads(folder: Path, progress):
    """Stages that write down how many threads torch has in the process that runs them."""

    def stage(name):
        return Stage(name, lambda: False, 1.0, lambda: (folder / name).write_text(str(torch.get_num_threads())))

    return [stage("one"), stage("two")]


def test_a_worker_has_the_threads_that_it_is_given(tmp_path):
    opened = partial(stages_that_tell_their_threads, tmp_path)
    for threads in (1, 3):
        run_side_by_side(
            {"one": None, "two": "one"}, opened, Team(1, threads), Progress(), lambda _name, _seconds: None
        )
        assert [(tmp_path / name).read_text() for name in ("one", "two")] == [str(threads)] * 2


def test_a_run_whose_threads_were_lost_says_so_and_records_those_that_it_takes(in_turn, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(in_turn, directory)
    (directory / "environment.json").unlink()
    shutil.rmtree(directory / "rows" / "pre-RL")
    text = io.StringIO()
    recipe = load_recipe(directory / "recipe.yaml")
    run_recipe(recipe, directory, ConsoleProgress(Console(file=text, width=400)))
    assert "environment.json: does not say how many threads earlier stages had" in text.getvalue()
    assert RunDirectory(directory).threads() == torch.get_num_threads()
    again = io.StringIO()
    run_recipe(recipe, directory, ConsoleProgress(Console(file=again, width=400)))
    assert "threads" not in again.getvalue()
