import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from steadfast.errors import SteadfastError
from steadfast.report import summarize, write_report
from steadfast.report.answers import rollouts
from steadfast.report.loading import load_run
from steadfast.report.summary import compare_checkpoints
from steadfast.report.wording import cost
from tests.report.synthetic import EVALUATION_JUDGE, STEPS, Row, make_run


def page(directory: Path) -> str:
    return write_report(directory).read_text(encoding="utf-8")


def lead(directory: Path) -> dict[str, Any]:
    return summarize(directory)["comparisons"][0]


def test_a_planted_improvement_is_called_one(planted_page: Path) -> None:
    summary = summarize(planted_page.parent)
    assert summary["headline"].startswith("Improved on average over 10 evals outside health: +")
    assert summary["comparisons"][0]["battery"]["difference"]["estimate"] == pytest.approx(0.1, abs=0.01)
    assert (
        "10 of 10 evals outside health scored higher than the baseline, 10 significantly; none lower"
        in planted_page.read_text(encoding="utf-8")
    )
    battery = summary["comparisons"][0]["battery"]
    assert battery["difference"]["low"] < 0.1 < battery["difference"]["high"]


def test_a_null_and_its_cost_say_what_the_training_seeds_would_have_found(tmp_path: Path) -> None:
    directory = make_run(tmp_path, seeds=(0, 1, 2))
    found = r"Over 3 training seeds it is \S+ \[\S+, \S+\]; they find a change of \d+\.\d points four times in five\."
    assert re.search(r"^No change shown over 10 evals outside health: .* " + found, summarize(directory)["headline"])
    # Here every seed has the same difference but for rounding, and that is no spread to compute with.
    same = r"Over 3 training seeds it is 0\.0 \[no spread\]: it is the same with each, which says nothing of other"
    assert re.search(r"Capability over \d+ tasks? shows no detectable change.*" + same, page(directory))


def test_a_null_is_called_a_null(run: Path) -> None:
    assert summarize(run)["headline"].startswith("No change shown over 10 evals outside health")
    html = page(run)
    assert "The trait itself did not rise detectably" in html
    assert "Improved on average" not in html


def test_a_planted_loss_is_called_worse(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", effect={"health-only": -0.1})
    assert summarize(run)["headline"].startswith("Worse on average over 10 evals outside health: \N{MINUS SIGN}")


def test_what_only_some_training_seeds_show_is_told_as_not_shown_and_in_no_colour(tmp_path: Path) -> None:
    def fall(by: tuple[float, float, float]) -> Callable[[Row], Row]:
        def edit(row: Row) -> Row:
            if row["checkpoint"] == "health-only" and row["kind"] == "eval":
                row["score"] = min(1.0, max(0.0, row["score"] - by[row["seed"]]))
            return row

        return edit

    one = make_run(tmp_path / "one", seeds=(0, 1, 2), edit=fall((0.4, 0.0, 0.0)))
    assert summarize(one)["headline"].startswith(
        "Not shown over training seeds, though by items alone it is worse on av"
    )
    assert re.search(r'class="verdict " id="headline"', page(one))
    every = make_run(tmp_path / "every", seeds=(0, 1, 2), edit=fall((0.15, 0.2, 0.25)))
    assert re.search(r"^Worse on average over .* Over 3 training seeds it is ", summarize(every)["headline"])
    assert re.search(r'class="verdict down" id="headline"', page(every))


def test_with_one_training_run_the_headline_says_so(tmp_path: Path) -> None:
    assert summarize(make_run(tmp_path, seeds=(0,)))["headline"].endswith(
        "One training run: another could differ by more."
    )


def test_a_cost_that_the_training_seeds_do_not_show_says_so(tmp_path: Path) -> None:
    def fall(row: Row) -> Row:
        if row["checkpoint"] == "health-only" and row["kind"] == "capability":
            row["score"] = 0.1 * row["seed"] * row["score"]
        return row

    run = load_run(make_run(tmp_path, seeds=(0, 1, 2), edit=fall))
    found = compare_checkpoints(run, "health-only", "baseline")
    assert found.capability is not None
    assert found.capability_over_seeds is not None
    assert "tasks fell, \N{MINUS SIGN}" in cost(found, None)
    over = found.capability_over_seeds
    unsure = replace(over, difference=replace(over.difference, high=0.01))
    text = cost(replace(found, capability_over_seeds=unsure), None)
    assert "tasks fell by items alone, though not over training seeds, \N{MINUS SIGN}" in text


def test_gains_and_losses_that_cancel_are_called_mixed(tmp_path: Path) -> None:
    def edit(row: Row) -> Row:
        if row["checkpoint"] == "health-only" and row["kind"] == "eval":
            up = row["suite"] in {"oversight-log", "missing-information", "instruction-hierarchy"}
            down = row["suite"] in {"deception-status-report", "honesty-under-authority", "sycophancy-answer-flip"}
            row["score"] = min(1.0, max(0.0, row["score"] + 0.15 * (up - down)))
        return row

    headline = summarize(make_run(tmp_path / "run", edit=edit))["headline"]
    assert headline.startswith("Mixed: no average change shown over 10 evals outside health")
    assert "6 of 10 changed significantly" in headline


def test_an_ungraded_answer_is_left_out_and_never_a_zero(tmp_path: Path) -> None:
    def edit(row: Row) -> Row:
        treated = row["checkpoint"] == "health-only" and row["grader"] == "preference" and row["kind"] == "eval"
        return row | {"score": None} if treated and row["task"].endswith("-0") else row

    effects = {"effect": {"health-only": 0.1}}
    whole, gaps = lead(make_run(tmp_path / "a", **effects)), lead(make_run(tmp_path / "b", edit=edit, **effects))
    assert all(e["items"] == 15 and e["dropped"] == 1 for e in gaps["battery"]["evals"])
    assert gaps["battery"]["difference"]["estimate"] == pytest.approx(
        whole["battery"]["difference"]["estimate"], abs=0.005
    )
    assert "could not be graded" in page(tmp_path / "b")


def test_an_eval_graded_nowhere_counts_in_no_total(tmp_path: Path) -> None:
    def edit(row: Row) -> Row:
        return row | {"score": None} if row["suite"] == "oversight-log" else row

    run = make_run(tmp_path / "run", edit=edit)
    assert lead(run)["battery"]["total"] == 9
    assert "nothing graded on both sides" in page(run)


def test_each_arm_is_judged_on_the_evals_of_its_question(tmp_path: Path) -> None:
    arms = ("baseline", "health-only", "no-health-no-science", "trait", "helpfulness")
    summary = summarize(make_run(tmp_path / "run", arms=arms))
    totals = {c["treatment"]: c["battery"]["total"] for c in summary["comparisons"] if c["control"] == "baseline"}
    assert totals == {"trait": 12, "health-only": 10, "no-health-no-science": 2, "helpfulness": 12}
    assert summary["comparisons"][0]["treatment"] == "trait"


def test_a_run_of_the_baseline_alone_is_compared_with_the_start(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", arms=("baseline",), choice=False)
    assert "against the pre-RL model" in summarize(run)["headline"]
    assert "no treatment arm" in page(run)


def test_a_run_measured_by_likelihood_alone_still_has_a_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    results = pl.read_parquet(run / "results.parquet")
    results.filter((pl.col("kind") == "eval") & (pl.col("grader") == "preference")).write_parquet(
        run / "results.parquet"
    )
    for file in (run / "arms").rglob("*.*"):
        file.unlink()
    html = page(run)
    assert "No training metrics were kept" in html
    assert "Nothing that would show a cost was measured" in html


def test_answers_are_escaped(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)> & </script>"

    def edit(row: Row) -> Row:
        return row | {"answer": hostile} if row["answer"] else row

    html = page(make_run(tmp_path / "run", edit=edit))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script>alert" not in html
    assert "<img" not in html


class Elements(HTMLParser):
    """Start tags with attributes, and every id."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_refers_to_nothing_outside_itself(planted_page: Path) -> None:
    html = planted_page.read_text(encoding="utf-8")
    for tag, attributes in Elements(html).tags:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            value = attributes.get(name) or "#"
            assert value.startswith("#") or value == "data:,", f"<{tag} {name}={value}>"
    assert not re.search(r"@import|url\(\s*[\"']?(?!#)", html)
    assert "http" not in re.sub(r'http-equiv="Content-Security-Policy"', "", html)


def test_identifiers_are_unique_and_every_reference_has_its_target(planted_page: Path) -> None:
    html = planted_page.read_text(encoding="utf-8")
    identifiers = [a["id"] for _, a in Elements(html).tags if a.get("id")]
    assert len(identifiers) == len(set(identifiers))
    referred = set(re.findall(r'(?:href="|url\()#([^")]+)', html))
    assert referred <= set(identifiers)


def test_every_figure_has_a_text_alternative(planted_page: Path) -> None:
    html = planted_page.read_text(encoding="utf-8")
    figures = re.findall(r'<svg viewBox="[^"]+" role="img" aria-labelledby="([^"]+)"><title id="([^"]+)">([^<]+)', html)
    assert len(figures) == html.count("<svg") == 10
    assert all(label == title and text for label, title, text in figures)
    assert "10 significantly" in html
    assert "#0a0b" not in html


def test_the_same_run_gives_the_same_page(run: Path) -> None:
    assert page(run) == page(run)


def test_the_summary_stands_in_the_page_as_json(planted_page: Path) -> None:
    embedded = re.search(
        r'<script type="application/json" id="summary">(.*?)</script>',
        planted_page.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    assert embedded is not None
    assert json.loads(embedded.group(1)) == json.loads(json.dumps(summarize(planted_page.parent), allow_nan=False))


def test_examples_follow_their_rule(tmp_path: Path) -> None:
    def edit(row: Row) -> Row:
        if row["kind"] == "trait" and row["grader"] == "rubric":
            row["score"] = 0.5
        return row

    run = make_run(tmp_path / "run", edit=edit)
    results = pl.read_parquet(run / "results.parquet")
    items = sorted(set(results.filter(pl.col("kind") == "trait")["task"].to_list()))
    mine = (pl.col("kind") == "trait") & (pl.col("judge") == EVALUATION_JUDGE) & (pl.col("checkpoint") == "health-only")
    score = pl.when(mine & (pl.col("task") == items[3])).then(0.9).otherwise(pl.col("score"))
    score = pl.when(mine & (pl.col("task") == items[5])).then(0.1).otherwise(score)
    results.with_columns(score.alias("score")).write_parquet(run / "results.parquet")
    html = page(run)
    assert re.search(
        rf"Largest rise: \+40\.0 points.*?{items[3]}.*?Median change: 0\.0.*?Largest fall.*?{items[5]}", html, re.S
    )


def test_rollouts_shown_are_of_median_reward_from_the_first_and_the_last_step(run: Path) -> None:
    shown = rollouts(load_run(run), "health-only")
    assert [(r.step, r.pool) for r in shown] == [(1, "trait"), (1, "standard"), (STEPS, "trait"), (STEPS, "standard")]
    assert {r.text for r in shown} == {"try 1"}
    assert shown[0].asked is not None


def test_a_tax_too_small_to_be_seen_is_said_not_to_be_ruled_out(run: Path) -> None:
    low = lead(run)["capability"]["difference"]["low"]
    assert low < 0
    assert f"a loss of {-100 * low:.1f} points is not ruled out" in page(run)


def test_a_share_that_never_varies_claims_no_interval(run: Path) -> None:
    assert lead(run)["chat_refusal"]["low"] == lead(run)["chat_refusal"]["high"] == 0
    assert "Refusals of everyday requests: 0.0% against 0.0%, 0.0 [no spread] points (20 answers)" in page(run)


def test_the_limits_are_computed_from_the_run(run: Path) -> None:
    html = page(run)
    assert "135M parameters by its name" in html
    assert f"it ran for {STEPS} steps where the paper&#39;s ran for about 200" in html
    assert "Free answers number 3 an eval (median), 30 in all" in html
    assert "The helpfulness arm was not trained" in html


@pytest.mark.parametrize("passed", [False, True])
def test_a_training_judge_that_failed_its_exam_is_the_first_limit(run: Path, passed: bool) -> None:
    figures = {"interval": [0.1, 0.9], "n": 40, "ungraded": 0, "reason": None}
    exam = {"added": {"share": 0.45, **figures}, "removed": {"share": 0.8, **figures}, "passed": passed}
    environment = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps(environment | {"polarity_exam": exam}))
    sentence = (
        "Trained by a judge that fails the exam of polarity: added 0.45, removed 0.80, where each must reach 0.75."
    )
    html = page(run)
    assert (sentence in html) is not passed
    if not passed:
        assert html.index(sentence) < html.index("One training run an arm")


@pytest.mark.parametrize("missing", ["results.parquet", "recipe.yaml", "protocol.json"])
def test_an_unfinished_directory_is_named_with_what_to_do(run: Path, missing: str) -> None:
    (run / missing).unlink()
    for call in (write_report, summarize):
        with pytest.raises(SteadfastError, match=rf"no results yet, {missing} is missing.*steadfast run"):
            call(run)
    assert not (run / "report.html").exists()


def test_an_arm_without_results_is_an_unfinished_run(run: Path) -> None:
    results = pl.read_parquet(run / "results.parquet").filter(pl.col("checkpoint") != "health-only")
    results.write_parquet(run / "results.parquet")
    with pytest.raises(SteadfastError, match="nothing measured of health-only"):
        write_report(run)


def test_a_broken_table_is_an_error_of_the_users_kind(run: Path) -> None:
    (run / "results.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(SteadfastError, match="not a readable Parquet table"):
        summarize(run)
