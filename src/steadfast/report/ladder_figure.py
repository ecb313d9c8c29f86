"""The transfer ladder as a picture: pair success of every arm on every rung, with each training seed as a dot."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steadfast.report.ladder import Ladder, RungResult, controls
from steadfast.report.svg import COLOURS, NARROW, Picture, new_figure, picture

_MARKS = ("o", "s", "^", "D", "v")


def ladder_figure(ladder: Ladder) -> Picture:
    """Draw an arm's ladder: a row for each rung, and in it a mark for each arm's mean and a dot for each seed."""
    arms = [ladder.arm, *controls(ladder)]
    said = "; ".join(
        f"{rung}: " + ", ".join(f"{r.arm} {100 * r.level:.0f}" for a in arms if (r := ladder.result(a, rung)))
        for rung in ladder.rungs
    )
    return picture(
        f"ladder-{ladder.arm}",
        f"Pair success in points by rung. {said}.",
        "Pair success, in points of a hundred, from the nearest rung to the farthest. A mark is an arm's mean, a dot "
        "one training seed.",
        lambda width: _draw(width, ladder, arms),
    )


def _draw(width: float, ladder: Ladder, arms: Sequence[str]) -> Figure:
    narrow = width <= NARROW
    left, right, top, bottom = (12.0 if narrow else 130.0), 14.0, 34.0, 44.0
    pitch = 15.0 * len(arms) + (30.0 if narrow else 14.0)
    height = top + pitch * len(ladder.rungs) + bottom
    figure = new_figure(width, height)
    box = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    axes = figure.add_axes(box)
    axes.set_xlim(-1.5, 101.5)
    axes.set_ylim(len(ladder.rungs) * pitch, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=COLOURS["rule"], lw=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("pair success, points")
    first = 24.0 if narrow else 14.0
    for row, rung in enumerate(ladder.rungs):
        if row:
            axes.axhline(row * pitch, color=COLOURS["rule"], lw=0.8)
        for line, arm in enumerate(arms):
            if (result := ladder.result(arm, rung)) is not None:
                _arm(axes, row * pitch + first + 15.0 * line, result, line)
        place = (0.0, row * pitch + 12.0) if narrow else (-0.01, (row + 0.5) * pitch)
        axes.annotate(
            rung,
            xy=place,
            xycoords=("axes fraction", "data"),
            ha="left" if narrow else "right",
            va="center",
            annotation_clip=False,
        )
    _legend(axes, arms, narrow=narrow)
    return figure


def _arm(axes: Axes, y: float, result: RungResult, number: int) -> None:
    colour = _colour(number)
    seeds = [100 * s for s in result.by_seed]
    if len(seeds) > 1:
        axes.plot([min(seeds), max(seeds)], [y, y], color=colour, lw=1.2, alpha=0.6)
        axes.plot(seeds, [y] * len(seeds), ".", color=colour, markersize=5, alpha=0.7, clip_on=False)
    axes.plot([100 * result.level], [y], _MARKS[number % 5], color=colour, markersize=8, clip_on=False)


def _legend(axes: Axes, arms: Sequence[str], *, narrow: bool) -> None:
    for number, arm in enumerate(arms):
        axes.plot([], [], _MARKS[number % 5], color=_colour(number), markersize=7, label=arm)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=2 if narrow else len(arms),
        frameon=False,
        fontsize=10 if narrow else 11,
        handletextpad=0.2,
        columnspacing=1.2,
        borderaxespad=0.1,
    )


def _colour(number: int) -> str:
    return COLOURS[f"arm-{number % 5 + 1}"]
