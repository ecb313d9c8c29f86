"""The structure of the evals as a section of the report, and as a file of its own."""

from importlib.resources import files
from math import isnan
from pathlib import Path
from typing import Any

from steadfast.errors import SteadfastError
from steadfast.files import write_text
from steadfast.report.structure import StructureAnalysis, tested_rows
from steadfast.report.structure_figure import structure_figure
from steadfast.report.structure_words import findings, left_out, limits, verdict
from steadfast.report.svg import Picture
from steadfast.report.templating import report_templates
from steadfast.tasks.battery import battery

FORMATS = (".svg", ".html")


def structure_context(m: StructureAnalysis, *, sources: int = 1, controlled: bool = False) -> dict[str, Any]:
    """What the section's template shows.

    Args:
        m: the structure.
        sources: how many results files the checkpoints come from.
        controlled: draw the correlations with capability controlled.
    """
    other = {} if m.controlled is None else dict(tested_rows(m.controlled))
    return {
        "verdict": verdict(m),
        "findings": findings(m),
        "limits": limits(m, files=sources),
        "left_out": left_out(m),
        "picture": _picture(m, controlled),
        "rows": [
            {"label": label, "plain": test, "controlled": other.get(label), "share": "component" in label}
            for label, test in tested_rows(m.plain)
            if not isnan(test.value)
        ],
        "controlled": m.controlled is not None,
        "permutations": m.plain.permutations,
    }


def check_format(path: Path) -> None:
    """Refuse a file that is neither SVG nor HTML by its name.

    Raises:
        SteadfastError: naming the endings that can be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise SteadfastError(f"--out {path}: the figure is written as {' or '.join(FORMATS)}; name the file so")


def write_structure(path: Path, m: StructureAnalysis, *, sources: int = 1, controlled: bool = False) -> None:
    """Write the figure as SVG, or with its words and numbers as one HTML page, by the file's ending.

    Raises:
        SteadfastError: another ending, or the file cannot be written.
    """
    check_format(path)
    if path.suffix.lower() == ".svg":
        write_text(path, _standalone(_picture(m, controlled).wide))
        return
    context = structure_context(m, sources=sources, controlled=controlled)
    template = report_templates().get_template("structure_page.html.jinja")
    write_text(path, template.render(structure=context, checkpoints=m.matrix.checkpoints))


def _picture(m: StructureAnalysis, controlled: bool) -> Picture:
    return structure_figure(m, {e.name: e.title for e in battery()}, controlled=controlled)


def _standalone(svg: str) -> str:
    """An inline SVG as a file: with the namespace, and with the page's colours, light and dark."""
    css = (files("steadfast.report") / "templates" / "page.css").read_text(encoding="utf-8")
    theme = css[: css.index("* {")] + "svg { background: var(--paper); }"
    opening, rest = svg.split(">", 1)
    return f"{opening.replace('<svg', '<svg xmlns=' + _NAMESPACE, 1)}><style>{theme}</style>{rest}\n"


_NAMESPACE = '"http://www.w3.org/2000/svg"'
