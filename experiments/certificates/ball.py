r"""What products with the ball bring: the clique bound with and without them, each with the same processor seconds.

    .venv/bin/python experiments/certificates/ball.py --reference DIR --seconds 30 --only noise --json >> ball.jsonl

Instances are those of slopes.py. Best known L is what slopes.jsonl has of it, so that a ratio is at least as good as
it says. One thread; both start at the affine bound, whose value stands beside. ``verified``: the checker accepted both
certificates.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before the libraries that read it
sys.path.insert(0, str(Path(__file__).resolve().parent))

import slopes
import typer

from reluopt import printing
from reluopt.bounds.affine_slopes import AffineSlopes
from reluopt.bounds.clique import Cliques
from reluopt.bounds.clique_settings import CliqueSettings
from reluopt.bounds.protocol import Start, best_of
from reluopt.bounds.second_moments import SecondMoments
from reluopt.clock import Clock


def main(
    reference: Annotated[Path | None, typer.Option(help="Folder with values.json and the npz files it names.")] = None,
    seconds: Annotated[float, typer.Option(help="Of the processor, for each of both, after the affine bound.")] = 30.0,
    only: Annotated[list[str] | None, typer.Option(help="Only instances whose name contains this.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON each, instead of a table.")] = False,
) -> None:
    """Print a row an instance."""
    time.perf_counter = time.process_time
    lines = (json.loads(text) for text in (slopes.HERE / "slopes.jsonl").read_text().splitlines())
    known = {line["instance"]: line["best_known"] for line in lines}
    for name, problem in (*slopes.known(reference), *slopes.fresh()):
        if only and not any(part in name for part in only):
            continue
        start = Start(moments=SecondMoments().best(problem))
        start = start.after(affine := AffineSlopes().best(problem, start))
        bounds = [
            best_of(Cliques(CliqueSettings(ball=ball)).run(problem, start, Clock(seconds))) for ball in (False, True)
        ]
        best = known[name]
        line = {"instance": name, "best_known": best, "seconds": seconds, "affine": affine.value}
        line |= {"without": bounds[0].value, "with": bounds[1].value}
        line["verified"] = all(slopes.accepted(problem, bound) for bound in bounds)
        ratios = [printing.above(best / line[key], decimals=4) for key in ("affine", "without", "with")]
        typer.echo(json.dumps(line) if as_json else f"| {name} | {' | '.join(ratios)} | {line['verified']} |")


if __name__ == "__main__":
    typer.run(main)
