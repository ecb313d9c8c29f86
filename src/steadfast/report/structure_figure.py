"""The figure of how evals move together shows correlations as a staircase, and means and components."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, isnan

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Shape
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from steadfast.analysis.structure import NullTest, Structure
from steadfast.report.structure import StructureAnalysis, significant
from steadfast.report.svg import COLOURS, NARROW, Picture, new_figure, picture

_LEVELS = ((0.1, 0.16), (0.3, 0.34), (0.5, 0.55), (0.7, 0.78), (0.9, 1.0))
"""Each pair holds an absolute correlation and the opacity of cells from it on."""
_POSITIVE, _NEGATIVE = COLOURS["arm-2"], COLOURS["arm-3"]
_DRAWN_SINGLY = 70
"""With more evals than this their labels would not fit, so constructs are drawn instead."""
_LONGEST = 36
_LETTER = 5.7

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Staircase:
    """The contents of the lower triangle.

    Attributes:
        values: The correlations, [n, n]; NaN where nothing is drawn.
        labels: The label of each row.
        groups: The name, the first row and the end of each group of rows.
    """

    values: Array
    labels: Sequence[str]
    groups: Sequence[tuple[str, int, int]]

    @property
    def with_diagonal(self) -> bool:
        return not np.isnan(np.diag(self.values)).all()


def structure_figure(analysis: StructureAnalysis, titles: Mapping[str, str], *, controlled: bool = False) -> Picture:
    """Draw the correlations between evals, and the means and components beside what shuffling gives.

    Args:
        analysis: The analysis of the structure.
        titles: The titles of suites, by name.
        controlled: Whether to draw the correlations and components with capability controlled, if there are any.
    """
    of = analysis.controlled if controlled and analysis.controlled is not None else analysis.plain
    lower = of.correlations_EE[np.tril_indices(len(of.columns), -1)]
    what = "capability-controlled rank correlation" if of.controlled else "rank correlation"
    description = (
        f"{what.capitalize()} of {len(of.columns)} evals over {of.checkpoints} checkpoints: "
        f"{int((lower > 0).sum())} of {lower.size} pairs positive, mean {of.mean.value:.3f}; "
        f"first component {of.shares[0].value:.1%} of the variance, shuffled {of.shares[0].low:.1%} to "
        f"{of.shares[0].high:.1%}."
    )
    singly = len(of.columns) <= _DRAWN_SINGLY
    units = (
        "evals; on a narrow page, the mean over two constructs" if singly else "constructs, the mean over their evals"
    )
    caption = (
        f"Each cell: the {what} between two {units}. Columns are in the order of the rows, each under its "
        "own label. Grey bars: where 95 of 100 shuffles of the checkpoints fall, eval by eval. "
        "Filled: p \N{LESS-THAN OR EQUAL TO} 0.05, one-sided, hollow: not."
    )
    return picture("structure", description, caption, lambda width: _draw(width, analysis, of, titles))


def _draw(width: float, analysis: StructureAnalysis, of: Structure, titles: Mapping[str, str]) -> Figure:
    columns = analysis.columns(of)
    constructs = [c.construct for c in columns]
    narrow = width <= NARROW
    if narrow or len(columns) > _DRAWN_SINGLY:
        stairs = _of_constructs(of.correlations_EE, constructs)
    else:
        labels = [titles.get(c.suite, c.suite.replace("-", " ").replace("_", " ")) for c in columns]
        stairs = _of_evals(of.correlations_EE, labels, constructs)
    return _narrow(width, stairs, analysis, of) if narrow else _wide(width, stairs, analysis, of)


def _of_evals(correlations: Array, labels: Sequence[str], constructs: Sequence[str]) -> _Staircase:
    values = np.where(np.eye(len(labels), dtype=bool), np.nan, correlations)
    starts = [i for i, name in enumerate(constructs) if i == 0 or name != constructs[i - 1]]
    groups = [(constructs[a], a, b) for a, b in zip(starts, [*starts[1:], len(labels)], strict=True)]
    return _Staircase(values, [_short(label) for label in labels], groups)


def _of_constructs(correlations: Array, constructs: Sequence[str]) -> _Staircase:
    names, index = np.unique(constructs, return_inverse=True)
    members = np.eye(len(names))[index]
    sums = members.T @ (correlations - np.eye(len(constructs))) @ members
    sizes = members.sum(axis=0)
    pairs = np.outer(sizes, sizes) - np.diag(sizes)
    values = np.divide(sums, pairs, out=np.full_like(sums, np.nan), where=pairs > 0)
    return _Staircase(values, [_short(str(n)) for n in names], ())


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}"


def _wide(width: float, stairs: _Staircase, analysis: StructureAnalysis, of: Structure) -> Figure:
    count = len(stairs.labels)
    pitch = _floor_to_half(min(24.0, 690 / count))
    left = _floor_to_half(max([_LETTER * len(name) + 16 for name, _, _ in stairs.groups], default=4.0))
    height = ceil(max(12 + count * pitch + 12, 464.0))
    figure = new_figure(width, height)
    canvas = _canvas(figure, width, height)
    _draw_staircase(canvas, stairs, left, 12, pitch, pitch, min(10.5, pitch * 0.8))
    _draw_scale(canvas, width - 270, 212, 22)
    _means(_axes(figure, width - 270, 34, 258, 128), analysis)
    _scree(_axes(figure, width - 232, 288, 220, 132), of, -38 / 220)
    return figure


def _narrow(width: float, stairs: _Staircase, analysis: StructureAnalysis, of: Structure) -> Figure:
    count = len(stairs.labels)
    cells = [i + stairs.with_diagonal for i in range(count)]
    room = [(width - 12 - _LETTER * len(name)) / n for n, name in zip(cells, stairs.labels, strict=True) if n]
    cell = _floor_to_half(min(22.0, *room))
    pitch = max(13.0, cell)
    body = ceil(count * pitch)
    height = body + 456
    figure = new_figure(width, height)
    canvas = _canvas(figure, width, height)
    _draw_staircase(canvas, stairs, 2, 4, cell, pitch, 10)
    _draw_scale(canvas, 16, body + 34, 27)
    _means(_axes(figure, 8, body + 106, width - 20, 128), analysis)
    _scree(_axes(figure, 46, body + 300, width - 60, 112), of, -38 / (width - 60))
    return figure


def _floor_to_half(length: float) -> float:
    """Round down to half a pixel, for sharp edges and fewer digits in every path."""
    return floor(2 * length) / 2


def _canvas(figure: Figure, width: float, height: float) -> Axes:
    """Make axes over the whole figure in CSS pixels, with y downwards."""
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    return axes


def _axes(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    """Make axes from their upper left corner and size in CSS pixels."""
    whole, high = figure.get_figwidth() * 72, figure.get_figheight() * 72
    return figure.add_axes((x / whole, (high - y - height) / high, width / whole, height / high))


def _draw_staircase(
    canvas: Axes, stairs: _Staircase, left: float, top: float, cell: float, pitch: float, size: float
) -> None:
    rows, columns = np.tril_indices(len(stairs.labels))
    values = stairs.values[rows, columns]
    corners: Array = np.column_stack([left + columns * cell, top + rows * pitch]).astype(np.float64)
    _tiles(canvas, corners[np.abs(values) < _LEVELS[0][0]], (cell, pitch), COLOURS["rule"], 0.35)
    for low, opacity, high in _levels():
        for sign, colour in ((1, _POSITIVE), (-1, _NEGATIVE)):
            chosen = corners[(sign * values >= low) & (sign * values < high)]
            _tiles(canvas, chosen, (cell, pitch), colour, opacity)
    for name, start, stop in stairs.groups:
        y = top + pitch * (start + stop) / 2
        canvas.text(left - 11, y, name, ha="right", va="center_baseline", fontsize=size, color=COLOURS["muted"])
        canvas.plot(
            [left - 5] * 2, [top + pitch * (start + 0.15), top + pitch * (stop - 0.15)], color=COLOURS["muted"], lw=1
        )
    for i, label in enumerate(stairs.labels):
        x = left + cell * (i + stairs.with_diagonal) + 4
        canvas.text(x, top + pitch * (i + 0.5), label, va="center_baseline", fontsize=size)


def _levels() -> list[tuple[float, float, float]]:
    """Give each level as (least correlation, opacity, upper bound)."""
    above = [low for low, _ in _LEVELS[1:]] + [2.0]
    return [(low, opacity, high) for (low, opacity), high in zip(_LEVELS, above, strict=True)]


def _tiles(canvas: Axes, corners: Array, size: tuple[float, float], colour: str, opacity: float) -> None:
    """Draw rectangles of one look as one path, or a page of fifty evals would weigh half a megabyte."""
    if not len(corners):
        return
    width, height = size
    gap = 0.5
    box = np.array([(gap, gap), (width - gap, gap), (width - gap, height - gap), (gap, height - gap), (gap, gap)])
    vertices = (corners[:, None, :] + box).reshape(-1, 2)
    codes = np.tile([Shape.MOVETO, *[Shape.LINETO] * 3, Shape.CLOSEPOLY], len(corners))
    canvas.add_patch(PathPatch(Shape(vertices, codes), facecolor=colour, edgecolor="none", alpha=opacity))


def _draw_scale(canvas: Axes, left: float, top: float, cell: float) -> None:
    canvas.text(left, top - 9, "correlation", fontsize=11, color=COLOURS["muted"])
    looks = [(_NEGATIVE, opacity) for _, opacity in reversed(_LEVELS)]
    looks += [(COLOURS["rule"], 0.35), *((_POSITIVE, opacity) for _, opacity in _LEVELS)]
    for i, (colour, opacity) in enumerate(looks):
        _tiles(canvas, np.array([[left + i * cell, top]]), (cell, 14), colour, opacity)
    edges = [-low for low, _ in reversed(_LEVELS)] + [low for low, _ in _LEVELS]
    for i, edge in enumerate(edges, start=1):
        text = f"{edge:.1f}".replace("0.", ".").replace("-", "\N{MINUS SIGN}")
        canvas.text(left + i * cell, top + 27, text, ha="center", fontsize=10, color=COLOURS["muted"])


def _means(axes: Axes, analysis: StructureAnalysis) -> None:
    rows = [
        ("all pairs", analysis.plain.mean),
        ("within a construct", analysis.plain.within),
        ("different constructs", analysis.plain.between),
    ]
    if analysis.controlled is not None:
        rows.append(("all pairs, capability controlled", analysis.controlled.mean))
    rows = [(label, test) for label, test in rows if not isnan(test.value)]
    axes.set_title("Mean correlation and its null", pad=8)
    axes.set_ylim(len(rows) - 0.3, -0.75)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.axvline(0, color=COLOURS["muted"], lw=1)
    for y, (label, test) in enumerate(rows):
        axes.plot([test.low, test.high], [y, y], color=COLOURS["muted"], lw=6, alpha=0.4, solid_capstyle="butt")
        _point(axes, test.value, y, test)
        axes.annotate(
            label,
            xy=(0, y),
            xycoords=("axes fraction", "data"),
            xytext=(0, 6),
            textcoords="offset points",
            fontsize=10,
            bbox={"facecolor": COLOURS["paper"], "edgecolor": "none", "pad": 0.5},
        )
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -0.02), max(high, 0.02))


def _scree(axes: Axes, of: Structure, title_at: float) -> None:
    numbers = np.arange(1, len(of.shares) + 1)
    axes.set_title("Principal components and their null", pad=8, x=title_at)
    low, high = ([100 * getattr(test, key) for test in of.shares] for key in ("low", "high"))
    axes.fill_between(numbers, low, high, color=COLOURS["muted"], alpha=0.3, lw=0)
    axes.plot(numbers, [100 * test.value for test in of.shares], color=COLOURS["ink"], lw=1.2)
    for number, test in zip(numbers, of.shares, strict=True):
        _point(axes, float(number), 100 * test.value, test)
    axes.set_ylim(0, None)
    axes.set_xlim(0.6, len(of.shares) + 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(min(10, len(of.shares)), integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}%")
    axes.set_xlabel("component")


def _point(axes: Axes, x: float, y: float, test: NullTest) -> None:
    face = COLOURS["ink"] if significant(test) else COLOURS["paper"]
    axes.plot([x], [y], "o", color=COLOURS["ink"], markerfacecolor=face, markersize=6, mew=1.4, clip_on=False)
