"""KP's Figure 2: how many activation patterns survive gradient descent, and what training past (A2) does to the ladder.

Three readings of "at least half of the patterns survive": whole patterns (a neuron keeps its side of every sample),
entries (sample, neuron), and the worst sample's fraction of neurons that keep their side (Lemma 2.4).

    python experiments/figure2/run.py    # see --help
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

import reluopt
from reluopt import printing
from reluopt.certificate.stationary_point import kept_patterns
from reluopt.errors import SolverError
from reluopt.programs.mapping import active_patterns

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # its neighbours, and the studies' library

from figure2_panels import READINGS, draw  # noqa: E402

from _lib.problems import at_fraction  # noqa: E402
from _lib.study import Study, main  # noqa: E402

ROOT = HERE.parents[1]
MOMENTS = 30  # epochs of a curve, evenly spaced on a logarithmic scale
TOLERANCE = 1e-4


def points(config: dict[str, Any]) -> list[dict[str, Any]]:
    """One point for each study, width, scale and seed; a study of a folder that is not there has none."""
    for name in _absent(config):
        typer.echo(f"{name}: its folder is not there, so its runs are left out.", err=True)
    shared = {key: config[key] for key in ("step", "beta_fraction")}
    return [
        {key: value for key, value in study.items() if key not in ("widths", "scales")}
        | {"width": width, "scale": scale, "seed": seed, **shared}
        for study in config["study"]
        if study["name"] not in _absent(config)
        for width in study["widths"]
        for scale in study["scales"]
        for seed in config["seeds"]
    ]


def _absent(config: dict[str, Any]) -> list[str]:
    """The studies whose folder of images is not on this machine."""
    return [s["name"] for s in config["study"] if "folder" in s and not (ROOT / s["folder"]).is_dir()]


def _data(point: dict[str, Any]) -> reluopt.Dataset:
    """Gaussian X (A1) with a planted target, or images with centred pixels; the seed draws them."""
    if point.get("folder"):
        folder = str(ROOT / point["folder"])
        return reluopt.load_dataset(
            reluopt.DataConfig(dataset=folder, subset=point["n"], subset_seed=point["seed"], scaling="centre")
        )
    return reluopt.planted(point["n"], point["d"], seed=point["seed"])


class Moments(reluopt.Callback):
    """The patterns, the loss and the weights at some epochs, epoch 0 first."""

    def __init__(self, X: torch.Tensor, epochs: int, rungs: int) -> None:
        self.recorder = reluopt.DriftRecorder(X)
        self.curve_at, self.ladder_at = _epochs(epochs, MOMENTS), _epochs(epochs, rungs) if rungs else []
        self.curve: dict[str, list[float]] = {key: [] for key in ("epoch", *READINGS, "loss")}
        self.weights: list[tuple[np.ndarray, np.ndarray]] = []

    @torch.no_grad()
    def on_epoch(self, state: Any) -> None:
        if state.epoch in self.curve_at:
            drift = self.recorder(state.network.U, state.network.alpha)
            kept = (drift.preserved_from_init, drift.entries_preserved, drift.worst_sample_preserved)
            loss = ((state.network(state.X) - state.y) ** 2).sum() / (state.y**2).sum()
            for key, value in zip(self.curve, (state.epoch, *kept, float(loss)), strict=True):
                self.curve[key].append(value)
        if state.epoch in self.ladder_at:
            self.weights.append(state.network.weights())


def _epochs(last: int, count: int) -> list[int]:
    return [0, *np.unique(np.geomspace(1, last, count).round().astype(int)).tolist()]


def task(point: dict[str, Any]) -> dict[str, Any]:
    """Train once; what survives at some epochs and, where asked for, the ladder there. Lists are JSON texts."""
    data = _data(point)
    problem, width = at_fraction(data.X, data.y, point["beta_fraction"]), point["width"]
    start = reluopt.TrainConfig(
        width=width, init_scale=point["scale"], seed=point["seed"], optimizer="sgd", momentum=0.0, schedule="constant",
        epochs=point["epochs"], record_every=point["epochs"], stationarity_tolerance=0.0,
    )  # fmt: skip
    network = start.make_network(data.d)
    rate = point["step"] / _curvature(problem, *network.weights())
    moments = Moments(torch.as_tensor(problem.X), point["epochs"], point["ladder"])
    settings = start.replace(learning_rate=rate)
    reluopt.Trainer(network, problem, config=settings, callbacks=[moments], progress=False).fit()
    ladder = _ladder(problem, moments) if moments.weights else None
    texts = {"curve": json.dumps(moments.curve), "rungs": json.dumps(ladder)}
    return {"learning_rate": rate, "beta": problem.beta, **texts}


def _curvature(problem: reluopt.Problem, U: np.ndarray, alpha: np.ndarray) -> float:
    """The larger of the loss's curvature at the start, λmax(J Jᵀ), and its size at a balanced fit, 2‖y‖‖X‖₂."""
    X, y = problem.X, problem.y
    H = X @ U.T
    kernel = (X @ X.T) * (((H > 0) * alpha**2) @ (H > 0).T) + np.maximum(H, 0) @ np.maximum(H, 0).T
    return max(np.linalg.norm(kernel, 2), 2 * np.linalg.norm(y) * np.linalg.norm(X, 2))


def _ladder(problem: reluopt.Problem, moments: Moments) -> dict[str, list[float]]:
    """L, p̃(S(θ)) and p̃(S_kept) at each moment, in units of the proved lower bound of p*."""
    bound = reluopt.moment(problem).value
    zero = problem.zero_value / bound

    def program(patterns: reluopt.PatternSet) -> float:
        if len(patterns) == 0:
            return zero  # the only network over no pattern
        solution = reluopt.NativeSolver(tolerance=TOLERANCE).solve(reluopt.RelaxedProgram(problem, patterns))
        if solution.relative_gap > TOLERANCE:
            raise SolverError(f"A program ended at the gap {solution.relative_gap}.", solution.status.remedy)
        return solution.value / bound

    X, initial = problem.X, moments.weights[0][0]
    return {
        "epoch": [float(epoch) for epoch in moments.ladder_at],
        "objective": [problem.objective(*w) / bound for w in moments.weights],
        "own": [program(active_patterns(X, *w)) for w in moments.weights],
        "kept": [program(kept_patterns(X, initial, w[0])) for w in moments.weights],
        "zero": [zero],
    }


def summarise(rows: list[dict[str, Any]], config: dict[str, Any]) -> dict[str, Any]:
    """Curves and ladders with all seeds, maps of medians at the end, and the numbers of the README."""
    shown: dict[str, Any] = {"curves": [], "map": [], "skipped": _absent(config)}
    for key in dict.fromkeys((r["show"], r["name"], r["width"], r["scale"]) for r in rows):
        runs = [r for r in rows if (r["show"], r["name"], r["width"], r["scale"]) == key]
        curves, ladders = ([json.loads(r[part]) for r in runs] for part in ("curve", "rungs"))
        entry = {"name": key[1], "n": runs[0]["n"], "width": key[2], "scale": key[3], "epochs": runs[0]["epochs"]}
        entry |= {f"{name}_end": float(np.median([c[name][-1] for c in curves])) for name in (*READINGS, "loss")}
        entry |= _failure(curves)
        if key[0] == "curves":
            entry["curve"] = {name: [c[name] for c in curves] for name in ("epoch", *READINGS)}
            if ladders[0]:
                entry["ladder"] = {name: [ladder[name] for ladder in ladders] for name in ladders[0]}
        shown[key[0]].append(entry)
    return shown


def _failure(curves: list[dict[str, list[float]]]) -> dict[str, Any]:
    """The first recorded epoch with under half of the whole patterns, and the loss there: medians, or None if never."""
    first = [next((i for i, kept in enumerate(c["whole"]) if kept < 0.5), None) for c in curves]
    at = [(np.inf, np.nan) if i is None else (c["epoch"][i], c["loss"][i]) for c, i in zip(curves, first, strict=True)]
    epochs, losses = np.transpose(at)
    if not np.isfinite(epoch := float(np.median(epochs))):
        return {"half_epoch": None, "half_loss": None}
    return {"half_epoch": epoch, "half_loss": float(np.nanmedian(losses))}


def table(results: dict[str, Any]) -> list[str]:
    """README's table: the curves' runs at the end, and where half of the whole patterns were gone."""
    lines = [
        "| data | init scale | epochs | loss at the end | whole | entries | worst sample | whole < ½ at epoch "
        "| loss there | L/LB | p̃(S(θ))/LB | p̃(S_kept)/LB |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for e in results["curves"]:
        half = ("never", "") if e["half_epoch"] is None else (f"{e['half_epoch']:.0f}", f"{e['half_loss']:.3f}")
        cells = [e["name"], f"{e['scale']:g}", str(e["epochs"]), f"{e['loss_end']:.3f}"]
        cells += [f"{100 * e[f'{k}_end']:.1f} %" for k in ("whole", "entries", "worst")]
        rungs = [e["ladder"][key] for key in ("objective", "own", "kept")] if "ladder" in e else []
        cells += [*half, *(printing.above(np.median([run[-1] for run in rung]), decimals=3) for rung in rungs)]
        cells += [""] * (3 - len(rungs))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


study = Study(here=HERE, points=points, task=task, summarise=summarise, draw=draw)

if __name__ == "__main__":
    main(study)
