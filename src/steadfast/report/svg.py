"""Matplotlib figures become inline SVG that takes the page's colours and font, with no identifiers that clash."""

import html
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

_VARIABLES = ("ink", "muted", "rule", "paper", "up", "down", "arm-1", "arm-2", "arm-3", "arm-4", "arm-5")
# These placeholder colours, which nobody would draw with, stand for the page's variables until the SVG is written.
COLOURS = {name: f"#0a0b{i + 16:02x}" for i, name in enumerate(_VARIABLES)}
"""The placeholder colour of each variable of the page's CSS."""

WIDE, NARROW = 1080.0, 340.0
"""Figures are drawn for these two widths, in CSS pixels."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "steadfast",
    "font.family": "DejaVu Sans",
    "font.size": 12.0,
    "text.color": COLOURS["ink"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.titlecolor": COLOURS["ink"],
    "axes.titlesize": 12.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 11.0,
    "axes.edgecolor": COLOURS["rule"],
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "text.parse_math": False,  # a dollar sign in a user's name is no formula
    "xtick.color": COLOURS["rule"],
    "ytick.color": COLOURS["rule"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "xtick.labelsize": 11.0,
    "ytick.labelsize": 11.0,
    "figure.facecolor": "none",
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Picture:
    """A figure in two widths, of which the page shows the one that fits.

    Attributes:
        wide: The SVG for wide pages.
        narrow: The SVG for phones.
        caption: The caption under the figure.
    """

    wide: str
    narrow: str
    caption: str


def picture(name: str, description: str, caption: str, draw: Callable[[float], Figure]) -> Picture:
    """Draw a figure at both widths.

    Args:
        name: A name that is unique on the page; it prefixes every identifier.
        description: The figure's text alternative.
        caption: The caption under the figure.
        draw: It makes the figure for a width in CSS pixels.
    """
    with rc_context(_STYLE), warnings.catch_warnings():
        # The page's own fonts draw the text, so that what matplotlib's font lacks does not matter.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from")
        wide, narrow = (
            _inline(draw(width), f"{name}-{kind}", description) for width, kind in ((WIDE, "wide"), (NARROW, "narrow"))
        )
    return Picture(wide, narrow, caption)


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure; the lengths are in CSS pixels."""
    return Figure(figsize=(width / 72, height / 72), dpi=72)


def _inline(figure: Figure, prefix: str, description: str) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", text)
    text = text.replace("xlink:href=", "href=")
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", text)
    text = text.replace('href="#', f'href="#{prefix}-')
    text = re.sub(r"'DejaVu Sans'(?:, [^;\"]*)?", "var(--sans)", text)
    for variable, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{variable})")
    label = html.escape(description, quote=True)
    opening = re.match(r"<svg[^>]*>", text)
    assert opening is not None
    box = re.search(r'viewBox="[^"]*"', opening.group(0))
    assert box is not None
    head = f'<svg {box.group(0)} role="img" aria-labelledby="{prefix}-title"><title id="{prefix}-title">{label}</title>'
    return head + text[opening.end() :].strip()
