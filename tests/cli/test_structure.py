"""`steadfast structure`."""

import pytest

from tests.report.synthetic import make_run

ARMS = ("baseline", "health-only", "no-health-no-science", "trait", "helpfulness")


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", arms=ARMS, effect={"trait": 0.1, "health-only": 0.05})


def test_a_run_gets_a_table_a_verdict_and_its_limits(steadfast, run):
    result = steadfast("structure", run, "--permutations", "100")
    assert result.exit_code == 0
    assert "mean rank correlation" in result.stdout
    assert "oversight-log" in result.stdout
    assert "the evals" in result.stdout
    assert "6 checkpoints are few" in result.stderr


def test_json_has_every_number(steadfast_json, run):
    found = steadfast_json("structure", run, "--permutations", "100", "--control-capability")
    assert found["checkpoints"] == ["pre-RL", *ARMS]
    assert len(found["evals"]) == 12
    for key in ("plain", "controlled_for_capability"):
        assert found[key]["mean"]["low"] < found[key]["mean"]["high"]
        assert len(found[key]["correlations"]) == len(found[key]["evals"])
    assert found["plain"]["within"]["value"] is None


def test_the_same_seed_gives_the_same_output(steadfast, run):
    first, second, other = (
        steadfast("structure", run, "--permutations", "100", "--seed", seed, "--json").stdout for seed in "112"
    )
    assert first == second != other


@pytest.mark.parametrize("name", ["figure.svg", "figure.html"])
def test_out_writes_the_figure(steadfast, run, tmp_path, name):
    result = steadfast("structure", run, "--permutations", "100", "--out", tmp_path / name)
    assert result.exit_code == 0
    assert "<svg" in (tmp_path / name).read_text(encoding="utf-8")
    assert name in result.stdout.replace("\n", "")


def test_a_format_that_cannot_be_written_is_refused_before_any_work(steadfast, tmp_path):
    result = steadfast("structure", tmp_path / "none.parquet", "--out", tmp_path / "figure.png")
    assert result.exit_code == 2
    assert ".svg or .html" in result.stderr


def test_three_checkpoints_are_refused(steadfast, tmp_path):
    result = steadfast("structure", make_run(tmp_path / "small"))
    assert result.exit_code == 2
    assert "3 checkpoints are too few" in result.stderr
    assert result.stdout == ""


def test_two_small_runs_together_are_enough(steadfast_json, tmp_path):
    runs = [make_run(tmp_path / name, seed=seed) for name, seed in (("one", 1), ("two", 2))]
    found = steadfast_json("structure", *runs, "--permutations", "50")
    assert found["checkpoints"] == [
        f"{run}: {c}" for run in ("one", "two") for c in ("pre-RL", "baseline", "health-only")
    ]
