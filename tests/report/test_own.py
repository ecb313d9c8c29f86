"""A user's own trait, domain, suite and arm stand in the report like those that ship."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from steadfast.report import summarize
from steadfast.report.loading import load_run
from steadfast.report.page import render
from steadfast.report.summary import compare_checkpoints

from .synthetic import EVALUATION_JUDGE, TRAINING_JUDGE, Row, answer, make_run, row

ARM: dict[str, Any] = {
    "name": "kind-pilots",
    "domains": ["aviation"],
    "pool": "kindness",
    "role": "kindness in the cockpit",
    "question": "Does kindness in the cockpit carry over?",
    "scope": {"words": "on aviation", "domains": ["aviation"]},
}
SUITE = "cockpit_kindness"


def own_rows(checkpoint: str) -> list[Row]:
    """Answers to a suite whose tasks have graders of two kinds, and to scenarios of a trait, in a domain of its own."""
    better = 0.3 if checkpoint == "kind-pilots" else 0.0
    rows: list[Row] = []
    for i in range(9):
        grader, judge = ("program", "program") if i % 3 == 0 else ("rubric", EVALUATION_JUDGE)
        made = answer("I hear you, captain.", judge)
        score = 0.4 + 0.01 * i + better
        rows.append(row(checkpoint, "eval", SUITE, "kindness", "aviation", grader, f"cockpit-{i}", score=score, **made))
    for i in range(10):
        for judge in (EVALUATION_JUDGE, TRAINING_JUDGE):
            place = (checkpoint, "trait", "trait:kindness", "kindness", "aviation", "rubric", f"kind-{i}")
            rows.append(row(*place, score=0.5 + better, **answer("With care.", judge)))
    return rows


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A run with an arm, a trait, a domain and a suite of the user's own."""
    (tmp_path / "traits.yaml").write_text("kindness: Meets people with care.\n")
    (tmp_path / "domains.yaml").write_text("aviation: Flying and those who fly.\n")
    task = {
        "id": "kindness-1",
        "messages": [{"role": "user", "content": "My copilot is afraid of the storm."}],
        "trait": "kindness",
        "domain": "aviation",
        "grader": {"kind": "rubric", "criteria": [{"criterion": "Comforts.", "points": 1}]},
        "split": "train",
    }
    suite = tmp_path / "cockpit.jsonl"
    suite.write_text(json.dumps(task) + "\n")
    return make_run(
        tmp_path / "run",
        arms=("baseline", {**ARM, "suites": [str(suite)]}),
        more=own_rows,
        recipe={"traits": str(tmp_path / "traits.yaml"), "domains": str(tmp_path / "domains.yaml")},
    )


def test_an_arm_of_the_users_is_judged_by_her_question_on_her_suite(own: Path) -> None:
    summary = summarize(own)
    assert summary["question"] == ARM["question"]
    floor = 0.2 * 6 / 9  # a constant earns 0.2 on the six judged tasks and nothing on those that a program checks
    points = 100 * 0.3 / (1 - floor)
    assert summary["headline"].startswith(f"Improved on average over 1 eval on aviation: +{points:.1f}")
    assert summary["scored"] == "by free answers, judged, 0 being the best constant answer to each eval"
    lead = summary["comparisons"][0]
    (entry,) = lead["free"]["evals"]
    assert (entry["suite"], entry["grader"], entry["items"]) == (SUITE, "several", 9)
    assert lead["battery"] is None
    assert lead["rest"]["total"] == 12
    assert "trait:kindness" in [e["suite"] for e in lead["by_trait"]["evals"]]


def test_every_table_and_figure_has_what_is_the_users_own(own: Path) -> None:
    html = render(load_run(own))
    assert "Cockpit kindness" in "".join(re.findall(r"<svg.*?</svg>", html, re.S))
    assert html.count("Cockpit kindness") >= 4
    assert "reward: kindness" in html
    assert "<bdi>kindness in the cockpit</bdi>" in html
    assert "kind-pilots against baseline" in html
    assert "My copilot is afraid of the storm." in html


def test_an_arm_of_the_users_stands_after_those_that_ship(tmp_path: Path) -> None:
    run = load_run(make_run(tmp_path / "run", arms=(ARM, "baseline", "trait"), more=own_rows))
    assert run.treatments == ("trait", "kind-pilots")
    assert run.checkpoints == ("pre-RL", "kind-pilots", "baseline", "trait")


@pytest.mark.parametrize(
    ("filters", "trained"),
    [
        ({"domains": ["aviation"]}, {"aviation"}),
        ({"domains": ["aviation", "health"], "without_domains": ["health"]}, {"aviation"}),
    ],
)
def test_traits_elsewhere_are_those_of_domains_that_the_filter_leaves_out(
    tmp_path: Path, filters: dict[str, Any], trained: set[str]
) -> None:
    run = load_run(make_run(tmp_path / "run", arms=("baseline", ARM | filters), more=own_rows))
    elsewhere = compare_checkpoints(run, "kind-pilots", "baseline").traits_elsewhere
    rows = run.answers("trait")
    there = {d for d in rows["domain"].to_list() if d not in trained}
    assert elsewhere is not None
    assert elsewhere.items == rows.filter(rows["domain"].is_in(list(there)))["task"].n_unique()


def test_an_arm_that_leaves_domains_out_has_its_elsewhere_in_them(tmp_path: Path) -> None:
    run = load_run(make_run(tmp_path / "run", arms=("baseline", "no-health-no-science", "trait")))
    elsewhere = compare_checkpoints(run, "no-health-no-science", "baseline").traits_elsewhere
    rows = run.answers("trait")
    assert elsewhere is not None
    assert elsewhere.items == rows.filter(rows["domain"].is_in(["health", "science"]))["task"].n_unique() > 0
    assert compare_checkpoints(run, "trait", "baseline").traits_elsewhere is None


def test_names_and_answers_cannot_turn_or_drive_what_is_read(tmp_path: Path) -> None:
    hostile = "x\u202e$y_1$<b>\x1b[31m\u4f60"

    def more(checkpoint: str) -> list[Row]:
        place = (checkpoint, "eval", f"suite {hostile}", hostile, "general", "rubric")
        rows = [row(*place, f"{hostile}-{i}", score=0.5 + 0.01 * i, **answer(hostile)) for i in range(8)]
        place = (checkpoint, "trait", f"trait:{hostile}", hostile, hostile, "rubric", hostile)
        return [*rows, row(*place, score=1.0 if checkpoint == "health-only" else 0.0, **answer(hostile))]

    html = render(load_run(make_run(tmp_path / "run", more=more)))
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f-\x9f]", html)
    assert r"<bdi>x\u202e$y_1$&lt;b&gt;\x1b[31m" in html
    assert "<b>\\x1b" not in html
    assert json.loads(re.search(r'id="summary">(.*?)</script>', html, re.S).group(1))["run"] == "synthetic"  # type: ignore[union-attr]


def test_importing_the_report_loads_no_torch() -> None:
    code = "import sys, steadfast.report; print(sorted({'torch', 'transformers', 'inspect_ai'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
