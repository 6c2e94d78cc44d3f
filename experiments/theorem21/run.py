"""KP Theorem 2.1: p̃(S) against p*, from n = 20 on with n/d fixed. Is the factor √log(2n) seen?

    python experiments/theorem21/run.py

X i.i.d. N(0, 1), y planted. p* is unknown: p̃(S)/p* lies between p̃(S)/(best found) and p̃(S)/LB, LB proved. The
theorem asks for 320(√c+1)² log(n/δ) patterns; S has a *share* of them, the first ones of one sequence of gates.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import reluopt
from reluopt import printing
from reluopt.bounds import moment, tightened
from reluopt.patterns.arrangement import cover_count
from reluopt.patterns.sampling import discover_patterns
from reluopt.theory.counts_3_2_and_3_3 import prop_3_2_a1
from reluopt.theory.kernel import instance_factor, log_factor
from reluopt.threads import one_thread_if_small

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # its neighbours, and the studies' library

from ratio_panels import draw, select  # noqa: E402

from _lib.problems import at_fraction  # noqa: E402
from _lib.study import Study, main  # noqa: E402

#: A round of the package's refinement solves no program to the end: so many of them for one of the configuration.
ROUNDS = 4
RATIOS = ("over_best", "over_bound", "over_gated")
ROUNDED = {"over_bound": printing.above}
NAMES = {"over_best": "p̃(S)/best found", "over_bound": "p̃(S)/LB", "over_gated": "p̃(S)/p_gated(S)"}


def points(config: dict[str, Any]) -> list[dict[str, Any]]:
    grid = []
    for case in config["case"]:
        for n in case["sizes"]:
            full = n <= case["full_up_to"]
            shares = [share for share in config["shares"] if full or share <= config["main_share"]]
            common = {
                "ratio": case["ratio"],
                "beta_fraction": case["beta"],
                "n": n,
                "shares": " ".join(map(str, shares)),
                "tighten_seconds": config["tighten_seconds"] if n <= config["tighten_up_to"] else 0.0,
                **{name: config[name] for name in ("epochs", "rounds", "tolerance")},
            }
            grid += [common | {"seed": seed} for seed in range(config["seeds"])]
    return grid


def task(point: dict[str, Any]) -> dict[str, Any]:
    """One data set, on one thread."""
    with one_thread_if_small(0.0):
        return ratios(point)


def ratios(point: dict[str, Any]) -> dict[str, Any]:
    """Best found, lower bound, and the relaxed and gated optimum over each share of the patterns."""
    n, seed = point["n"], point["seed"]
    data = reluopt.planted(n, n // point["ratio"], seed=seed)
    problem = at_fraction(data.X, data.y, point["beta_fraction"])
    X, best, bound = problem.X, best_found(problem, point), moment(problem)
    if point["tighten_seconds"]:
        bound = tightened(problem, time_limit=point["tighten_seconds"], stop_at=best * (1 - 1e-4))
    row = {"best": best, "bound": bound.value, "zero": problem.zero_value, "factor": instance_factor(X)}
    possible = cover_count(*X.shape)  # few samples may have fewer patterns than the theorem asks for
    counts = {s: min(possible, int(np.ceil(float(s) * prop_3_2_a1(X).value))) for s in point["shares"].split()}
    gates = discover_patterns(X, max(counts.values()), np.random.default_rng(seed)).patterns
    solver = reluopt.NativeSolver(tolerance=point["tolerance"])
    for share, count in counts.items():
        patterns = gates.select(np.arange(min(count, len(gates))))
        relaxed = solver.solve(reluopt.RelaxedProgram(problem, patterns))
        gated = solver.solve(reluopt.GatedProgram(problem, patterns))
        row |= {f"patterns {share}": len(patterns), f"relaxed {share}": relaxed.value, f"gated {share}": gated.value}
        row[f"gap {share}"] = max(relaxed.relative_gap, gated.relative_gap)
    return row


def best_found(problem: reluopt.Problem, point: dict[str, Any]) -> float:
    """L after column generation from a briefly trained network."""
    config = reluopt.TrainConfig(beta=problem.beta, seed=point["seed"], epochs=point["epochs"])
    network = config.make_network(problem.d)
    reluopt.Trainer(network, problem, config=config, progress=False).fit()
    rounds = ROUNDS * point["rounds"]
    return reluopt.refine(problem, network, tolerance=1e-4, seed=point["seed"], most_rounds=rounds).objective


def summarise(rows: list[dict[str, Any]], config: dict[str, Any]) -> dict[str, Any]:
    """A cell for each case, n and share, with its ratios by seed; how each ratio grows with n at the main share."""
    cells = []
    for name in dict.fromkeys((row["ratio"], row["beta_fraction"], row["n"]) for row in rows):
        mine = [row for row in rows if (row["ratio"], row["beta_fraction"], row["n"]) == name]
        where = dict(zip(("ratio", "beta_fraction", "n"), name, strict=True))
        cells += [cell(mine, where, share) for share in mine[0]["shares"].split()]
    growth = []
    for case in config["case"]:
        line = select(cells, case, config["main_share"])
        growth += [
            {"ratio": case["ratio"], "beta_fraction": case["beta"], "of": key, **grown(line, key)} for key in RATIOS
        ]
    gaps = [value for row in rows for name, value in row.items() if name.startswith("gap ") and value is not None]
    return {"cells": cells, "growth": growth, "largest_gap": max(gaps)}


def cell(rows: list[dict[str, Any]], where: dict[str, Any], share: str) -> dict[str, Any]:
    """The ratios of p̃ over this share of the patterns to what p* lies between, and to the gated optimum, by seed."""
    relaxed, below = f"relaxed {share}", {"over_best": "best", "over_bound": "bound", "over_gated": f"gated {share}"}
    return {
        **where,
        "share": float(share),
        "patterns": int(np.median([row[f"patterns {share}"] for row in rows])),
        **{key: [row[relaxed] / row[name] for row in rows] for key, name in below.items()},
        "zero_over_best": [row["zero"] / row["best"] for row in rows],
        "factor": [row["factor"] for row in rows],
    }


def grown(line: list[dict[str, Any]], key: str) -> dict[str, list[float]]:
    """By seed: b of the least squares fit ratio = a + b√log(2n), and e of ratio ∝ √log(2n)^e."""
    logs = np.array([log_factor(c["n"]) for c in line])
    runs = np.array([c[key] for c in line])
    slopes, powers = np.polyfit(logs, runs, 1)[0], np.polyfit(np.log(logs), np.log(runs), 1)[0]
    return {"b": slopes.tolist(), "e": powers.tolist()}


def table(results: dict[str, Any]) -> list[str]:
    """README's tables: the ratios (median over the seeds, smallest to largest), then their growth."""
    lines = [
        "| n/d | β/β_max | n | share | P | p̃/best found | p̃/LB | p̃/p_gated | ½‖y‖²/best | 2√2·√κ |",
        "|" + "---|" * 10,
    ]
    for c in results["cells"]:
        middle = f"{c['ratio']} | {c['beta_fraction']:g} | {c['n']} | {c['share']:.3g} | {c['patterns']}"
        factor = f"{np.median(c['zero_over_best']):.2f} | {np.median(c['factor']):.0f}"
        lines.append(f"| {middle} | {' | '.join(_spread(c[key], ROUNDED.get(key)) for key in RATIOS)} | {factor} |")
    lines += ["", "| n/d | β/β_max | ratio | b | e |", "|" + "---|" * 5]
    for g in results["growth"]:
        lines.append(
            f"| {g['ratio']} | {g['beta_fraction']:g} | {NAMES[g['of']]} | {_spread(g['b'])} | {_spread(g['e'])} |"
        )
    return lines


def _spread(values: list[float], rounded: Callable[..., str] | None = None) -> str:
    """Median, smallest and largest; a ratio over a proved bound is rounded up."""
    middle, least, most = (
        (rounded or printing.nearest)(v, decimals=2) for v in (np.median(values), min(values), max(values))
    )
    return f"{middle} ({least} to {most})"


study = Study(here=HERE, points=points, task=task, summarise=summarise, draw=draw)

if __name__ == "__main__":
    main(study)
