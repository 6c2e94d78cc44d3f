"""Pictures of a training for TensorBoard: which activations flipped, which classes are taken for which."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reluopt.data.table import short
from reluopt.tracking import style

#: The largest side of a picture of flips in pixels.
SIDE = 256
#: A confusion matrix of up to so many classes has their names and numbers.
NAMED_CLASSES = 20


def flip_picture(flipped: Bool[np.ndarray, "n m"], side: int = SIDE) -> Float[np.ndarray, "height width"]:
    """The share of flipped entries as brightness in [0, 1]: samples down, neurons across, the most flipped first.

    Above ``side`` samples or neurons a pixel is the mean of a block.
    """
    rows = np.argsort(-flipped.sum(axis=1), kind="stable")
    columns = np.argsort(-flipped.sum(axis=0), kind="stable")
    picture = flipped[rows][:, columns].astype(np.float64)
    for axis in (0, 1):
        length = picture.shape[axis]
        starts = np.linspace(0, length, min(length, side), endpoint=False).astype(int)
        sizes = np.diff(np.append(starts, length))
        picture = np.add.reduceat(picture, starts, axis=axis) / (sizes[:, None] if axis == 0 else sizes)
    return picture


def flip_figure(flipped: Bool[np.ndarray, "n m"], epoch: int) -> Figure:
    """:func:`flip_picture` with axes, and a scale that says what its colours are."""
    n, m = flipped.shape
    figure, axes = style.figure(6.4, 4.8)
    axes.grid(False)
    image = axes.imshow(
        flip_picture(flipped), cmap=style.COLOUR_MAP, vmin=0, vmax=1, aspect="auto", extent=(0, m, n, 0),
        interpolation="nearest",
    )  # fmt: skip
    axes.set(xlabel=f"the {m} neurons, most flipped first", ylabel=f"the {n} samples, most flipped first")
    style.title(
        axes, f"epoch {epoch}: {flipped.mean():.1%} of all (sample, neuron) activations are not as at the start"
    )
    bar = figure.colorbar(image, ax=axes, ticks=[0, 0.5, 1], label="share of a pixel's activations that flipped")
    bar.ax.set_yticklabels(["0: as at the start", "half", "1: flipped"])
    return figure


def confusion(found: Int[np.ndarray, " n"], true: Int[np.ndarray, " n"], classes: int) -> Int[np.ndarray, "C C"]:
    """How many samples of each class (row) are taken for each class (column)."""
    return np.bincount(true * classes + found, minlength=classes * classes).reshape(classes, classes)


def confusion_figure(counts: Int[np.ndarray, "C C"], labels: Mapping[str, str], epoch: int) -> Figure:
    """The confusion matrix: colours are shares of a row, numbers are samples (up to 20 classes)."""
    figure, axes = style.figure(6.4, 5.2)
    axes.grid(False)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap=style.COLOUR_MAP, vmin=0, vmax=1)
    classes = len(counts)
    if classes <= NAMED_CLASSES:
        names = [short(labels.get(str(k), str(k)), 16) for k in range(classes)]
        axes.set_xticks(range(classes), names, rotation=45, ha="right")
        axes.set_yticks(range(classes), names)
        for i, j in np.argwhere(counts > 0):
            colour = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=colour, fontsize=7)
    axes.set(xlabel="taken for", ylabel="is")
    right = float(np.trace(counts)) / max(1, int(counts.sum()))
    style.title(axes, f"epoch {epoch}: {right:.1%} of the samples trained on are taken for their class")
    figure.colorbar(image, ax=axes, label="share of the class")
    return figure


def drawn(figure: Figure) -> UInt8[np.ndarray, "height width 3"]:
    """A figure as an image."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
