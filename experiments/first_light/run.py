"""Train and certify the built-in data sets at β = 0.1 β_max; write results.json and the ladder's picture.

Run ``.venv/bin/python experiments/first_light/run.py``: about two minutes on two cores.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import typer

import reluopt
from reluopt.certificate.verdict import best_lower_bound, percent
from reluopt.tracking.plots import save_ladder

HERE = Path(__file__).resolve().parent


def study(name: str) -> tuple[dict[str, Any], reluopt.Certificate]:
    """One data set with the defaults of the command line."""
    data = reluopt.load_dataset(reluopt.DataConfig(dataset=name))
    beta = 0.1 * reluopt.beta_max_estimate(data.X, data.y)
    config = reluopt.TrainConfig(beta=beta)
    network = config.make_network(data.d)
    started = time.perf_counter()
    reluopt.Trainer(network, data.X, data.y, beta, config).fit()
    trained = time.perf_counter()
    certificate = reluopt.certify(network, data.X, data.y, beta)
    bound = best_lower_bound(certificate.rungs)
    assert bound is not None
    objective = certificate["objective"].value
    row = {
        "data": name,
        "n": data.n,
        "d": data.d,
        "beta": beta,
        "objective": objective,
        "lower_bound": bound.value,
        "within": objective / bound.value - 1,
        "own_patterns_gap": (objective - certificate["own_dual"].value) / objective,
        "train_seconds": round(trained - started, 1),
        "certify_seconds": round(certificate.seconds, 1),
        "verdict": certificate.verdict,
    }
    return row, certificate


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The results as the lines of README's table."""
    return [
        f"| {r['data']} | {r['n']}×{r['d']} | {r['objective']:.6g} | {r['lower_bound']:.6g} | {percent(r['within'])} "
        f"| {percent(r['own_patterns_gap'])} | {r['train_seconds']:.0f} s | {r['certify_seconds']:.1f} s |"
        for r in rows
    ]


def main(out: Path = HERE) -> None:
    """Run all three and write the results into OUT."""
    rows = []
    for name in ("breast_cancer", "diabetes", "digits"):
        row, certificate = study(name)
        rows.append(row)
        typer.echo(table([row])[0])
        if name == "breast_cancer":
            rungs = json.loads(certificate.to_json())["rungs"]
            save_ladder(out / "ladder.png", rungs, f"{name}: n = {row['n']}, d = {row['d']}, β = 0.1 β_max")
    (out / "results.json").write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
