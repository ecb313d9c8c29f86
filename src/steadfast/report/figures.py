"""The report's figures show differences with their intervals, and training curves."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, isnan
from statistics import median
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from steadfast.analysis import Comparison, EvalComparison, Interval
from steadfast.report.svg import COLOURS, NARROW, Picture, new_figure, picture
from steadfast.study.arms import STANDARD

_MARKS = ("o", "s", "^", "D", "v")


@dataclass(frozen=True)
class Panel:
    """The differences of one arm.

    Attributes:
        title: The title over the panel.
        entries: The comparisons by the row's name.
        mean: The mean over the arm's scope, drawn in the last row; None draws none.
        mean_words: The label of that row.
    """

    title: str
    entries: Mapping[str, EvalComparison]
    mean: Interval | None = None
    mean_words: str = "mean"


@dataclass(frozen=True)
class Rows:
    """The rows of a forest figure under one heading.

    Attributes:
        heading: The heading; None for no heading.
        names: The names of the rows, in order.
        labels: The label of a row by its name; a row that has none is labelled by its name.
    """

    heading: str | None
    names: Sequence[str]
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


def panel(title: str, comparisons: Sequence[Comparison | None], words: str = "mean") -> Panel:
    """Make a panel of comparisons whose evals differ; its mean is that of the first one."""
    found = [c for c in comparisons if c is not None]
    entries = {e.suite: e for c in found for e in c.evals if e.items}
    first = comparisons[0] if comparisons else None
    return Panel(title, entries, first.difference if first else None, words)


def by_difference(comparison: Comparison) -> list[str]:
    """List a comparison's evals, the largest rise first."""
    measured = [e for e in comparison.evals if e.items]
    return [e.suite for e in sorted(measured, key=lambda e: (-e.difference, e.suite))]


def forest(name: str, description: str, caption: str, panels: Sequence[Panel], rows: Sequence[Rows]) -> Picture:
    """Draw differences in points with interval whiskers, in a panel for each arm and a row for each eval."""
    return picture(name, description, caption, lambda width: _draw_forest(width, panels, rows))


def _draw_forest(width: float, panels: Sequence[Panel], rows: Sequence[Rows]) -> Figure:
    narrow = width <= NARROW
    lines: list[tuple[str, str | None]] = []
    for group in rows:
        if group.heading:
            lines.append((group.heading, None))
        lines.extend((group.labels.get(n, n), n) for n in group.names)
    with_mean = any(p.mean for p in panels)
    count = len(lines) + with_mean
    pitch = 33.0 if narrow else 22.0
    columns = 1 if narrow else len(panels)
    body = count * pitch + 14
    top, bottom, gap = 28.0, 46.0, 80.0
    height = (body + gap) * (ceil(len(panels) / columns) - 1) + top + body + bottom
    figure = new_figure(width, height)
    left = 10.0 if narrow else min(300.0, 12 + 6.9 * max([len(label) for label, _ in lines] + [4]))
    each = (width - left - 12 - 26 * (columns - 1)) / columns
    limits = _limits(panels)
    for i, one in enumerate(panels):
        column, row = i % columns, i // columns
        low = height - top - body - row * (body + gap)
        axes = figure.add_axes(((left + column * (each + 26)) / width, low / height, each / width, body / height))
        _forest_axes(axes, one, lines, count, limits)
        _row_labels(axes, lines, one if with_mean else None, left - 2, narrow=narrow, first=column == 0)
    return figure


def _forest_axes(
    axes: Axes, one: Panel, lines: Sequence[tuple[str, str | None]], count: int, limits: tuple[float, float]
) -> None:
    axes.set_title(one.title, pad=9)
    axes.set_xlim(*limits)
    axes.set_ylim(count - 0.35, -0.75)
    axes.axvline(0, color=COLOURS["muted"], lw=1)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=limits[1] - limits[0] > 5))
    axes.grid(axis="x", color=COLOURS["rule"], lw=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("points of difference, 95% interval")
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    for y, (_, name) in enumerate(lines):
        if name is not None and (entry := one.entries.get(name)) is not None:
            up = entry.difference > 0
            colour = COLOURS["muted"] if not entry.significant else COLOURS["up" if up else "down"]
            shape = "o" if not entry.significant else "^" if up else "v"
            _whisker(axes, y, (entry.difference, entry.low, entry.high), colour, shape, filled=entry.significant)
    if one.mean is not None:
        y = len(lines)
        axes.axhline(y - 0.5, color=COLOURS["rule"], lw=0.8)
        _whisker(axes, y, (one.mean.estimate, one.mean.low, one.mean.high), COLOURS["ink"], "D", filled=True)


def _whisker(axes: Axes, y: int, values: tuple[float, float, float], colour: str, shape: str, *, filled: bool) -> None:
    centre, low, high = (100 * v for v in values)
    left, right = axes.get_xlim()
    if not (isnan(low) or isnan(high)):
        axes.plot([max(low, left), min(high, right)], [y, y], color=colour, lw=2.2 if filled else 1.4)
        for beyond, edge, arrow in ((low < left, left, "<"), (high > right, right, ">")):
            if beyond:
                axes.plot([edge], [y], arrow, color=colour, markersize=5, clip_on=False)
    face = colour if filled else COLOURS["paper"]
    axes.plot([centre], [y], shape, color=colour, markerfacecolor=face, markersize=7 if filled else 6, mew=1.4)


def _row_labels(
    axes: Axes,
    lines: Sequence[tuple[str, str | None]],
    mean_of: Panel | None,
    indent: float,
    *,
    narrow: bool,
    first: bool,
) -> None:
    words = [(label, name is None, name is None) for label, name in lines]
    if mean_of is not None:
        words.append((mean_of.mean_words, True, False))
    if not (narrow or first):
        return
    for y, (label, bold, heading) in enumerate(words):
        axes.annotate(
            label,
            xy=(0, y),
            xycoords=("axes fraction", "data"),
            xytext=(0, 6) if narrow else (-indent if heading else -8, 0),
            textcoords="offset points",
            ha="left" if narrow or heading else "right",
            va="bottom" if narrow else "center",
            weight="bold" if bold else "normal",
            fontsize=11 if narrow else 12,
            annotation_clip=False,
            bbox={"facecolor": COLOURS["paper"], "edgecolor": "none", "pad": 0.5} if narrow else None,
        )


def _limits(panels: Sequence[Panel]) -> tuple[float, float]:
    """Leave room for every estimate and for intervals of usual width; a far wider one is cut off and gets an arrow."""
    triples = [(e.difference, e.low, e.high) for p in panels for e in p.entries.values()]
    triples += [(p.mean.estimate, p.mean.low, p.mean.high) for p in panels if p.mean]
    centres = [100 * centre for centre, _, _ in triples if not isnan(centre)] or [0.0]
    halves = [50 * (high - low) for _, low, high in triples if not isnan(high - low)] or [0.5]
    # Scores lie in [0, 1]: what an interval claims beyond a hundred points either way cannot be.
    most = min(100.0, max(2.5 * median(halves), 1.2 * max(abs(c) for c in centres), 0.5))
    bounds = [100 * v for _, low, high in triples for v in (low, high) if not isnan(v)]
    low = max(min(*bounds, *centres, -0.5), -most)
    high = min(max(*bounds, *centres, 0.5), most)
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def curves(metrics: Mapping[str, Sequence[Mapping[str, Any]]]) -> Picture | None:
    """Draw training curves as small multiples with the arms overlaid; None if nothing was logged."""
    chosen = [(title, key) for title, key in _curve_keys(metrics) if any(_series(m, key) for m in metrics.values())]
    if not chosen:
        return None
    steps = max(int(m[-1]["step"]) for m in metrics.values() if m)
    window = 2 * (steps // 12) + 1
    names = ", ".join(title for title, _ in chosen)
    return picture(
        "curves",
        f"Training curves of {', '.join(metrics)} over {steps} steps: {names}.",
        f"Against the training step. Thin: each step; thick: mean over {window} neighbouring step"
        f"{'s' if window > 1 else ''}. Descriptive: one run a curve, no intervals.",
        lambda width: _draw_curves(width, metrics, chosen, window),
    )


def _curve_keys(metrics: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[str, str]]:
    found = {k for steps in metrics.values() for m in steps for k in m}
    pools = _pools(found)
    keys = [(f"reward: {p}", f"reward/{p}") for p in pools]
    keys += [(f"other judge: {p}", f"other_judge/{p}") for p in pools]
    keys += [(f"reward, finished: {p}", f"reward_finished/{p}") for p in pools]
    keys += [(f"dead groups: {p}", f"dead_group_share/{p}") for p in pools]
    keys += [("truncated share", "truncated_share"), ("KL to pre-RL", "kl"), ("entropy", "entropy")]
    keys += [("length, tokens", "length"), ("gradient norm", "grad_norm")]
    return keys


def _pools(keys: Collection[str]) -> list[str]:
    """List the pools whose rewards were logged: those of shipped arms in order, the user's own, then the standard."""
    found = {k.removeprefix("reward/") for k in keys if k.startswith("reward/")}
    known = ("trait", "helpfulness")
    own = sorted(found - {*known, STANDARD})
    return [p for p in (*known, *own, STANDARD) if p in found]


def _series(steps: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, float]]:
    return [(int(m["step"]), float(m[key])) for m in steps if m.get(key) is not None]


def _draw_curves(
    width: float,
    metrics: Mapping[str, Sequence[Mapping[str, Any]]],
    chosen: Sequence[tuple[str, str]],
    window: int,
) -> Figure:
    columns = 2 if width <= NARROW else 4
    lines = ceil(len(chosen) / columns)
    left, gap, top, cell = 40.0, 44.0, 28.0, 152.0
    each = (width - left - 8 - gap * (columns - 1)) / columns
    height = lines * cell + 4
    figure = new_figure(width, height)
    for i, (title, key) in enumerate(chosen):
        x = left + (i % columns) * (each + gap)
        y = height - (i // columns + 1) * cell + 24
        axes = figure.add_axes((x / width, y / height, each / width, (cell - top - 28) / height))
        axes.set_title(title, pad=7, fontsize=11, loc="left", x=-left / each * 0.8 if columns == 2 else 0)
        axes.grid(axis="y", color=COLOURS["rule"], lw=0.6)
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(3))
        for number, steps in enumerate(metrics.values()):
            _curve(axes, _series(steps, key), number, window)
        if "share" in key:
            axes.set_ylim(0, max(0.05, 1.08 * axes.get_ylim()[1]))
    return figure


def _curve(axes: Axes, series: Sequence[tuple[int, float]], number: int, window: int) -> None:
    if not series:
        return
    x, y = (np.array(values, dtype=np.float64) for values in zip(*series, strict=True))
    colour, mark = COLOURS[f"arm-{number % 5 + 1}"], _MARKS[number % 5]
    half = window // 2
    smooth = np.array([y[max(0, i - half) : i + half + 1].mean() for i in range(len(y))])
    axes.plot(x, y, color=colour, lw=0.8, alpha=0.45)
    every = max(1, len(x) // 5)
    axes.plot(x, smooth, color=colour, lw=1.9, marker=mark, markersize=4.5, markevery=(every - 1, every))
