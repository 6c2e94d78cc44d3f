"""KP's Appendix E: test performance over width and β, of networks trained by Adam and of the relaxed convex program.

Both see the same training set; both are judged on samples that neither has seen. The relaxed program has P = width
Gaussian patterns and is mapped to its network. The test error is the mean squared error in per cent of the test
targets' variance (planted teacher), or the images in the wrong half of the digits in per cent (MNIST 0-4 against 5-9).

    python experiments/regularization/run.py    # see --help
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

import reluopt
from reluopt.errors import SolverError
from reluopt.tracking import style

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the studies' library is

from _lib.problems import at_fraction
from _lib.study import Study, main

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = ("trained", "relaxed")
WIDE, WEAK = 50, 0.03  # the teacher's width, and a β/β_max up to which either network does well
Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def points(config: dict[str, Any]) -> list[dict[str, Any]]:
    """One point for each data set, width, β and seed; data in a folder that is not there have none."""
    for name in _absent(config):
        typer.echo(f"{name}: its folder is not there, so its runs are left out.", err=True)
    return [
        {key: value for key, value in data.items() if key != "widths"}
        | {"width": width, "beta_fraction": fraction, "seed": seed}
        | {key: config[key] for key in ("epochs", "tolerance")}
        for data in config["data"]
        if data["name"] not in _absent(config)
        for width in data["widths"]
        for fraction in config["beta_fractions"]
        for seed in config["seeds"]
    ]


def _absent(config: dict[str, Any]) -> list[str]:
    """The data sets whose folder is not on this machine."""
    return [d["name"] for d in config["data"] if "folder" in d and not (ROOT / d["folder"]).is_dir()]


def _split(point: dict[str, Any]) -> Split:
    """Training and test samples; everything that is fitted to the inputs is fitted to the training samples alone."""
    n, both, seed = point["n"], point["n"] + point["test"], point["seed"]
    if not point.get("folder"):
        made = reluopt.planted(both, point["d"], width=point["teacher_width"], noise=point["noise"], seed=seed)
        return made.X[:n], made.y[:n], made.X[n:], made.y[n:]
    settings = reluopt.DataConfig(
        dataset=str(ROOT / point["folder"]), subset=both, subset_seed=seed, scaling="none", bias=False
    )
    images = reluopt.load_dataset(settings)
    order = np.random.default_rng(seed).permutation(both)
    train, test = order[:n], order[n:]
    inputs = PCA(point["components"], svd_solver="full").fit(images.X[train]).transform(images.X)
    X = np.hstack([inputs, np.ones((both, 1))])
    return X[train], images.y[train], X[test], images.y[test]


def task(point: dict[str, Any]) -> dict[str, Any]:
    """Train and relax with the same data and β; the objective and the test error of both."""
    X, y, *test = _split(point)
    problem = at_fraction(X, y, point["beta_fraction"])
    settings = reluopt.TrainConfig(
        width=point["width"], seed=point["seed"], epochs=point["epochs"], record_every=point["epochs"]
    )
    trained = settings.make_network(problem.d)
    reluopt.Trainer(trained, problem, config=settings, progress=False).fit()
    relaxed = _relaxed(problem, point)
    row: dict[str, Any] = {"beta": problem.beta}
    for name, network in zip(NETWORKS, (trained, relaxed), strict=True):
        value = problem.objective(*network.weights())
        row |= {f"{name}_objective": value, f"{name}_error": _error(network, *test, classes=bool(point.get("folder")))}
    return row


def _relaxed(problem: reluopt.Problem, point: dict[str, Any]) -> reluopt.TwoLayerReLU:
    """The network of the relaxed program over P = width Gaussian patterns (fewer where two gates agree)."""
    patterns = reluopt.sample_patterns(problem.X, point["width"], np.random.default_rng(point["seed"]))
    solver = reluopt.NativeSolver(tolerance=point["tolerance"])
    solution = solver.solve(reluopt.RelaxedProgram(problem, patterns))
    if solution.relative_gap > point["tolerance"]:
        raise SolverError(f"The program ended at the gap {solution.relative_gap:.1e}.", solution.status.remedy)
    return reluopt.network_from_blocks(solution.blocks)


@torch.no_grad()
def _error(network: reluopt.TwoLayerReLU, X: np.ndarray, y: np.ndarray, *, classes: bool) -> float:
    """Test error in per cent: of the variance of y, or of the samples on the wrong side of zero."""
    f = network(torch.as_tensor(X)).numpy()
    return float(100 * (np.mean((f >= 0) != (y > 0)) if classes else np.mean((f - y) ** 2) / y.var()))


def summarise(rows: list[dict[str, Any]], config: dict[str, Any]) -> dict[str, Any]:
    """For each data set the medians over the seeds, (widths, β): errors, their difference seed by seed, objectives."""
    shown: dict[str, Any] = {"data": [], "skipped": _absent(config)}
    for name in dict.fromkeys(r["name"] for r in rows):
        mine = [r for r in rows if r["name"] == name]
        widths, fractions = (list(dict.fromkeys(r[key] for r in mine)) for key in ("width", "beta_fraction"))
        cells = [[[r for r in mine if (r["width"], r["beta_fraction"]) == (w, b)] for b in fractions] for w in widths]
        entry: dict[str, Any] = {"name": name, "n": mine[0]["n"], "widths": widths, "beta_fractions": fractions}
        for what in ("error", "objective"):
            for network in NETWORKS:
                entry[f"{network}_{what}"] = _medians(cells, lambda r, key=f"{network}_{what}": r[key])
        entry["difference"] = _medians(cells, lambda r: r["relaxed_error"] - r["trained_error"])
        entry["excess"] = _medians(cells, lambda r: 100 * (r["relaxed_objective"] / r["trained_objective"] - 1))
        shown["data"].append(entry)
    return shown


def _medians(cells: list[list[list[dict[str, Any]]]], value: Any) -> list[list[float | None]]:
    """The median of each cell; None where all its runs failed."""
    return [[float(np.median([value(r) for r in cell])) if cell else None for cell in line] for line in cells]


def table(results: dict[str, Any]) -> list[str]:
    """README's table: the least error on either map, and the differences at equal width and β."""
    lines = [
        "| data | least error, Adam | at width, β/β_max | least error, relaxed | at P, β/β_max "
        f"| relaxed − Adam: median | from | to | to, at P ≥ {WIDE}, β ≤ {WEAK} β_max "
        "| L, relaxed above Adam: median | most |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in results["data"]:
        cells = [entry["name"]]
        for network in NETWORKS:
            errors = np.array(entry[f"{network}_error"], dtype=float)
            i, j = np.unravel_index(np.nanargmin(errors), errors.shape)
            cells += [f"{errors[i, j]:.1f} %", f"{entry['widths'][i]}, {entry['beta_fractions'][j]:g}"]
        difference, excess = (np.array(entry[key], dtype=float) for key in ("difference", "excess"))
        usual = difference[np.ix_(np.array(entry["widths"]) >= WIDE, np.array(entry["beta_fractions"]) <= WEAK)]
        cells += [f"{f(difference):+.1f}" for f in (np.nanmedian, np.nanmin, np.nanmax)]
        cells += [f"{np.nanmax(usual):+.1f}" if usual.size else ""]
        cells += [f"{f(excess):.0f} %" for f in (np.nanmedian, np.nanmax)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def draw(results: dict[str, Any], config: dict[str, Any]) -> Figure:
    """For each data set three maps of width × β: trained, relaxed, and their difference."""
    figure, axes = style.figure(10.5, 3.2 * len(results["data"]), 3, len(results["data"]))
    for entry, panels in zip(results["data"], np.atleast_2d(axes), strict=True):
        shown = {
            "trained_error": "test error, %",
            "relaxed_error": "test error, %",
            "difference": "difference, points",
        }
        titles = ("Adam", "relaxed", "relaxed − Adam")
        for axes, (key, label), text in zip(panels, shown.items(), titles, strict=True):
            values = np.array(entry[key], dtype=float)
            style.heat_map(
                axes, values, [f"{b:g}" for b in entry["beta_fractions"]], entry["widths"], "β/β_max",
                "width m" if key == "trained_error" else "patterns P", label, text="{:.1f}",
            )  # fmt: skip
            axes.tick_params(axis="x", labelsize=7)
            style.title(axes, f"{entry['name']}, n = {entry['n']}: {text}")
    return figure


study = Study(here=Path(__file__).resolve().parent, points=points, task=task, summarise=summarise, draw=draw)

if __name__ == "__main__":
    main(study)
