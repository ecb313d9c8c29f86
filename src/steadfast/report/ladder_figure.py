"""The transfer ladder as pictures: pair success of every checkpoint, with each training seed as a dot."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steadfast.report.ladder import Ladder, RungResult, controls
from steadfast.report.svg import COLOURS, NARROW, Picture, new_figure, picture
from steadfast.study.rungs import Rung

_MARKS = ("o", "s", "^", "D", "v")


def ladder_figure(ladder: Ladder, order: Sequence[str]) -> Picture:
    """Draw an arm's ladder: a row for each rung, and in it a mark for each checkpoint's mean and a dot for each seed.

    Args:
        ladder: The ladder.
        order: All checkpoints of the run: each has its place's mark and colour, the same in every picture.
    """
    arms = [ladder.arm, *controls(ladder)]
    said = "; ".join(f"{rung}: {_levels(ladder, arms, rung)}" for rung in ladder.rungs)
    return picture(
        f"ladder-{ladder.arm}",
        f"Pair success in points by rung. {said}.",
        "Pair success, in points of a hundred, from the nearest rung to the farthest. A mark is an arm's mean, a dot "
        "one training seed.",
        lambda width: _draw(width, ladder, arms, order),
    )


def primary_figure(ladder: Ladder, rung: Rung, where: str, order: Sequence[str]) -> Picture:
    """Draw one rung of a ladder alone, a row for each checkpoint, for a glance.

    Args:
        ladder: The ladder.
        rung: The rung.
        where: What the rung is, in words.
        order: As in `ladder_figure`.
    """
    arms = [ladder.arm, *controls(ladder)]
    return picture(
        "primary-measure",
        f"Pair success in points on {where}: {_levels(ladder, arms, rung)}.",
        f"Pair success on {where}, in points of a hundred. A mark is the mean, a dot one training seed.",
        lambda width: _draw_one(width, ladder, rung, arms, order),
    )


def _levels(ladder: Ladder, arms: Sequence[str], rung: Rung) -> str:
    return ", ".join(f"{r.arm} {100 * r.level:.0f}" for a in arms if (r := ladder.result(a, rung)))


def _draw(width: float, ladder: Ladder, arms: Sequence[str], order: Sequence[str]) -> Figure:
    narrow = width <= NARROW
    left, right, top, bottom = (12.0 if narrow else 130.0), 14.0, 34.0, 44.0
    pitch = 15.0 * len(arms) + (30.0 if narrow else 14.0)
    height = top + pitch * len(ladder.rungs) + bottom
    figure = new_figure(width, height)
    box = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    axes = figure.add_axes(box)
    _scale(axes, len(ladder.rungs) * pitch, 101.5)
    first = 24.0 if narrow else 14.0
    for row, rung in enumerate(ladder.rungs):
        if row:
            axes.axhline(row * pitch, color=COLOURS["rule"], lw=0.8)
        for line, arm in enumerate(arms):
            if (result := ladder.result(arm, rung)) is not None:
                _checkpoint(axes, row * pitch + first + 15.0 * line, result, order.index(arm))
        _label(axes, rung, row * pitch + 12.0 if narrow else (row + 0.5) * pitch, above=narrow)
    _legend(axes, arms, order, narrow=narrow)
    return figure


def _draw_one(width: float, ladder: Ladder, rung: Rung, arms: Sequence[str], order: Sequence[str]) -> Figure:
    results = [r for a in arms if (r := ladder.result(a, rung)) is not None]
    left, right, top, bottom, pitch = 110.0, 14.0, 6.0, 44.0, 26.0
    height = top + pitch * len(results) + bottom
    figure = new_figure(width, height)
    box = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    axes = figure.add_axes(box)
    most = max(100 * s for r in results for s in r.by_seed)
    _scale(axes, len(results) * pitch, min(101.5, max(25.0, 1.15 * most)))
    for line, result in enumerate(results):
        _checkpoint(axes, (line + 0.5) * pitch, result, order.index(result.arm))
        _label(axes, result.arm, (line + 0.5) * pitch, above=False)
    return figure


def _scale(axes: Axes, height: float, most: float) -> None:
    """Let x be points of pair success up to `most`, and y pixels downward."""
    axes.set_xlim(-0.015 * most, most)
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=COLOURS["rule"], lw=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("pair success, points")


def _label(axes: Axes, text: str, y: float, *, above: bool) -> None:
    """Name a row, to the left of it, or above its marks where there is no room."""
    axes.annotate(
        text,
        xy=(0.0 if above else -0.01, y),
        xycoords=("axes fraction", "data"),
        xytext=(0 if above else -6, 0),
        textcoords="offset points",
        ha="left" if above else "right",
        va="center",
        annotation_clip=False,
    )


def _checkpoint(axes: Axes, y: float, result: RungResult, place: int) -> None:
    mark, colour = mark_of(place)
    seeds = [100 * s for s in result.by_seed]
    if len(seeds) > 1:
        axes.plot([min(seeds), max(seeds)], [y, y], color=colour, lw=1.2, alpha=0.6)
        axes.plot(seeds, [y] * len(seeds), ".", color=colour, markersize=5, alpha=0.7, clip_on=False)
    axes.plot([100 * result.level], [y], mark, color=colour, markersize=8, clip_on=False)


def _legend(axes: Axes, arms: Sequence[str], order: Sequence[str], *, narrow: bool) -> None:
    for arm in arms:
        mark, colour = mark_of(order.index(arm))
        axes.plot([], [], mark, color=colour, markersize=7, label=arm)
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


def mark_of(place: int) -> tuple[str, str]:
    """The mark and the colour of a checkpoint's place, which together tell twenty-five of them apart."""
    return _MARKS[place % 5], COLOURS[f"arm-{(place + place // 5) % 5 + 1}"]
