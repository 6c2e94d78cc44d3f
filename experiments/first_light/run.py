"""Train the built-in data sets with the defaults and certify them: how close to the global optimum, provably?

python experiments/first_light/run.py            # about ten minutes, --workers 1 on a busy machine
python experiments/first_light/run.py experiments/first_light/small.toml
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

import reluopt
from reluopt import printing
from reluopt.certificate.certificate import best_lower_bound
from reluopt.certificate.config import CertifyConfig
from reluopt.tracking.plots import ladder_figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the studies' library is

from _lib.problems import at_fraction
from _lib.study import Study, main

HERE = Path(__file__).resolve().parent
#: What the table tells of a certificate, and what of it depends on its effort.
SHARED = ("data", "n", "d", "beta", "objective", "own_patterns_gap", "train_seconds")
OWN = ("lower_bound", "within", "certify_seconds", "verdict")


def points(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Every data set with every effort of `certify`."""
    common = {"beta_fraction": config["beta_fraction"], "epochs": config["epochs"]}
    return [{"data": name, "effort": effort, **common} for name in config["datasets"] for effort in config["efforts"]]


def task(point: dict[str, Any]) -> dict[str, Any]:
    """One network with the defaults of the command line, and its certificate."""
    data = reluopt.load_dataset(reluopt.DataConfig(dataset=point["data"]))
    problem = at_fraction(data.X, data.y, point["beta_fraction"])
    config = reluopt.TrainConfig(beta=problem.beta, epochs=point["epochs"])
    network = config.make_network(data.d)
    started = time.perf_counter()
    reluopt.Trainer(network, problem, config=config, progress=False).fit()
    trained = time.perf_counter()
    certificate = reluopt.certify(network, problem, config=CertifyConfig(effort=point["effort"]))
    bound = best_lower_bound(certificate.estimates)
    assert bound is not None
    objective = certificate["objective"].value
    return {
        "n": data.n,
        "d": data.d,
        "beta": problem.beta,
        "objective": objective,
        "lower_bound": bound.value,
        "within": objective / bound.value - 1,
        "own_patterns_gap": (objective - certificate["own_dual"].value) / objective,
        "train_seconds": round(trained - started, 1),
        "certify_seconds": round(certificate.seconds, 1),
        "verdict": certificate.verdict,
        "estimates": json.dumps(json.loads(certificate.to_json())["estimates"], ensure_ascii=False),
    }


def summarise(rows: list[dict[str, Any]], config: dict[str, Any]) -> dict[str, Any]:
    """A line for each data set, each effort's bound within it; and the estimates of the ladder that is drawn."""
    lines = []
    for name in dict.fromkeys(row["data"] for row in rows):
        mine = [row for row in rows if row["data"] == name]
        efforts = {row["effort"]: {key: row[key] for key in OWN} for row in mine}
        lines.append({key: mine[0][key] for key in SHARED} | {"efforts": efforts})
    shown = next(row for row in rows if row["data"] == config["datasets"][0] and row["effort"] == config["efforts"][-1])
    title = f"{shown['data']}: n = {shown['n']}, d = {shown['d']}, β = {config['beta_fraction']:g} β_max"
    return {"data": lines, "ladder": {"title": title, "estimates": json.loads(shown["estimates"])}}


def table(results: dict[str, Any]) -> list[str]:
    """README's table."""
    efforts = list(results["data"][0]["efforts"])
    titles = ["data", "n×d", "L(θ)", "own patterns, within", "training"]
    for effort in efforts:
        titles += [f"{effort}: p* ≥", "proved within", "seconds"]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for row in results["data"]:
        cells = [
            row["data"],
            f"{row['n']}×{row['d']}",
            printing.above(row["objective"]),
            printing.percent_above(row["own_patterns_gap"]),
            f"{row['train_seconds']:.0f} s",
        ]
        for found in row["efforts"].values():
            within = printing.percent_above(printing.excess(row["objective"], found["lower_bound"]))
            cells += [printing.below(found["lower_bound"]), within, f"{found['certify_seconds']:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def draw(results: dict[str, Any], config: dict[str, Any]) -> Figure:
    """The ladder of the first data set, with the most thorough of its bounds."""
    return ladder_figure(results["ladder"]["estimates"], results["ladder"]["title"])


study = Study(here=HERE, points=points, task=task, summarise=summarise, draw=draw)

if __name__ == "__main__":
    main(study)
