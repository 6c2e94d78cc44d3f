"""Train a two-layer ReLU network on this data with this β: how good is what each tool gives, and who can say so?

    python experiments/peers/run.py --workers 1                        # pyscnn: pip install pyscnn

Every tool answers with a network, judged by the same L in float64 against the same proved lower bound on p*, the best
one found for the data. Each runs in a process of its own, on one thread; imports are not counted.
"""

from __future__ import annotations

import logging
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

import reluopt
from reluopt import printing
from reluopt.tracking import style

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # its neighbours, and the studies' library

import pipelines  # noqa: E402

from _lib.problems import at_fraction  # noqa: E402
from _lib.study import Study, main  # noqa: E402

log = logging.getLogger(__name__)
#: Name, the packages whose versions count, and what the tool itself proves, if anything.
TOOLS = {
    "train": ("reluopt train + certify", ("reluopt", "torch"), "a bound on p*, checked with rounding"),
    "adam": ("plain Adam", ("torch",), "nothing"),
    "native": ("reluopt native, P patterns", ("reluopt",), "p̃(S) to 1e-6"),
    "clarabel": ("Clarabel by CVXPY, P patterns", ("cvxpy", "clarabel"), "nothing (a gap for p̃(S), in floating point)"),
    "scs": ("SCS by CVXPY, P patterns", ("cvxpy", "scs"), "nothing (residuals for p̃(S))"),
    "pyscnn": ("pyscnn, P patterns", ("pyscnn",), "nothing"),
    "adelie": ("adelie, P patterns", ("adelie",), "nothing"),
    "refine": ("reluopt relax, refined", ("reluopt",), "p̃ of its last patterns"),
    "bound": ("reluopt lower bound alone", ("reluopt",), "a bound on p*, checked with rounding"),
}
SETTINGS = ("beta", "patterns", "seed", "width", "epochs", "limit", "refine_seconds", "bound_seconds", "effort")


def points(config: dict[str, Any]) -> list[dict[str, Any]]:
    common = {name: config[name] for name in SETTINGS}
    return [
        {"dataset": data["name"], "n": data.get("n"), "d": data.get("d"), "tool": tool, **common}
        for data in config["dataset"]
        for tool in data["tools"]
    ]


def task(point: dict[str, Any]) -> dict[str, Any]:
    """One tool on one data set; ``absent`` names what is not installed."""
    tool = point["tool"]
    if absent := pipelines.missing(tool):
        log.warning("%s is left out: %s not installed", tool, ", ".join(absent))
        return {"absent": ", ".join(absent)}
    made = {name: point[name] for name in ("n", "d") if point[name] is not None}
    data = reluopt.load_dataset(reluopt.DataConfig(dataset=point["dataset"], **made))
    problem = at_fraction(data.X, data.y, point["beta"])
    answer = pipelines.in_a_process(tool, pipelines.Question(problem, point))
    versions = ", ".join(f"{name} {version(name)}" for name in TOOLS[tool][1])
    return {"samples": data.n, "columns": data.d, **answer, "versions": versions}


def summarise(rows: list[dict[str, Any]], config: dict[str, Any]) -> dict[str, Any]:
    """By data set: the best proved lower bound, and each tool's L, L/LB − 1 and seconds."""
    data = []
    for name in dict.fromkeys(row["dataset"] for row in rows):
        mine = [row for row in rows if row["dataset"] == name]
        best = max((row for row in mine if row["bound"] is not None), key=lambda row: row["bound"])
        keys = ("tool", "objective", "bound", "wall", "processor", "stopped", "absent", "versions")
        answers = [{key: row.get(key) for key in keys} for row in mine]
        for answer in answers:
            value = answer["objective"]
            answer["within"] = None if value is None else value / best["bound"] - 1
        size = {"n": best["samples"], "d": best["columns"]}
        data.append({"name": name, **size, "bound": best["bound"], "bound_by": best["tool"], "answers": answers})
    return {"data": data, "limit": config["limit"]}


def table(results: dict[str, Any]) -> list[str]:
    """README's table."""
    lines = ["| data | tool | L of its network | proved within | processor s | wall s | it proves |", "|" + "---|" * 7]
    for data in results["data"]:
        for answer in data["answers"]:
            name, _, proves = TOOLS[answer["tool"]]
            lines.append(f"| {data['name']} {data['n']}×{data['d']} | {name} | {_cells(answer, results)} | {proves} |")
    return lines


def _cells(answer: dict[str, Any], results: dict[str, Any]) -> str:
    if answer["absent"]:
        return "not installed | – | – | –"
    if answer["stopped"]:
        return f"none | – | more than {results['limit']:g} | –"
    reached = f"{answer['processor']:.3g} | {answer['wall']:.3g}"
    if answer["objective"] is None:
        return f"(p* ≥ {printing.below(answer['bound'])}) | – | {reached}"
    return f"{printing.above(answer['objective'])} | {printing.percent_above(answer['within'], 3)} | {reached}"


def draw(results: dict[str, Any], config: dict[str, Any]) -> Figure:
    """A panel for each data set: how far above the bound each network is, against the time it took."""
    rows = -(-len(results["data"]) // 2)
    figure, axes = style.figure(9.2, 3.3 * rows + 0.8, ncols=2, nrows=rows)
    for axis in axes.flat[len(results["data"]) :]:
        axis.set_visible(False)
    named: dict[str, Any] = {}
    for axis, data in zip(axes.flat, results["data"], strict=False):
        for answer in data["answers"]:
            if answer["objective"] is not None:
                name, look = TOOLS[answer["tool"]][0], style.series(list(TOOLS).index(answer["tool"]))
                look |= {"linestyle": "none", "markersize": 8}
                named[name] = axis.plot(answer["processor"], 100 * answer["within"], label=name, **look)[0]
        axis.set(xscale="log", yscale="log", xlabel="processor seconds, one thread", ylabel="L/LB − 1 (%)")
        for line in (axis.xaxis, axis.yaxis):
            line.set_major_locator(LogLocator(subs=(1, 3)))
            line.set_major_formatter("{x:g}")
            line.set_minor_locator(NullLocator())
        style.title(axis, f"{data['name']}, {data['n']}×{data['d']}: p* ≥ {printing.below(data['bound'])}")
    style.legend(figure, handles=list(named.values()), labels=list(named), ncols=3)
    return figure


study = Study(here=HERE, points=points, task=task, summarise=summarise, draw=draw)

if __name__ == "__main__":
    main(study)
