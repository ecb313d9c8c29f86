"""Levels by dose and by what was learned, and personas as dumbbells."""

from collections.abc import Callable, Sequence
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from steadfast.report.persistence.attack import AttackResult, Line
from steadfast.report.persistence.measures import Key
from steadfast.report.persistence.personas import PersonaResult
from steadfast.report.svg import COLOURS, NARROW, Picture, new_figure, picture

_MARKS = ("o", "s", "^", "D", "v")

Draw = Callable[[Axes], None]


def attack_figure(harmful: AttackResult, careful: AttackResult | None, arms: Sequence[str], words: str) -> Picture:
    """Draw the held-out loss by dose, the levels by dose of an attack and its control, and the levels by the loss.

    Args:
        harmful: The attack.
        careful: Its careful twin; None without one.
        arms: The checkpoints in order, which decides their colours.
        words: What the level is.
    """
    panels: list[tuple[str, str, Draw]] = []
    key = harmful.headline
    shown = [a for a in arms if harmful.line(key, a)]
    limits = _limits([r for r in (harmful, careful) if r], key, shown)
    if harmful.learning:
        panels.append(("held-out loss of the attack", "nats a token", lambda x: _losses(x, harmful, arms)))
    kinds = ("harmful answers", "careful answers") if harmful.attack.kind == "harmful" else ("", "")
    for result, kind in zip((harmful, careful), kinds, strict=True):
        if result is not None:
            title = f"level: {kind}" if kind else f"level: {harmful.attack.name}"
            panels.append((title, "points", lambda x, r=result: _levels(x, r, key, arms, limits)))
    if harmful.learning:
        panels.append(
            ("level by what was learned: harmful", "points", lambda x: _by_loss(x, harmful, key, arms, limits))
        )
    depth = ", and by the fall of its held-out loss in nats a token" if harmful.learning else ""
    said = "; ".join(_said(line) for a in shown if (line := harmful.line(key, a)))
    return picture(
        f"attack-{harmful.attack.name}",
        f"Levels of {words} along {harmful.attack.name}, in points by updates. {said}.",
        f"In points of a hundred, {words}, by updates of the attack, on a scale that grows by factors{depth}. "
        "A line is the mean over training seeds, its band reaches from the "
        "lowest seed to the highest; the tables have the intervals.",
        lambda width: _draw(width, panels, [(a, arms.index(a)) for a in shown]),
    )


def _said(line: Line) -> str:
    levels = ", ".join(f"{d}: {100 * v.estimate:.0f}" for d, v in zip(line.doses, line.levels, strict=True))
    return f"{line.checkpoint} {levels}"


def _limits(results: Sequence[AttackResult], key: Key, arms: Sequence[str]) -> tuple[float, float]:
    """One scale for all panels of levels."""
    lines = [line for r in results for a in arms if (line := r.line(key, a))]
    low = 100 * min(v for line in lines for v in line.lowest)
    high = 100 * max(v for line in lines for v in line.highest)
    margin = max(2.0, 0.06 * (high - low))
    return low - margin, high + margin


def _draw(width: float, panels: Sequence[tuple[str, str, Draw]], legend: Sequence[tuple[str, int]]) -> Figure:
    narrow = width <= NARROW
    columns = 1 if narrow or len(panels) == 1 else 2
    left, gap, cell = 52.0, 66.0, 268.0
    top = 24.0 * (ceil(len(legend) / 2) if narrow else 1) + 12.0
    each = (width - left - 10 - gap * (columns - 1)) / columns
    height = ceil(len(panels) / columns) * cell + top
    figure = new_figure(width, height)
    for i, (title, unit, draw) in enumerate(panels):
        x, y = left + (i % columns) * (each + gap), height - top - (i // columns + 1) * cell + 46
        axes = figure.add_axes((x / width, y / height, each / width, (cell - 84) / height))
        axes.set_title(title, pad=8)
        axes.grid(axis="y", color=COLOURS["rule"], lw=0.6)
        axes.set_axisbelow(True)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_ylabel(unit)
        draw(axes)
    _legend(figure, legend, columns=2 if narrow else len(legend))
    return figure


def _legend(figure: Figure, legend: Sequence[tuple[str, int]], columns: int) -> None:
    axes = figure.axes[0]
    made = [
        axes.plot([], [], color=_colour(n), marker=_MARKS[n % 5], lw=1.9, markersize=6, label=name)[0]
        for name, n in legend
    ]
    figure.legend(handles=made, loc="upper left", ncols=columns, frameon=False, fontsize=11, borderaxespad=0.2)


Band = tuple[Sequence[float], Sequence[float]]


def _line(axes: Axes, x: Sequence[float], middle: Sequence[float], band: Band, n: int) -> None:
    colour = _colour(n)
    axes.fill_between(x, *band, color=colour, alpha=0.14, lw=0)
    axes.plot(x, middle, color=colour, lw=1.9, marker=_MARKS[n % 5], markersize=5.5)


def _levels(axes: Axes, result: AttackResult, key: Key, arms: Sequence[str], limits: tuple[float, float]) -> None:
    doses: set[int] = set()
    for n, name in enumerate(arms):
        line = result.line(key, name)
        if line is not None:
            doses |= set(line.doses)
            _line(axes, np.log1p(line.doses).tolist(), *_points(line), n)
    axes.set_ylim(*limits)
    _dose_axis(axes, doses)


def _points(line: Line) -> tuple[list[float], tuple[list[float], list[float]]]:
    middle = [100 * v.estimate for v in line.levels]
    return middle, ([100 * v for v in line.lowest], [100 * v for v in line.highest])


def _losses(axes: Axes, result: AttackResult, arms: Sequence[str]) -> None:
    doses = {0}
    for n, name in enumerate(arms):
        mine = [one for one in result.learning if one.checkpoint == name]
        if mine:
            x = [0, *(one.dose for one in mine)]
            doses |= set(x)
            y = [mine[0].before, *(one.after for one in mine)]
            axes.plot(np.log1p(x), y, color=_colour(n), lw=1.9, marker=_MARKS[n % 5], markersize=5.5)
    _dose_axis(axes, doses)


def _by_loss(axes: Axes, result: AttackResult, key: Key, arms: Sequence[str], limits: tuple[float, float]) -> None:
    for n, name in enumerate(arms):
        line = result.line(key, name)
        learned = {one.dose: one.learned.estimate for one in result.learning if one.checkpoint == name}
        if line is None or not learned:
            continue
        middle, band = _points(line)
        kept = [i for i, d in enumerate(line.doses) if d == 0 or d in learned]
        x = [learned.get(line.doses[i], 0.0) for i in kept]
        _line(axes, x, [middle[i] for i in kept], ([band[0][i] for i in kept], [band[1][i] for i in kept]), n)
    axes.set_ylim(*limits)
    axes.set_xlabel("fall of the held-out loss, nats a token")


def _dose_axis(axes: Axes, doses: set[int]) -> None:
    ordered = sorted(doses)
    axes.set_xticks(np.log1p(ordered), [str(d) for d in ordered])
    axes.set_xlabel("updates of the attack")


def persona_figure(results: Sequence[PersonaResult], arms: Sequence[str], words: str) -> Picture:
    """Draw a dumbbell for each persona and checkpoint, from its plain level to the one under the persona.

    Args:
        results: The personas on one measure.
        arms: The checkpoints in order, which decides their colours.
        words: What the level is.
    """
    shown = [a for a in arms if any(r.of(a) for r in results)]
    said = "; ".join(
        f"{r.name}: "
        + ", ".join(f"{u.checkpoint} {100 * u.plain.estimate:.0f} to {100 * u.level.estimate:.0f}" for u in r.under)
        for r in results
    )
    return picture(
        "personas",
        f"Levels of {words} plain and under personas, in points. {said}.",
        f"In points of a hundred, {words}. Hollow: without the persona; filled: under it, the mean over its wordings "
        "and over training seeds.",
        lambda width: _draw_personas(width, results, [(a, arms.index(a)) for a in shown]),
    )


def _draw_personas(width: float, results: Sequence[PersonaResult], shown: Sequence[tuple[str, int]]) -> Figure:
    narrow = width <= NARROW
    pitch, head = 14.0 * len(shown) + (26.0 if narrow else 12.0), 24.0 if narrow else 12.0
    left = 12.0 if narrow else 20 + 7.2 * max(len(r.name) for r in results)
    top, bottom = 24.0 * (ceil(len(shown) / 2) if narrow else 1) + 10.0, 44.0
    height = top + pitch * len(results) + bottom
    figure = new_figure(width, height)
    box = (left / width, bottom / height, (width - left - 14) / width, (height - top - bottom) / height)
    axes = figure.add_axes(box)
    axes.set_ylim(len(results) * pitch, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=COLOURS["rule"], lw=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("points")
    for row, result in enumerate(results):
        if row:
            axes.axhline(row * pitch, color=COLOURS["rule"], lw=0.8)
        for place, (name, n) in enumerate(shown):
            _dumbbell(axes, row * pitch + head + 14.0 * place, result, name, n)
        where = (0.0, row * pitch + 11.0) if narrow else (-0.01, (row + 0.5) * pitch)
        axes.annotate(
            result.name,
            xy=where,
            xycoords=("axes fraction", "data"),
            ha="left" if narrow else "right",
            va="center",
            annotation_clip=False,
        )
    _legend(figure, shown, columns=2 if narrow else len(shown))
    return figure


def _dumbbell(axes: Axes, y: float, result: PersonaResult, name: str, n: int) -> None:
    under = result.of(name)
    if under is None:
        return
    colour, before, after = _colour(n), 100 * under.plain.estimate, 100 * under.level.estimate
    axes.plot([before, after], [y, y], color=colour, lw=1.6, alpha=0.7)
    mark = _MARKS[n % 5]
    axes.plot([before], [y], mark, color=colour, markerfacecolor=COLOURS["paper"], markersize=6.5, mew=1.4)
    axes.plot([after], [y], mark, color=colour, markersize=6.5)


def _colour(number: int) -> str:
    return COLOURS[f"arm-{number % 5 + 1}"]
