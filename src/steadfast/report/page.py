"""The report page is one HTML file that needs nothing else."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from steadfast.analysis import Comparison, EvalComparison
from steadfast.files import write_text
from steadfast.messages import printable
from steadfast.report import wording
from steadfast.report.answers import examples, rollouts
from steadfast.report.figures import Panel, Rows, by_difference, curves, forest, panel
from steadfast.report.json_summary import summary_json
from steadfast.report.judged import Judged, Standing, standings
from steadfast.report.judged_page import beside_levels, judged_context, judged_evals
from steadfast.report.ladder import ladders
from steadfast.report.ladder_words import RULE, ladder_context, primary_picture, primary_sentence
from steadfast.report.limits import limits
from steadfast.report.loading import Run, load_run
from steadfast.report.overoptimization import overoptimization
from steadfast.report.persistence.inputs import inputs_of_run
from steadfast.report.persistence.page import section_of
from steadfast.report.persistence.section import persistence_of
from steadfast.report.probing import load_probing
from steadfast.report.probing_page import probing_context
from steadfast.report.structure import structure_of_run
from steadfast.report.structure_page import structure_context
from steadfast.report.summary import CheckpointComparison, all_comparisons
from steadfast.report.svg import Picture
from steadfast.report.templating import report_templates
from steadfast.report.training import LAST_STEPS, trained_amounts
from steadfast.study.arms import PRE_RL

_GRADED = "agentic evals are graded by what was done, exercises by program, the others by the evaluation judge"

_SCALE = (
    "The zero of each row's scale is its best constant answer, and an unfinished answer counts as that; a point is a "
    "hundredth of the way from there to the highest score."
)


def write_report(directory: Path) -> Path:
    """Write `report.html` of a finished run, and return its path.

    The page depends on the run directory and on the scenarios that it names, if they are still there. Written twice by
    one version of Steadfast, it is the same byte for byte.

    Raises:
        SteadfastError: The run is unfinished, another version wrote it, or a file of it cannot be read.
    """
    page = directory / "report.html"
    write_text(page, render(load_run(directory)))
    return page


def render(run: Run) -> str:
    """Write the page of a run."""
    # The user's names stand in sentences and figures too, so unprintable characters are taken from the whole page.
    return printable(report_templates().get_template("page.html.jinja").render(_context(run)))


def _context(run: Run) -> dict[str, Any]:
    comparisons = all_comparisons(run)
    lead = comparisons[0]
    against_lead = [v for v in comparisons if v.control == lead.control]
    structure = structure_of_run(run)
    before = next((v for v in comparisons if v.treatment == lead.treatment and v.control == PRE_RL), None)
    found, stands = ladders(run), standings(run)
    lasting = persistence_of(run, inputs_of_run(run))
    inside = load_probing(run.directory)
    return {
        "run": run,
        "lead": lead,
        "primary": primary_sentence(run, found),
        "rule": RULE,
        "primary_picture": primary_picture(run, found),
        "ladders": ladder_context(run, found),
        "persistence": None if lasting is None else section_of(run, lasting),
        "bounds": wording.bounds,
        "direction": wording.direction,
        "question": run.recipe.arm(lead.treatment).question,
        "headline": wording.headline(lead),
        "headline_direction": _headline_direction(lead),
        "findings": _findings(lead, before if before is not lead else None, stands),
        "cautions": [*wording.cautions(lead), *overoptimization(run, lead)],
        "others": [(v.treatment, wording.headline(v)) for v in against_lead[1:]],
        "levels": _levels(comparisons),
        "judged": judged_context(run, stands),
        "comparisons": comparisons,
        "forests": _forests(against_lead),
        "curves": curves(run.curves),
        "trained": trained_amounts(run),
        "last_steps": LAST_STEPS,
        "capability": _capability(against_lead),
        "costs": [(v, _costs(v)) for v in against_lead],
        "lengths": [(v, _lengths(v)) for v in against_lead],
        "characters": wording.characters,
        "structure": None if structure is None else structure_context(structure),
        "probing": None if inside is None else probing_context(inside, run.arms, lead.treatment),
        "examples": examples(run, lead.treatment),
        "rollouts": rollouts(run, lead.treatment),
        "roles": {arm.name: arm.role for arm in run.recipe.arms},
        "ungraded": [(arm, count) for arm, count in run.ungraded_rollouts.items() if run.metrics[arm]],
        "limits": limits(run, lead),
        "recipe": (run.directory / "recipe.yaml").read_text(encoding="utf-8"),
        "hashes": _flat(run.protocol),
        "environment": _flat(run.environment),
        "duration": _duration(sum(run.timing.sessions)),
        "times": [(part, _duration(seconds)) for part, seconds in run.timing.parts.items()],
        "summary": _script(summary_json(run, comparisons, structure, found, lasting)),
    }


def _headline_direction(v: CheckpointComparison) -> int:
    """Which way the headline went: with several training seeds by the interval over them, which counts them."""
    if v.headline is None:
        return 0
    found = v.headline.difference if v.headline_over_seeds is None else v.headline_over_seeds.difference
    return wording.direction(found.low, found.high)


def _findings(
    lead: CheckpointComparison, before: CheckpointComparison | None, stands: Sequence[Standing]
) -> list[tuple[str, str]]:
    """Write the label and the sentence of each finding under the headline."""
    found: list[tuple[str, str]] = []
    if lead.headline:
        sentence = wording.counts(lead, lead.headline, lead.scope.words)
        found.append(("Evals", f"{sentence} Scored {wording.scored_by(lead)}."))
    rest = lead.scope.rest()
    if lead.headline_rest and rest:
        found.append((f"Evals {rest.words}", wording.counts(lead, lead.headline_rest, rest.words)))
    if lead.battery and lead.free:
        sentence = wording.counts(lead, lead.free, lead.scope.words)
        found.append(("Free answers", f"{sentence} {_GRADED[0].upper()}{_GRADED[1:]}."))
    if lead.public:
        found.append(("Public benchmarks", wording.counts(lead, lead.public, "that are public")))
    if sentence := wording.traits(lead, before):
        found.append(("Rewarded traits", sentence))
    if against := [wording.floor(s) for s in (lead.standing, lead.standing_control) if s]:
        found.append(("Against always answering the same", " ".join(against)))
    if sentence := wording.floors([s for s in stands if s.measure in judged_evals(lead)], lead.treatment):
        found.append(("Evals against always answering the same", sentence))
    found.append(("Cost", wording.cost(lead, before)))
    if before and before.headline:
        sentence = wording.counts(before, before.headline, before.scope.words)
        found.append(("Against pre-RL", f"{sentence} This cannot tell trait RL from RL in general."))
    return found


_COLUMNS_THAT_FIT = 3
_UNITS = {"capability": "task", "public": "benchmark"}
_SHARES = frozenset({"refusal", "chat_refusal", "cut_off", "traits_cut_off"})
_LENGTHS = frozenset({"traits_length", "length"})
_MEASURES: tuple[tuple[str, str], ...] = (
    ("battery", "evals in scope, pairs won by mutual information"),
    ("free", "evals in scope, free answers"),
    ("public", "public benchmarks"),
    ("traits", "held-out traits, evaluation judge"),
    ("traits_by_training_judge", "held-out traits, the judge that trained"),
    ("traits_elsewhere", "held-out traits, untrained domains"),
    ("traits_unrefused", "held-out traits, neither refused"),
    ("traits_choice", "held-out traits, gold answers: pairs won by mutual information"),
    ("traits_words", "held-out traits, gold answers: word tokens"),
    ("traits_ends", "held-out traits, gold answers: punctuation and end tokens"),
    ("graded", "evals in scope, mutual information, logistic of nats"),
    ("plain_words", "evals in scope, word tokens, plain"),
    ("plain_ends", "evals in scope, punctuation and end tokens"),
    ("reply_only", "evals in scope, word tokens, reply alone"),
    ("capability", "capability, mean over tasks"),
    ("refusal", "refused, evals' free answers"),
    ("chat_refusal", "refused, everyday requests"),
    ("traits_cut_off", "cut off by the token limit, held-out traits"),
    ("cut_off", "cut off by the token limit, all free answers"),
    ("traits_length", "length in characters, held-out traits"),
    ("length", "length in characters, all free answers"),
)


def _levels(comparisons: Sequence[CheckpointComparison]) -> list[dict[str, Any]]:
    """Tabulate levels and differences with a column for each comparison: in one table, or one for each control."""
    if len(comparisons) <= _COLUMNS_THAT_FIT:
        return [{"title": None, "columns": comparisons, "rows": _level_rows(comparisons)}]
    tables: list[dict[str, Any]] = []
    for control in dict.fromkeys(v.control for v in comparisons):
        columns = [v for v in comparisons if v.control == control]
        title = f"Against {wording.the(control)}"
        tables.append({"title": title, "columns": columns, "rows": _level_rows(columns)})
    return tables


def _level_rows(columns: Sequence[CheckpointComparison]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, label in _MEASURES:
        unit = _UNITS.get(name, "eval")
        cells = [_cell(getattr(v, name), unit) for v in columns]
        if any(cells):
            rows.append({"label": label, "cells": cells, "share": name in _SHARES, "length": name in _LENGTHS})
    return rows


def _cell(value: Comparison | EvalComparison | None, unit: str) -> dict[str, Any] | None:
    if value is None:
        return None
    if isinstance(value, EvalComparison):
        return {
            "treatment": value.treatment,
            "control": value.control,
            "of": value,
            "n": f"{value.items} items",
            "floor": beside_levels([value]) if isinstance(value, Judged) else None,
        }
    measured = [e for e in value.evals if e.items]
    return {
        "treatment": sum(e.treatment for e in measured) / len(measured),
        "control": sum(e.control for e in measured) / len(measured),
        "of": value.difference,
        "n": f"{value.total} {unit}{'' if value.total == 1 else 's'}",
        "floor": beside_levels([e for e in measured if isinstance(e, Judged)]),
    }


def _forests(against: Sequence[CheckpointComparison]) -> list[Picture]:
    lead = against[0]
    control = wording.the(lead.control)
    mean = _mean_words(against)
    key = (
        f"Each arm against {control}. "
        "Filled triangles: significant by Benjamini-Hochberg, q \N{LESS-THAN OR EQUAL TO} 0.05, up or down. "
        "Hollow circles: not significant. Diamond: mean. An arrow: the interval runs on; no whisker: one item."
    )
    drawn = [
        (
            "evals",
            f"Battery, {wording.BY_LIKELIHOOD}.",
            [panel(v.treatment, [v.battery, v.rest], mean) for v in against],
            _groups("Evals", lead, lead.battery, lead.rest),
        ),
        (
            "free",
            f"Evals by free answers: {_GRADED}. {_SCALE} Few items each, see the table below.",
            [panel(v.treatment, [v.free, v.free_rest], mean) for v in against],
            _groups("Free answers", lead, lead.free, lead.free_rest),
        ),
        (
            "traits",
            f"Held-out scenarios of each trait by free answers, evaluation judge. {_SCALE}",
            [panel(v.treatment, [v.by_trait]) for v in against],
            [_rows("Held-out traits", lead.by_trait)] if lead.by_trait else [],
        ),
        (
            "public",
            "Public benchmarks, as Inspect Evals scores them.",
            [panel(v.treatment, [v.public]) for v in against],
            [_rows("Public benchmarks", lead.public)] if lead.public else [],
        ),
    ]
    return [
        forest(name, _described(panels, control), f"{caption} {key}", panels, rows)
        for name, caption, panels, rows in drawn
        if rows
    ]


def _groups(
    heading: str, lead: CheckpointComparison, inside: Comparison | None, outside: Comparison | None
) -> list[Rows]:
    """Group the rows into evals in the scope and evals outside it."""
    rest = lead.scope.rest()
    found = [(lead.scope.words, inside), (rest.words if rest else "", outside)]
    return [_rows(f"{heading} {words}".strip(), comparison) for words, comparison in found if comparison]


def _rows(heading: str | None, comparison: Comparison) -> Rows:
    names = by_difference(comparison)
    return Rows(heading, names, {n: wording.suite_title(n) for n in names})


def _mean_words(against: Sequence[CheckpointComparison]) -> str:
    words = {v.scope.words for v in against}
    return f"mean {words.pop()}".strip() if len(words) == 1 else "mean of the arm's scope"


def _capability(against: Sequence[CheckpointComparison]) -> Picture | None:
    lead = against[0]
    if not lead.capability:
        return None
    panels = [panel(v.treatment, [v.capability]) for v in against]
    caption = (
        "Held-out tasks of the standard kinds, checked by program. Left of zero the arm is worse. "
        "The baseline had more practice at such tasks than an arm with another slice."
    )
    description = _described(panels, wording.the(lead.control))
    return forest("capability", description, caption, panels, [_rows(None, lead.capability)])


def _described(panels: Sequence[Panel], control: str) -> str:
    """Write the text alternative of a forest figure."""
    parts = []
    for one in panels:
        up = sum(e.significant and e.difference > 0 for e in one.entries.values())
        down = sum(e.significant and e.difference < 0 for e in one.entries.values())
        mean = f", mean {wording.difference(one.mean)} points" if one.mean else ""
        parts.append(f"{one.title}: {len(one.entries)} rows, {up} significantly up, {down} significantly down{mean}")
    return f"Differences against {control} with 95% intervals. " + "; ".join(parts) + "."


def _costs(v: CheckpointComparison) -> list[tuple[str, EvalComparison]]:
    rows = [
        ("refused, evals' free answers", v.refusal),
        ("refused, everyday requests", v.chat_refusal),
        ("cut off by the token limit, all free answers", v.cut_off),
        ("cut off by the token limit, held-out traits", v.traits_cut_off),
    ]
    return [(label, value) for label, value in rows if value]


def _lengths(v: CheckpointComparison) -> list[tuple[str, EvalComparison]]:
    rows = [("all free answers", v.length), ("held-out traits", v.traits_length)]
    return [(label, value) for label, value in rows if value]


def _flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Flatten nested JSON into (path, value) rows."""
    if isinstance(value, dict):
        return [row for k, v in sorted(value.items()) for row in _flat(v, f"{path} / {k}" if path else str(k))]
    return [(path, str(value))]


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _script(value: Any) -> Markup:
    """Write JSON that may stand inside a script element, whatever it contains."""
    text = json.dumps(value, sort_keys=True, allow_nan=False)  # in ASCII, so that nothing in it is unprintable
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
