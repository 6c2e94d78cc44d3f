"""The figure of this study."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from reluopt.tracking import style


def select(cells: list[dict[str, Any]], case: dict[str, Any], share: float) -> list[dict[str, Any]]:
    """The cells of a case and a share, in the order of n."""
    wanted = (case["ratio"], case["beta"], share)
    return [c for c in cells if (c["ratio"], c["beta_fraction"], c["share"]) == wanted]


def draw(results: dict[str, Any], config: dict[str, Any]) -> Figure:
    """Above, a panel a case: p̃/p* as a bracket against n. Below: p̃/p_gated against n, and p̃/best against the share."""
    cells, cases, main_share = results["cells"], config["case"], config["main_share"]
    columns = max(3, len(cases))
    figure, axes = style.figure(3.2 * columns, 6.4, ncols=columns, nrows=2)
    for axis in axes[0, len(cases) :]:
        axis.set_visible(False)
    for i, case in enumerate(cases):
        for index, share in enumerate((main_share, 1.0)):
            if line := select(cells, case, share):
                _bracket(axes[0, i], line, _said(share), index)
        _logs(axes[0, i], select(cells, case, main_share), "over_best")
        _finish(axes[0, i], case["sizes"], _name(case), "p̃(S)/p*: from p̃/best to p̃/LB")
        line = select(cells, case, main_share)
        style.band(axes[1, 0], case["sizes"], _runs(line, "over_gated"), _name(case), i)
    _logs(axes[1, 0], select(cells, cases[0], main_share), "over_gated")
    sizes = sorted({n for case in cases for n in case["sizes"]})
    _finish(axes[1, 0], sizes, f"all, {_said(main_share)}", "p̃(S)/p_gated(S)")
    for axis, case in zip(axes[1, 1:], cases[:2], strict=True):
        for index, n in enumerate(n for n in case["sizes"]):
            line = [c for c in cells if (c["ratio"], c["beta_fraction"], c["n"]) == (case["ratio"], case["beta"], n)]
            style.band(axis, [c["share"] for c in line], _runs(line, "over_best"), f"n = {n}", index)
        _finish(axis, [], _name(case), "p̃(S)/best found")
        axis.set(xlabel="P, as a share of the theorem's number")
        axis.set_xticks(config["shares"], [str(Fraction(share)) for share in config["shares"]])
        axis.minorticks_off()
    return figure


def _bracket(axis: Any, line: list[dict[str, Any]], label: str, index: int) -> None:
    sizes = [c["n"] for c in line]
    style.band(axis, sizes, _runs(line, "over_best"), label, index, upper=_runs(line, "over_bound"))


def _runs(line: list[dict[str, Any]], key: str) -> np.ndarray:
    """(seeds, cells)."""
    return np.array([c[key] for c in line]).T


def _logs(axis: Any, line: list[dict[str, Any]], key: str) -> None:
    """√log(2n), scaled to the first median."""
    sizes = np.array([c["n"] for c in line])
    curve = np.sqrt(np.log(2 * sizes))
    curve *= np.median(line[0][key]) / curve[0]
    axis.plot(sizes, curve, color=style.INK, linestyle=(0, (1, 1)), label="√log(2n), scaled")


def _finish(axis: Any, sizes: list[int], title: str, ylabel: str) -> None:
    axis.set(xscale="log", xlabel="n", ylabel=ylabel)
    if sizes:
        axis.set_xticks(sizes, [str(n) for n in sizes])
        axis.minorticks_off()
    bottom, top = axis.get_ylim()
    axis.set_ylim(bottom, top + 0.35 * (top - bottom))  # room for the legend
    style.title(axis, title)
    style.legend(axis, loc="upper left" if sizes else "upper right", fontsize=8)


def _said(share: float) -> str:
    return "P: the theorem's number" if share == 1 else f"P: {Fraction(share)} of the theorem's number"


def _name(case: dict[str, Any]) -> str:
    return f"n/d = {case['ratio']}, β = {case['beta']:g} β_max"
