"""The figure of what was found inside: directions by layer, how far arms moved along them, and what steering does."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from steadfast.report.probing import Probing, steering_rows
from steadfast.report.svg import COLOURS, NARROW, Picture, new_figure, picture

_MARKS = ("o", "s", "^", "D", "v")
_OWN = {"all traits": ("ink", "o"), "twins": ("up", "s")}


def probing_figure(found: Probing, arms: Sequence[str]) -> Picture:
    """Draw how well directions tell replies apart layer by layer, how far each arm moved, and the dose curve.

    Args:
        found: The results.
        arms: The run's arms, in the order that gives them their colours.
    """
    panels = [_separation, _moved] + ([_doses] if found.steering is not None else [])
    lead = found.shown_set
    at = found.at(lead)
    description = (
        f"At layer {found.layer} the direction of {lead} tells unseen replies apart with an AUC of {at['auc']:.2f}; "
        f"directions of shuffled labels reach {at['shuffled']['low']:.2f} to {at['shuffled']['high']:.2f}."
    )
    caption = (
        "Left: AUC on pairs that made no direction. Bands: 95% intervals clustered by pair; thin lines: single traits; "
        "grey: where 95 in a hundred directions of shuffled labels fall, for all traits. "
        f"Then: how far each arm's activations moved on fixed texts along the direction of {lead}, in gaps between "
        "good and bad; lines are means over seeds, whose range is shaded."
    )
    if found.steering is not None:
        caption += (
            f" Right: the direction added at layer {found.layer} of the pre-RL model; the change of log-likelihood of "
            "right against wrong answers to twins. Whiskers: 95% intervals over pairs; grey: the range of random "
            "directions of the same length."
        )
    return picture("probing", description, caption, lambda width: _draw(width, found, arms, panels))


def _draw(width: float, found: Probing, arms: Sequence[str], panels: Sequence[Any]) -> Figure:
    narrow = width <= NARROW
    count = len(panels)
    height = 330.0 * count if narrow else 360.0
    figure = new_figure(width, height)
    for number, draw in enumerate(panels):
        left, right, top, bottom = 46.0, 14.0, 84.0, 46.0
        wide, high = (width, height / count) if narrow else (width / count, height)
        x0, y0 = (0.0, (count - 1 - number) * high) if narrow else (number * wide, 0.0)
        box = (
            (x0 + left) / width,
            (y0 + bottom) / height,
            (wide - left - right) / width,
            (high - top - bottom) / height,
        )
        axes = figure.add_axes(box)
        axes.grid(axis="y", color=COLOURS["rule"], lw=0.6)
        axes.set_axisbelow(True)
        draw(axes, found, arms)
    return figure


def _separation(axes: Axes, found: Probing, arms: Sequence[str]) -> None:
    layers, sets = found.layers, found.directions["sets"]
    _title(axes, "Good against bad replies, AUC")
    for name in found.names:
        if name not in _OWN:
            axes.plot(layers, [at["auc"] for at in sets[name]["mean"]], color=COLOURS["muted"], lw=0.7, alpha=0.35)
    everything = sets[found.names[0]]["mean"]
    low, high = ([at["shuffled"][key] for at in everything] for key in ("low", "high"))
    axes.fill_between(layers, low, high, color=COLOURS["muted"], alpha=0.25, lw=0, label="shuffled labels")
    for name, style in (("length", "--"), ("sentiment", ":")):
        axes.plot(layers, [at[name]["auc"] for at in everything], style, color=COLOURS["muted"], lw=1.6, label=name)
    for name in [n for n in found.names if n in _OWN]:
        colour, mark = COLOURS[_OWN[name][0]], _OWN[name][1]
        own = sets[name]["mean"]
        least, most = ([at[key] for at in own] for key in ("low", "high"))
        if None not in least:
            axes.fill_between(layers, least, most, color=colour, alpha=0.15, lw=0)
        axes.plot(layers, [at["auc"] for at in own], f"-{mark}", color=colour, lw=1.6, markersize=4, label=name)
    axes.axhline(0.5, color=COLOURS["muted"], lw=1)
    axes.set_ylim(min(0.3, *low) - 0.02, 1.03)
    _layers(axes, found)
    _legend(axes)


def _moved(axes: Axes, found: Probing, arms: Sequence[str]) -> None:
    name = found.shown_set
    _title(axes, f"Moved along {name}, in gaps")
    for number, arm in enumerate(arms):
        of = found.moved(arm, name, "fixed")
        if not of:
            continue
        by_layer = [[seed[place]["gaps"] for seed in of] for place in range(len(found.layers))]
        colour = COLOURS[f"arm-{number % 5 + 1}"]
        if len(of) > 1:
            least, most = [min(v) for v in by_layer], [max(v) for v in by_layer]
            axes.fill_between(found.layers, least, most, color=colour, alpha=0.18, lw=0)
        means = [sum(v) / len(v) for v in by_layer]
        axes.plot(found.layers, means, f"-{_MARKS[number % 5]}", color=colour, lw=1.6, markersize=4, label=arm)
    axes.axhline(0, color=COLOURS["muted"], lw=1)
    _layers(axes, found)
    _legend(axes)


def _doses(axes: Axes, found: Probing, arms: Sequence[str]) -> None:
    _title(axes, "Added to pre-RL: right over wrong, nats")
    rows = [r for r in steering_rows(found) if r["checkpoint"] == "pre-RL" and r["dose"] is not None]
    random = sorted((r for r in rows if r["direction"] == "random"), key=lambda r: r["dose"])
    if random:
        # Where nothing is added nothing changes, whatever the direction.
        points = sorted([(0.0, 0.0, 0.0), *((r["dose"], r["nats"]["low"], r["nats"]["high"]) for r in random)])
        doses, low, high = zip(*points, strict=True)
        axes.fill_between(doses, low, high, color=COLOURS["muted"], alpha=0.3, lw=0, label="random")
    for name in dict.fromkeys(r["direction"] for r in rows if r["direction"] != "random"):
        colour, mark = COLOURS[_OWN[name][0]], _OWN[name][1]
        of = sorted(
            (r["dose"], r["nats"]["estimate"], r["nats"]["low"], r["nats"]["high"])
            for r in rows
            if r["direction"] == name
        )
        line = sorted([(0.0, 0.0), *((dose, estimate) for dose, estimate, _, _ in of)])
        axes.plot(*zip(*line, strict=True), f"-{mark}", color=colour, lw=1.6, markersize=5, label=name)
        for dose, _, lo, hi in of:
            if lo is not None and hi is not None:
                axes.plot([dose, dose], [lo, hi], color=colour, lw=1.2)
    axes.axhline(0, color=COLOURS["muted"], lw=1)
    axes.set_xlabel("dose, mean activation norms")
    _legend(axes)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, pad=46, x=-0.12)


def _layers(axes: Axes, found: Probing) -> None:
    axes.set_xlabel("layer")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.axvline(found.layer, color=COLOURS["muted"], lw=0.8, ls=(0, (2, 3)))


def _legend(axes: Axes) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.13, 1.0),
        ncols=3,
        frameon=False,
        fontsize=10,
        handlelength=1.4,
        handletextpad=0.4,
        columnspacing=1.0,
        borderaxespad=0.1,
    )
