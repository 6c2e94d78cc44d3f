"""Pictures of plain records, in the style of :mod:`reluopt.tracking.style`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reluopt import printing
from reluopt.tracking import style

#: A colour and a marker for each way a value is known.
STATUS_COLOURS = {"proved": style.COLOURS[0], "measured": style.COLOURS[1]}
STATUS_MARKERS = {"proved": "o", "measured": "D"}


def ladder_figure(estimates: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """The ladder as a picture: one row an estimate, its value on the axis of the objective, the region of p* marked.

    Parameters
    ----------
    estimates : records with keys label, quantity, relation (">=", "<="), value and status ("proved", "measured",
        "unknown"). Those whose value is not finite are listed without a mark.
    """
    drawn = sorted((r for r in estimates if _finite(r)), key=lambda r: r["value"])
    missing = [r for r in estimates if not _finite(r)]
    rows = [*drawn, *missing]
    figure, axes = style.figure(9.0, 1.6 + 0.42 * len(rows))
    axes.grid(False)
    _mark_optimum(axes, drawn)
    for height, record in enumerate(rows):
        if _finite(record):
            kind, value = record["status"], record["value"]
            axes.hlines(height, 0, value, color="#DDDDDD", linewidth=1, zorder=1)
            axes.plot(value, height, STATUS_MARKERS[kind], color=STATUS_COLOURS[kind], markersize=9, zorder=3)
        axes.annotate(
            f"  {printing.estimate(record, 6)}", (1.0, height), xycoords=("axes fraction", "data"), va="center",
            fontsize=9, color=style.INK, annotation_clip=False,
        )  # fmt: skip
    _finish(figure, axes, rows, drawn, title)
    return figure


def save_ladder(path: Path, estimates: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Write the ladder's picture as a PNG of 150 dpi."""
    style.save(ladder_figure(estimates, title), path)


def race_figure(lines: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """L from above and the proved bound from below over time.

    Parameters
    ----------
    lines : records with keys seconds, objective and bound, in the order of time.
    """
    figure, axes = style.figure(8.0, 4.5)
    seconds = [line["seconds"] for line in lines]
    for key, colour, label in (
        ("objective", style.COLOURS[1], "L of the network"),
        ("bound", style.COLOURS[0], "proved bound"),
    ):
        points = [(s, line[key]) for s, line in zip(seconds, lines, strict=True) if math.isfinite(line[key])]
        if points:
            axes.step(*zip(*points, strict=True), where="post", color=colour, label=label)
    axes.set_xlabel("seconds")
    axes.set_ylabel("objective")
    axes.set_yscale("log")
    axes.set_title(title)
    axes.legend()
    return figure


def save_race(path: Path, lines: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Write the picture of :func:`race_figure` as a PNG."""
    style.save(race_figure(lines, title), path)


def path_figure(points: Sequence[Mapping[str, Any]], title: str = "", best: int | None = None) -> Figure:
    """L and the proved bound, the neurons, and the validation loss against β.

    Parameters
    ----------
    points : records with keys beta, objective, bound, neurons and test_loss (nan without validation).
    best : the point that validation chose, marked.
    """
    tested = any(math.isfinite(point["test_loss"]) for point in points)
    figure, axes = style.figure(11.0 if tested else 8.0, 3.6, ncols=3 if tested else 2)
    betas = [point["beta"] for point in points]
    low, high = ([point[key] for point in points] for key in ("bound", "objective"))
    axes[0].fill_between(betas, low, high, color=style.SHADE, label="p* is in here (proved)")
    axes[0].plot(betas, high, label="L of the network", **style.series(1))
    axes[0].plot(betas, low, label="proved bound", **style.series(0))
    axes[0].set(yscale="log" if min(low) > 0 else "linear", ylabel="objective")
    axes[1].plot(betas, [point["neurons"] for point in points], **style.series(2))
    axes[1].set(ylabel="active neurons")
    if tested:
        axes[2].plot(betas, [point["test_loss"] for point in points], **style.series(3))
        axes[2].set(ylabel="mean loss of the held-out samples")
        if best is not None:
            axes[2].axvline(betas[best], color=style.INK, linestyle=":", label=f"chosen: β = {betas[best]:.3g}")
            style.legend(axes[2])
    for axis in axes:
        axis.set(xscale="log", xlabel="β")
    style.legend(axes[0])
    if title:
        figure.suptitle(title)
    return figure


def save_path(path: Path, points: Sequence[Mapping[str, Any]], title: str = "", best: int | None = None) -> None:
    """Write the picture of :func:`path_figure` as a PNG."""
    style.save(path_figure(points, title, best), path)


def _finite(record: Mapping[str, Any]) -> bool:
    return record["value"] is not None and math.isfinite(record["value"])


def _mark_optimum(axes: Axes, drawn: Sequence[Mapping[str, Any]]) -> None:
    """Shade where the global optimum p* lies: between the best proved lower and the best proved upper bound."""
    proved = [r for r in drawn if r["status"] == "proved"]
    low = max((r["value"] for r in proved if r["quantity"] == "p*" and r["relation"] == ">="), default=0.0)
    # p̃(S(θ)) from below is about one program; only networks bound p* from above
    high = min((r["value"] for r in proved if r["quantity"] in ("L_bal", "L(θ)")), default=None)
    if high is not None and high >= low:
        axes.axvspan(low, high, color=style.SHADE, zorder=0, label="the global optimum p* is in here")


def _finish(
    figure: Figure, axes: Axes, rows: Sequence[Mapping[str, Any]], drawn: Sequence[Mapping[str, Any]], title: str
) -> None:
    axes.set_yticks(range(len(rows)), [r["label"] for r in rows], fontsize=9)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    values = [r["value"] for r in drawn if r["value"] > 0]
    if values and max(values) > 20 * min(values):
        axes.set_xscale("log")
        axes.set_xlim(min(values) / 1.5, max(values) * 1.3)
    elif values:
        axes.set_xlim(0, max(values) * 1.06)
    axes.set_xlabel("objective Σ κℓ(f, y) + (β/2)(‖U‖² + ‖α‖²)")
    if title:
        style.title(axes, title)
    for kind in STATUS_COLOURS:
        if any(r["status"] == kind for r in drawn):
            axes.plot([], [], STATUS_MARKERS[kind], color=STATUS_COLOURS[kind], label=kind)
    style.legend(figure)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
