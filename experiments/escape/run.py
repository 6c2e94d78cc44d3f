"""A stationary point that is optimal over its own patterns and far from the optimum, and the neuron that leaves it.

    .venv/bin/python experiments/escape/run.py             # under a minute of processor time
    .venv/bin/python experiments/escape/run.py --redraw    # only figure and table, from results.json

Two features and no bias, y = |x₁| + 0.3 x₂ with noise. The start is L-BFGS from the one neuron e₁, on the first data
set (by its seed) where it ends off every kink: a stationary point, and optimal over its own pattern, as the proved dual
value of the convex program over that pattern says. The exact program, all patterns of the data, proves how far from the
optimum it is. Pricing finds the neuron whose price is highest above β; with it refinement goes down to that optimum.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import typer

import reluopt
from reluopt import bounds, printing
from reluopt.patterns.pattern_set import PatternSet
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.search.descent import descend
from reluopt.search.refinement import refinements
from reluopt.solvers.native import NativeSolver
from reluopt.tracking import style

HERE = Path(__file__).resolve().parent
SAMPLES, FRACTION, SEEDS = 40, 0.05, 50


def problem(seed: int) -> reluopt.Problem:
    """The training problem."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((SAMPLES, 2))
    y = np.abs(X[:, 0]) + 0.3 * X[:, 1] + 0.05 * rng.standard_normal(SAMPLES)
    return reluopt.Problem(X, y, beta=FRACTION * reluopt.beta_max_estimate(X, y))


def stuck_at() -> tuple[int, reluopt.Problem, reluopt.TwoLayerReLU]:
    """(seed, problem, network): the first where descent from e₁ ends off every kink."""
    for seed in range(SEEDS):
        made = problem(seed)
        U, alpha = descend(made, np.array([[1.0, 0.0]]), np.array([1.0]), 1000)
        distances = np.abs(made.X @ U.T) / np.linalg.norm(made.X, axis=1)[:, None] / np.linalg.norm(U, axis=1)
        if len(alpha) and distances.min() > 1e-3:
            return seed, made, reluopt.from_weights(U, alpha)
    raise SystemExit("every descent ends on a kink")


def study() -> dict[str, Any]:
    """The numbers of the whole story."""
    seed, made, network = stuck_at()
    own = PatternSet.from_gates(made.X, network.weights()[0].T)
    stuck = NativeSolver(tolerance=1e-9).solve(RelaxedProgram(made, own))
    gradients = made.gradient(*network.weights())
    value = made.objective_upper(*network.weights())
    optimum = bounds.exact(made)
    z = made.dual_point(made.predict(*network.weights()))
    angles = np.linspace(0, 2 * np.pi, 721)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    prices = z @ np.maximum(made.X @ circle, 0) / made.beta
    found = reluopt.price(made, z, np.random.default_rng(0))
    way = list(refinements(made, network, tolerance=1e-6, seed=0, most_rounds=20))
    return {
        "n": made.n,
        "seed": seed,
        "gradient": float(np.sqrt(sum((part**2).sum() for part in gradients))),
        "beta": made.beta,
        "stuck": value,
        "own_gap": value / stuck.dual.value - 1,
        "optimum_at_least": optimum.value,
        "above_optimum": value / optimum.value - 1,
        "neurons": int(network.active().sum()),
        "weights": [part.tolist() for part in network.weights()],
        "price": found.value / made.beta,
        "sign": found.sign,
        "direction": found.direction.tolist(),
        "angles": angles.tolist(),
        "prices": prices.tolist(),
        "objectives": [at.objective for at in way],
        "end": made.objective_upper(*way[-1].network.weights()),
        "end_price": way[-1].price,
        "end_neurons": way[-1].neurons,
    }


def table(row: dict[str, Any]) -> list[str]:
    """The numbers of the README."""
    end = row["end"] / row["optimum_at_least"] - 1
    first = f"stationary (‖∇L‖ = {row['gradient']:.0e}), optimal over its own pattern (within {row['own_gap']:.0e})"
    lines = [
        (first, row["stuck"], row["above_optimum"], f"{row['price']:.2f} β", row["neurons"]),
        ("after refinement", row["end"], end, f"{row['end_price']:.4f} β", row["end_neurons"]),
    ]
    return [
        "| | L | proved within, of the optimum of every width | largest price | neurons |",
        "|---|---|---|---|---|",
        *(
            f"| {what} | {printing.above(value, 6)} | {printing.percent_above(within, 3)} | {dearest} | {count} |"
            for what, value, within, dearest, count in lines
        ),
    ]


def draw(row: dict[str, Any], out: Path) -> None:
    """Left the price of every direction at the stationary point, right L on the way down, with the proved optimum."""
    figure, axes = style.figure(10.0, 4.0, ncols=2)
    degrees = np.degrees(row["angles"])
    axes[0].plot(degrees, row["prices"], color=style.COLOURS[0], label="zᵀ(Xu)₊/β of the direction u at this angle")
    for side in (1, -1):
        axes[0].axhline(side, color=style.INK, linestyle=":", label="±1: nothing to gain within" if side == 1 else None)
    for u, a in zip(*(np.array(part) for part in row["weights"]), strict=True):
        angle = np.degrees(np.arctan2(u[1], u[0])) % 360
        label = "the network's neuron" if u is not None and a == row["weights"][1][0] else None
        axes[0].plot(angle, np.sign(a), "D", color=style.COLOURS[1], markersize=8, label=label)
    angle = np.degrees(np.arctan2(row["direction"][1], row["direction"][0])) % 360
    axes[0].plot(
        angle, row["sign"] * row["price"], "o", color=style.COLOURS[3], markersize=9, label="the neuron that leaves"
    )
    axes[0].set(xlabel="angle of u in degrees", ylabel="price / β")
    style.title(axes[0], "at a stationary point that is optimal over its own pattern")
    axes[1].plot(range(len(row["objectives"])), row["objectives"], label="L", **style.series(1))
    axes[1].axhline(row["optimum_at_least"], color=style.COLOURS[0], label="proved: no network is below")
    axes[1].set(xlabel="rounds of refinement", ylabel="objective", yscale="log")
    style.title(axes[1], "with that neuron L goes down to the optimum")
    axes[0].legend(loc="lower center", fontsize=8)
    axes[0].set_ylim(bottom=-7.0)
    axes[1].set_xticks(range(len(row["objectives"])))
    style.legend(axes[1])
    style.save(figure, out / "figure.png")


def main(out: Path = HERE, redraw: bool = False) -> None:
    """Run the study and write results.json and figure.png into OUT; print the table."""
    if not redraw:
        (out / "results.json").write_text(json.dumps(study()) + "\n")
    row = json.loads((out / "results.json").read_text())
    draw(row, out)
    print("\n".join(table(row)))


if __name__ == "__main__":
    typer.run(main)
