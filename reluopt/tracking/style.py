"""The one plotting style: readable in print, in grey, and for colour-blind readers; no global state, no pyplot.

A series is told apart three times over, by colour, marker and line style, so that a grey print still works.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from reluopt.errors import ConfigError
from reluopt.writing import write_atomically

#: Okabe and Ito's colours, those that carry on white paper first.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "D", "s", "^", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (7, 3)))
INK, GREY, SHADE = "#222222", "#999999", "#F0E4D7"
DPI, LARGEST_FILE = 150, 300_000
#: Perceptually uniform, monotone in grey, the same to colour-blind readers.
COLOUR_MAP = "cividis"

_SETTINGS: Any = {
    "font.size": 9,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
}


def series(index: int) -> dict[str, Any]:
    """Colour, marker and line style of the ``index``-th series, as keywords of ``Axes.plot``.

    Raises
    ------
    ConfigError : more series than can be told apart (8).
    """
    if not 0 <= index < len(COLOURS):
        raise ConfigError(f"No style for series {index}: there are {len(COLOURS)}.", "Draw fewer series in one panel.")
    return {
        "color": COLOURS[index],
        "marker": MARKERS[index],
        "linestyle": LINES[index],
        "markersize": 4.5,
        "linewidth": 1.5,
    }


def figure(width: float = 6.4, height: float = 4.0, ncols: int = 1, nrows: int = 1) -> tuple[Figure, Any]:
    """A figure of ``width`` × ``height`` inches with ``nrows`` × ``ncols`` axes in this style.

    Returns
    -------
    The figure, and its axes as ``Figure.subplots`` gives them: one Axes, or an array of them.
    """
    with matplotlib.rc_context(_SETTINGS):
        made = Figure(figsize=(width, height), layout="constrained")
        return made, made.subplots(nrows, ncols)


def band(
    axes: Axes, x: ArrayLike, runs: ArrayLike, label: str | None, index: int, *, upper: ArrayLike | None = None
) -> None:
    """Runs against x: a line through their medians, a band from the smallest to the largest.

    Parameters
    ----------
    x : (k,) abscissas.
    runs : (seeds, k) or (k,) ordinates; what is not finite is left out (a run that is missing).
    label : its name in the legend, or None.
    index : which series, see :func:`series`.
    upper : (seeds, k), for a quantity known between two bounds: ``runs`` are its lower, ``upper`` its upper ends; the
        band goes from the smallest of the former to the largest of the latter, with the medians of both.

    Raises
    ------
    ConfigError : shapes that do not fit.
    """
    xs = np.atleast_1d(np.asarray(x, dtype=np.float64))
    low = _runs(runs, xs.size)
    high = low if upper is None else _runs(upper, xs.size)
    look = series(index)
    axes.fill_between(
        xs, low.min(axis=0).filled(np.nan), high.max(axis=0).filled(np.nan), color=look["color"], alpha=0.2, linewidth=0
    )
    axes.plot(xs, np.ma.median(low, axis=0).filled(np.nan), label=label, **look)
    if upper is not None:
        axes.plot(xs, np.ma.median(high, axis=0).filled(np.nan), **look)


def heat_map(
    axes: Axes,
    values: ArrayLike,
    xs: Sequence[Any],
    ys: Sequence[Any],
    xlabel: str,
    ylabel: str,
    label: str,
    *,
    text: str = "{:.3g}",
) -> None:
    """A table as colours: annotated cells, a colour bar named ``label``. Cells that are not finite stay empty.

    Parameters
    ----------
    values : (len(ys), len(xs)); row 0 is drawn at the bottom.
    xs, ys : the columns' and the rows' settings, written at the axes as they are.
    text : how a value is written into its cell.

    Raises
    ------
    ConfigError : shapes that do not fit.
    """
    table = np.ma.masked_invalid(np.asarray(values, dtype=np.float64))
    if table.shape != (len(ys), len(xs)):
        raise ConfigError(
            f"A heat map of {len(ys)} rows and {len(xs)} columns got values of shape {table.shape}.",
            "Give one row for each of ys and one column for each of xs.",
        )
    image = axes.imshow(table, cmap=COLOUR_MAP, origin="lower", aspect="auto")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_xticks(range(len(xs)), [str(x) for x in xs])
    axes.set_yticks(range(len(ys)), [str(y) for y in ys])
    axes.grid(False)
    shades = np.asarray(image.norm(table))
    for row, column in np.argwhere(~np.ma.getmaskarray(table)):
        ink = "white" if shades[row, column] < 0.5 else "black"  # the map's first half is dark
        axes.text(column, row, text.format(table[row, column]), ha="center", va="center", color=ink, fontsize=8)
    axes.figure.colorbar(image, ax=axes, label=label)


def title(axes: Axes, text: str) -> None:
    """A title in this style: small, at the left, so that those of neighbouring panels do not meet."""
    axes.set_title(text, fontsize=10, loc="left")


def legend(owner: Axes | Figure, **settings: Any) -> None:
    """The legend of axes, or of a whole figure (then below it): no frame, small print."""
    if isinstance(owner, Figure):
        settings = {"loc": "outside lower center", "ncols": 4} | settings
    owner.legend(**{"frameon": False, "fontsize": 9} | settings)


def save(figure: Figure, path: Path | str) -> None:
    """Write a PNG of 150 dpi, atomically.

    Raises
    ------
    ConfigError : the picture takes more than 300 kB (a repository of figures has to stay small).
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, format="png")
    if len(buffer.getvalue()) > LARGEST_FILE:
        raise ConfigError(
            f"The picture '{path}' takes {len(buffer.getvalue()) // 1000} kB; {LARGEST_FILE // 1000} kB are allowed.",
            "Make the figure smaller, or draw fewer points.",
        )
    write_atomically(path, buffer.getvalue())


def _runs(runs: ArrayLike, size: int) -> Any:
    """(seeds, k) with what is not finite masked."""
    table = np.ma.masked_invalid(np.atleast_2d(np.asarray(runs, dtype=np.float64)))
    if table.ndim != 2 or table.shape[1] != size or not table.shape[0]:
        raise ConfigError(
            f"Runs of shape {np.shape(runs)} do not fit {size} abscissas.",
            "Give one row a run, one column an abscissa.",
        )
    return table
