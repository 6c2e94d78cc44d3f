"""The panels of Figure 2: curves of what survives, maps over width and initial scale, ladders."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from reluopt.tracking import style

READINGS = {"whole": "whole patterns kept", "entries": "entries kept", "worst": "worst sample kept"}


def draw(results: dict[str, Any], config: dict[str, Any]) -> Figure:
    """Rows of curves for each data set, of maps, of ladders; lines are medians, bands the range of the seeds."""
    names = dict.fromkeys(e["name"] for e in results["curves"])
    rows: list[tuple[Any, Any]] = [(_curves, [e for e in results["curves"] if e["name"] == name]) for name in names]
    rows += [
        (_maps, [e for e in results["map"] if e["name"] == name])
        for name in dict.fromkeys(e["name"] for e in results["map"])
    ]
    ladders = [e for e in results["curves"] if "ladder" in e]
    rows += [(_ladders, ladders[first : first + 3]) for first in range(0, len(ladders), 3)]
    figure, axes = style.figure(9.2, 2.45 * len(rows), 3, len(rows))
    for (paint, entries), panels in zip(rows, np.atleast_2d(axes), strict=True):
        paint(panels, entries)
    if ladders:
        handles, labels = panels[0].get_legend_handles_labels()  # the last row is one of ladders
        style.legend(figure, handles=handles, labels=labels, ncols=6)
    return figure


def _epoch_axis(axes: Any, last: int) -> None:
    axes.set_xscale("symlog", linthresh=1)
    ticks = [0, *(10**k for k in range(len(str(last))))]
    axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.minorticks_off()
    axes.set(xlabel="epoch", xlim=(0, last))


def _curves(panels: Any, entries: list[dict[str, Any]]) -> None:
    for axes, (reading, text) in zip(panels, READINGS.items(), strict=True):
        for index, e in enumerate(entries):
            style.band(axes, e["curve"]["epoch"][0], e["curve"][reading], f"init scale {e['scale']:g}", index)
        axes.axhline(0.5, color=style.INK, linestyle=":", linewidth=1)
        _epoch_axis(axes, entries[0]["epochs"])
        axes.set(ylabel=text, ylim=(0, 1.02))
        style.title(axes, f"{entries[0]['name']}, n = {entries[0]['n']}, m = {entries[0]['width']}")
    style.legend(panels[1], loc="lower left")


def _maps(panels: Any, entries: list[dict[str, Any]]) -> None:
    widths, scales = (list(dict.fromkeys(e[key] for e in entries)) for key in ("width", "scale"))
    for axes, (reading, text) in zip(panels, READINGS.items(), strict=True):
        found = {(e["scale"], e["width"]): e[f"{reading}_end"] for e in entries}
        values = [[found.get((scale, width), np.nan) for width in widths] for scale in scales]
        style.heat_map(axes, values, widths, scales, "width m", "init scale", text, text="{:.2f}")
        style.title(axes, f"{entries[0]['name']}, epoch {entries[0]['epochs']}")


def _ladders(panels: Any, entries: list[dict[str, Any]]) -> None:
    labels = {"objective": "L(θ)", "own": "p̃(S(θ))", "kept": "p̃(S_kept)"}
    for axes, e in zip(panels, entries, strict=False):
        for index, (key, label) in enumerate(labels.items()):
            style.band(axes, e["ladder"]["epoch"][0], e["ladder"][key], label, index)
        axes.axhline(1.0, color=style.INK, label="proved LB ≤ p*")
        axes.axhline(np.median(e["ladder"]["zero"]), color=style.GREY, linestyle="--", label="zero network")
        if e["half_epoch"] is not None:
            axes.axvline(e["half_epoch"], color=style.INK, linestyle=":", label="whole patterns < ½")
        _epoch_axis(axes, e["epochs"])
        axes.set(yscale="log", ylabel="objective / proved LB")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        style.title(axes, f"{e['name']}, ladder at init scale {e['scale']:g}")
    for axes in panels[len(entries) :]:
        axes.set_axis_off()
