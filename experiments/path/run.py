"""A path over β: networks, each from the one before, with a proved bound and held-out error at every β.

python experiments/path/run.py             # a minute
python experiments/path/run.py --redraw    # only the table, from results.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

import reluopt
from reluopt import printing
from reluopt.search.path import regularization_path
from reluopt.tracking.plots import save_path

HERE = Path(__file__).resolve().parent
DATASET, TEST = "diabetes", 0.3
NUMBERS = ("beta", "objective", "bound", "known", "gap", "neurons", "seconds", "test_loss", "score")


def path(budget: float) -> dict[str, Any]:
    """The path's numbers; bounds and L as they are proved."""
    data = reluopt.load_dataset(reluopt.DataConfig(dataset=DATASET, test_fraction=TEST))
    problem = reluopt.Problem(data.X, data.y, beta=1.0)
    beta_max = reluopt.beta_max_estimate(problem)
    found = regularization_path(
        problem.with_beta(beta_max), gap=0.01, budget=budget, validation=(data.test_X, data.test_y)
    )
    points = [
        {"fraction": float(f"{point.beta / beta_max:.12g}")} | {name: getattr(point, name) for name in NUMBERS}
        for point in found.points
    ]
    return {"data": DATASET, "n": data.n, "d": data.d, "budget": budget, "best": found.best, "points": points}


def table(results: dict[str, Any]) -> list[str]:
    """README's table."""
    lines = [
        "| β/β_max | L at most | p* at least (proved) | within | neurons | held-out R² |",
        "|---|---|---|---|---|---|",
    ]
    for number, point in enumerate(results["points"]):
        chosen = " (chosen)" if number == results["best"] else ""
        lines.append(
            f"| {point['fraction']:g}{chosen} | {printing.above(point['objective'], 6)} "
            f"| {printing.below(point['bound'], 6)} | {printing.percent_above(point['gap'], 3)} "
            f"| {point['neurons']} | {point['score']:.4f} |"
        )
    return lines


def main(out: Path = HERE, budget: float = 60.0, redraw: bool = False) -> None:
    """Write results.json and figure.png into OUT; print the table."""
    if not redraw:
        text = json.dumps({"results": path(budget)}, indent=1, ensure_ascii=False, allow_nan=False)
        (out / "results.json").write_text(text + "\n", encoding="utf-8")
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))["results"]
    title = f"{results['data']}: n = {results['n']}, d = {results['d']}"
    save_path(out / "figure.png", results["points"], title, results["best"])
    print("\n".join(table(results)))


if __name__ == "__main__":
    typer.run(main)
