"""The charts of a page: small SVGs without a word of the user's, whose ink follows the page's colours."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reluopt.report.collected import RunView, numbers_of
from reluopt.tracking import style

#: Inches of a chart; narrow, so that its letters can be read on a phone.
WIDTH, HEIGHT = 4.4, 2.9
#: Most points of a line: more cannot be told apart.
POINTS = 400
#: Colours that stand for the page's own.
_INKS = {"#010203": "var(--ink)", "#040506": "var(--faint)"}
INK, FAINT = _INKS
_SETTINGS: Any = {
    "svg.fonttype": "none", "font.family": "sans-serif", "text.color": INK, "axes.edgecolor": FAINT,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "grid.color": FAINT, "axes.linewidth": 0.8,
}  # fmt: skip


def charts(views: Sequence[RunView]) -> list[tuple[str, str, str]]:
    """(title, caption, SVG) of every chart for which the runs have something to show."""
    made = (_ladder(views), _descent(views), _race(views), _drift(views), _neurons(views))
    return [chart for chart in made if chart is not None]


def _ladder(views: Sequence[RunView]) -> tuple[str, str, str] | None:
    """What is proved of each run: p* lies on the bar."""
    rows = [(v.letter, c.lower_bound, c.objective) for v in views if (c := v.trusted) is not None]
    rows = [row for row in rows if all(map(math.isfinite, row[1:])) and row[2] > 0]
    if not rows:
        return None
    figure, axes = _figure(height=1.3 + 0.34 * len(rows))
    for at, (_, low, high) in enumerate(rows):
        axes.plot([low, high], [at, at], color=style.COLOURS[0], linewidth=7, solid_capstyle="butt")
        axes.plot(high, at, "D", color=style.COLOURS[1], markersize=6)
    axes.set_yticks(range(len(rows)), [letter if len(views) > 1 else "" for letter, *_ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0 if min(low for _, low, _ in rows) < 0.5 * max(r[2] for r in rows) else None)
    axes.set_xlabel("objective")
    return "Where p* is", "From the best proved bound on every width to the network (diamond).", _svg(figure, "ladder")


def _descent(views: Sequence[RunView]) -> tuple[str, str, str] | None:
    lines = [(v, numbers_of(v.metrics, "epoch", "train/objective")) for v in views]
    lines = [(v, line) for v, line in lines if len(line[0]) > 1]
    if not lines:
        return None
    figure, axes = _figure()
    for v, line in lines:
        _line(axes, *line, v.letter)
        if v.trusted is not None and v.trusted.lower_bound > 0:
            axes.axhline(v.trusted.lower_bound, color=_colour(v.letter), linewidth=1, linestyle=":")
    _log_if_wide(axes, [y for _, line in lines for y in line[1]])
    axes.set(xlabel="epoch", ylabel="L")
    _legend(axes, [v for v, _ in lines])
    return "Training", "L over the epochs; dotted: the proved lower bound of every width.", _svg(figure, "descent")


def _race(views: Sequence[RunView]) -> tuple[str, str, str] | None:
    found = [v for v in views if len(numbers_of(v.trace, "seconds", "objective")[0]) > 1]
    if not found:
        return None
    figure, axes = _figure()
    values: list[float] = []
    for v in found:
        above, below = (numbers_of(v.trace, "seconds", key) for key in ("objective", "bound"))
        _line(axes, *above, v.letter)
        if v.check != "refused":
            axes.step(*below, where="post", color=_colour(v.letter), linestyle=":")
            values += below[1]
        values += above[1]
    _log_if_wide(axes, values)
    axes.set(xlabel="seconds", ylabel="L and bound")
    _legend(axes, found)
    return "Network and bound", "L falls, the bound (dotted) rises; p* is in between.", _svg(figure, "race")


def _drift(views: Sequence[RunView]) -> tuple[str, str, str] | None:
    lines = [(v, numbers_of(v.metrics, "epoch", "patterns/preserved_from_init")) for v in views]
    lines = [(v, line) for v, line in lines if len(line[0]) > 1]
    if not lines:
        return None
    figure, axes = _figure()
    for v, line in lines:
        _line(axes, line[0], [100 * y for y in line[1]], v.letter)
    axes.axhline(50, color=INK, linewidth=0.8, linestyle="--")
    axes.set(xlabel="epoch", ylabel="% of neurons", ylim=(-2, 102))
    _legend(axes, [v for v, _ in lines])
    caption = "Neurons whose whole activation pattern is that of the start; (A2) of the theory asks for half (dashed)."
    return "Drift of the patterns", caption, _svg(figure, "drift")


def _neurons(views: Sequence[RunView]) -> tuple[str, str, str] | None:
    found = [v for v in views if v.strengths is not None and v.strengths.any()]
    if not found:
        return None
    figure, axes = _figure()
    for v in found:
        assert v.strengths is not None
        size = np.sort(np.abs(v.strengths))[::-1]
        size = size[size > 0]
        _line(axes, list(range(1, len(size) + 1)), size.tolist(), v.letter, marker=len(size) < 60)
    axes.set_yscale("log")
    axes.set(xlabel="neuron, the strongest first", ylabel="‖u‖·|α|")
    _legend(axes, found)
    return "Neurons", "How much each neuron contributes; small ones are leftovers of training.", _svg(figure, "neurons")


def _figure(height: float = HEIGHT) -> tuple[Figure, Axes]:
    with matplotlib.rc_context(_SETTINGS):
        return style.figure(WIDTH, height)


def _colour(letter: str) -> str:
    return style.COLOURS[(ord(letter) - ord("A")) % 6]


def _line(axes: Axes, xs: Sequence[float], ys: Sequence[float], letter: str, *, marker: bool = False) -> None:
    step = max(1, len(xs) // POINTS)
    keep = sorted({*range(0, len(xs), step), len(xs) - 1}) if len(xs) else []
    look = style.series((ord(letter) - ord("A")) % 6)
    look = {**look, "color": _colour(letter), "marker": "o" if marker else None, "markersize": 3}
    axes.plot([xs[i] for i in keep], [ys[i] for i in keep], label=letter, **look)


def _log_if_wide(axes: Axes, values: Sequence[float]) -> None:
    positive = [v for v in values if v > 0]
    if positive and len(positive) == len(values) and max(positive) > 5 * min(positive):
        axes.set_yscale("log")


def _legend(axes: Axes, views: Sequence[RunView]) -> None:
    if len(views) > 1:
        style.legend(axes, labelcolor=INK)


def _svg(figure: Figure, name: str) -> str:
    """The figure as inline SVG; its ids are its own, its ink is the page's."""
    for axes in figure.axes:
        for spine in axes.spines.values():
            spine.set_edgecolor(FAINT)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        axes.tick_params(which="both", colors=INK, labelsize=10)
    text = io.StringIO()
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for ink, variable in _INKS.items():
        svg = svg.replace(ink, variable)
    return svg.replace("<svg", '<svg role="img"', 1)
