import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from steadfast.errors import SteadfastError
from steadfast.report import summarize, write_report
from steadfast.report.structure import StructureAnalysis, analyse_structure, read_checkpoints
from steadfast.report.structure_figure import structure_figure
from steadfast.report.structure_page import write_structure
from steadfast.report.structure_words import findings, left_out, limits, verdict
from tests.report.synthetic import make_run
from tests.report.test_browser import ARGUMENTS, CHROMIUM

ARMS = ("baseline", "health-only", "no-health-no-science", "trait", "helpfulness")
ITEMS = 4


def results(scores_CE: np.ndarray, capability: np.ndarray | None = None, each: int = 2) -> pl.DataFrame:
    """A results table with the given means, `each` evals a construct."""
    rows = []
    for c, row in enumerate(scores_CE):
        for e, score in enumerate(row):
            for i in range(ITEMS):
                rows.append(
                    (f"ck{c}", "eval", f"eval-{e:02}", f"construct {e // each:02}", "preference", f"i{i}", score)
                )
        if capability is not None:
            rows.append((f"ck{c}", "capability", "gcd", "capability", "program", "i0", capability[c]))
    schema = ["checkpoint", "kind", "suite", "construct", "grader", "task", "score"]
    return pl.DataFrame(rows, schema=schema, orient="row", strict=False)


def moved(
    loading: float, checkpoints: int = 12, evals: int = 20, *, capability: str | None = None
) -> StructureAnalysis:
    """The structure of a one-factor table; capability is the factor itself, or noise."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=checkpoints)
    scores = loading * factor[:, None] + rng.normal(size=(checkpoints, evals))
    controls = {"factor": factor, "noise": rng.normal(size=checkpoints), "constant": np.ones(checkpoints)}
    table = results(scores, controls[capability] if capability else None)
    return analyse_structure(table, control=capability is not None, permutations=200)


@pytest.mark.parametrize(
    ("loading", "words"), [(0.0, "No common movement"), (0.6, "share something"), (3.0, "largely as one")]
)
def test_the_verdict_is_what_was_planted(loading: float, words: str):
    assert words in verdict(moved(loading))


def test_a_direction_on_which_evals_oppose_one_another_is_not_called_a_common_rise():
    rng = np.random.default_rng(1)
    signs = np.where(np.arange(20) % 2, 1, -1)
    scores = 2 * rng.normal(size=(12, 1)) * signs + rng.normal(size=(12, 20))
    assert "no common rise" in verdict(analyse_structure(results(scores), control=False, permutations=200))


def test_a_common_factor_that_is_capability_is_put_down_to_it():
    text = " ".join(findings(moved(0.7, 40, capability="factor")))
    assert "With capability controlled the mean is" in text
    assert "not shown to be more than capability" in text or "may still be capability in part" in text
    assert "may still be capability in part" in " ".join(findings(moved(3.0, capability="noise")))


@pytest.mark.parametrize(("capability", "why"), [("constant", "capability is the same on every checkpoint")])
def test_why_capability_is_not_controlled_is_said(capability: str, why: str):
    found = moved(1.0, capability=capability)
    assert found.controlled is None
    assert f"Not controlled for capability: {why}" in " ".join(findings(found))


def test_without_capability_tasks_the_figures_stand_uncontrolled():
    found = analyse_structure(results(np.random.default_rng(2).normal(size=(6, 4))), control=True, permutations=50)
    assert found.uncontrolled_because == "no capability task was measured on every checkpoint"


def test_few_checkpoints_are_warned_of_with_their_degrees_of_freedom():
    text = limits(moved(1.0, 6))[0]
    assert "6 checkpoints are few: a correlation has 4 degrees of freedom" in text
    assert "nothing below 0.89" in text
    assert "even a perfect correlation is not significant" in limits(moved(1.0, 4))[0]
    assert "are few" not in " ".join(limits(moved(1.0, 10)))


def test_checkpoints_of_one_file_are_of_one_recipe_and_those_of_several_are_not_independent():
    assert "one model and one recipe" in " ".join(limits(moved(1.0), files=1))
    assert "come from 3 files" in " ".join(limits(moved(1.0), files=3))


def test_what_is_left_out_is_named():
    scores = np.random.default_rng(3).normal(size=(6, 5))
    scores[:, 1] = 0.5
    scores[5] = scores[2]
    table = results(scores)
    only = (pl.col("suite") == "eval-03") & (pl.col("checkpoint") == "ck4")
    table = table.with_columns(pl.when(only).then(None).otherwise("score").alias("score"))
    gap = (pl.col("suite") == "eval-04") & (pl.col("checkpoint") == "ck0") & (pl.col("task") == "i0")
    table = table.with_columns(pl.when(gap).then(None).otherwise("score").alias("score"))
    text = left_out(analyse_structure(table, control=False, permutations=50))
    assert "Left out, the same score on every checkpoint: eval-01." in text
    assert "Left out, ungraded or not measured on ck4: eval-03." in text
    assert "Left out, every score as in 'ck2': checkpoint 'ck5'." in text
    assert "1 of 16 items were not graded on every checkpoint and count on none." in text


@pytest.mark.parametrize("checkpoints", [1, 3])
def test_fewer_than_four_checkpoints_are_refused(checkpoints: int):
    table = results(np.random.default_rng(4).normal(size=(checkpoints, 5)))
    with pytest.raises(SteadfastError, match=rf"{checkpoints} checkpoints are too few.*need 4.*Found: ck0"):
        analyse_structure(table, control=False)


def test_checkpoints_that_share_no_eval_are_refused_with_who_lacks_them():
    table = results(np.random.default_rng(5).normal(size=(5, 4))).filter(
        (pl.col("checkpoint") != "ck3") | (pl.col("suite") == "eval-00")
    )
    with pytest.raises(SteadfastError, match=r"share 1; evals are lacking on ck3"):
        analyse_structure(table, control=False)


def test_checkpoints_of_several_files_are_told_apart(tmp_path: Path):
    a = make_run(tmp_path / "a" / "run", seed=1)
    b = make_run(tmp_path / "b" / "run", seed=2)
    one = read_checkpoints([a / "results.parquet"])
    both = read_checkpoints([a, b / "results.parquet"])
    assert set(one["checkpoint"]) == {"pre-RL", "baseline", "health-only"}
    expected = {f"{run}/run: {c}" for run in "ab" for c in ("pre-RL", "baseline", "health-only")}
    assert set(both["checkpoint"]) == expected
    assert both.height == 2 * one.height


def test_files_that_cannot_be_used_are_errors_of_the_user_s_kind(tmp_path: Path):
    run = make_run(tmp_path / "run")
    (tmp_path / "poor.parquet").write_bytes((run / "results.parquet").read_bytes())
    pl.read_parquet(run / "results.parquet").drop("task").write_parquet(tmp_path / "poor.parquet")
    for paths, message in (
        ([tmp_path / "none.parquet"], "no results there"),
        ([tmp_path], "no results there"),
        ([run, run / "results.parquet"], "given twice"),
        ([tmp_path / "poor.parquet"], "columns missing: task"),
    ):
        with pytest.raises(SteadfastError, match=message):
            read_checkpoints(paths)


def test_the_page_has_the_section_from_four_checkpoints_on(tmp_path: Path):
    three = write_report(make_run(tmp_path / "three")).read_text(encoding="utf-8")
    assert 'id="structure"' not in three
    assert summarize(tmp_path / "three")["structure"] is None
    page = write_report(make_run(tmp_path / "six", arms=ARMS)).read_text(encoding="utf-8")
    assert '<section id="structure"><h2>Is alignment one thing?</h2>' in page
    assert 'href="#structure"' in page
    assert "6 checkpoints are few" in page
    structure = summarize(tmp_path / "six")["structure"]
    assert len(structure["checkpoints"]) == 6
    assert f"{structure['plain']['mean']['value']:.3f}".replace("-", "\N{MINUS SIGN}") in page
    identifiers = re.findall(r'\sid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))


def test_the_figure_draws_one_tile_a_pair_and_every_label():
    found = moved(1.0, evals=30)
    picture = structure_figure(found, {"eval-00": "First of them"})
    tiles = [len(re.findall(r"\bz\b", d)) for d in re.findall(r'd="([^"]*)"', picture.wide)]
    assert sum(tiles) >= 30 * 29 / 2
    assert "First of them" in picture.wide
    assert "eval 29" in picture.wide
    assert all(f"construct {i:02}" in picture.narrow for i in range(15))
    assert "#0a0b" not in picture.wide + picture.narrow


def test_many_evals_are_drawn_by_construct():
    found = moved(1.0, evals=120)
    picture = structure_figure(found, {})
    assert "construct 59" in picture.wide
    assert "eval 59" not in picture.wide
    assert "constructs, the mean over their evals" in picture.caption


def test_the_figure_alone_is_an_svg_that_carries_its_colours(tmp_path: Path):
    write_structure(tmp_path / "figure.svg", moved(1.0))
    text = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "--arm-2:" in text
    assert "prefers-color-scheme: dark" in text


def test_the_page_alone_needs_nothing_else(tmp_path: Path):
    write_structure(tmp_path / "figure.html", moved(1.0), sources=2)
    text = (tmp_path / "figure.html").read_text(encoding="utf-8")
    assert text.lstrip().startswith("<!doctype html>")
    assert "come from 2 files" in text
    assert "http" not in text.replace("http-equiv", "")


def test_another_ending_is_refused(tmp_path: Path):
    with pytest.raises(SteadfastError, match=r"\.svg or \.html"):
        write_structure(tmp_path / "figure.png", moved(1.0))


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser: {CHROMIUM} is missing (apt-get install chromium)")
def test_the_figure_fits_and_can_be_read_wide_and_narrow(tmp_path: Path):
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    write_structure(tmp_path / "figure.html", moved(1.0, evals=55))
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        for width in (1280, 360):
            view = browser.new_page(viewport={"width": width, "height": 900})
            view.goto((tmp_path / "figure.html").resolve().as_uri())
            assert view.evaluate("document.documentElement.scrollWidth") <= width
            drawn = "[...document.querySelectorAll('figure svg text')].filter(t => t.checkVisibility())"
            sizes = view.evaluate(
                f"{drawn}.map(t => parseFloat(getComputedStyle(t).fontSize) * t.ownerSVGElement.getScreenCTM().a)"
            )
            assert min(sizes) >= 9
            beyond = view.evaluate(
                f"{drawn}.filter(t => t.getBoundingClientRect().right > "
                "t.ownerSVGElement.getBoundingClientRect().right + 1).map(t => t.textContent)"
            )
            assert beyond == []
            view.close()
        browser.close()
