"""The report's templates use filters that put numbers and the user's texts into them."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from steadfast.analysis.structure import NullTest
from steadfast.messages import printable
from steadfast.report import wording
from steadfast.report.structure import null_interval, number


def report_templates() -> Environment:
    """Load the templates of the report with the filters that they use."""
    environment = Environment(
        loader=PackageLoader("steadfast.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "points": wording.points,
        "difference": wording.difference,
        "p": wording.probability,
        "svg": Markup,
        "the": wording.the,
        "title": wording.suite_title,
        "own": _isolated,
        "number": _number,
        "null_interval": _interval,
    }
    environment.filters.update(filters)
    return environment


def _isolated(text: str) -> Markup:
    """Show a text that is not ours, such as an answer or an id, so that it cannot turn the direction around it."""
    return Markup("<bdi>%s</bdi>") % escape(printable(str(text)))


def _number(value: float, share: bool) -> str:
    return f"{value:.1%}" if share else number(value)


def _interval(test: NullTest, share: bool) -> str:
    return f"[{100 * test.low:.1f}, {100 * test.high:.1f}]" if share else null_interval(test)
