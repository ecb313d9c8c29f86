"""The structure of the evals is shown in a section of the report, and in a file of its own."""

from importlib.resources import files
from math import isnan
from pathlib import Path
from typing import Any

from steadfast.errors import SteadfastError
from steadfast.files import write_text
from steadfast.messages import printable
from steadfast.report.structure import StructureAnalysis, tested_rows
from steadfast.report.structure_figure import structure_figure
from steadfast.report.structure_words import findings, left_out, limits, verdict
from steadfast.report.svg import Picture
from steadfast.report.templating import report_templates
from steadfast.report.wording import suite_title

FORMATS = (".svg", ".html")


def structure_context(analysis: StructureAnalysis, *, sources: int = 1, controlled: bool = False) -> dict[str, Any]:
    """Collect what the section's template shows.

    Args:
        analysis: The analysis of the structure.
        sources: The number of results files that the checkpoints come from.
        controlled: Whether the figure shows the correlations with capability controlled.
    """
    other = {} if analysis.controlled is None else dict(tested_rows(analysis.controlled))
    return {
        "verdict": verdict(analysis),
        "findings": findings(analysis),
        "limits": limits(analysis, files=sources),
        "left_out": left_out(analysis),
        "picture": _picture(analysis, controlled),
        "rows": [
            {"label": label, "plain": test, "controlled": other.get(label), "share": "component" in label}
            for label, test in tested_rows(analysis.plain)
            if not isnan(test.value)
        ],
        "controlled": analysis.controlled is not None,
        "permutations": analysis.plain.permutations,
    }


def check_format(path: Path) -> None:
    """Refuse a file that is neither SVG nor HTML by its name.

    Raises:
        SteadfastError: The file has another ending; the message names those that can be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise SteadfastError(f"--out {path}: the figure is written as {' or '.join(FORMATS)}; name the file so")


def write_structure(path: Path, analysis: StructureAnalysis, *, sources: int = 1, controlled: bool = False) -> None:
    """Write the figure alone to an SVG file, or the figure with its words and numbers to an HTML file.

    Args:
        path: The file, which ends in .svg or .html.
        analysis: The analysis of the structure.
        sources: The number of results files that the checkpoints come from.
        controlled: Whether the figure shows the correlations with capability controlled.

    Raises:
        SteadfastError: The file has another ending, or cannot be written.
    """
    check_format(path)
    if path.suffix.lower() == ".svg":
        write_text(path, printable(_standalone(_picture(analysis, controlled).wide)))
        return
    context = structure_context(analysis, sources=sources, controlled=controlled)
    template = report_templates().get_template("structure_page.html.jinja")
    write_text(path, printable(template.render(structure=context, checkpoints=analysis.matrix.checkpoints)))


def _picture(analysis: StructureAnalysis, controlled: bool) -> Picture:
    return structure_figure(
        analysis, {c.suite: suite_title(c.suite) for c in analysis.matrix.columns}, controlled=controlled
    )


def _standalone(svg: str) -> str:
    """Make an SVG file of an inline SVG: add the namespace and the page's colours, light and dark."""
    css = (files("steadfast.report") / "templates" / "page.css").read_text(encoding="utf-8")
    theme = css[: css.index("* {")] + "svg { background: var(--paper); }"
    opening, rest = svg.split(">", 1)
    return f"{opening.replace('<svg', '<svg xmlns=' + _NAMESPACE, 1)}><style>{theme}</style>{rest}\n"


_NAMESPACE = '"http://www.w3.org/2000/svg"'
