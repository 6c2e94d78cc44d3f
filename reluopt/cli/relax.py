"""`reluopt relax`: the polynomial-time algorithm (KP Thm 2.3), saved as a run that `certify` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from reluopt import printing
from reluopt.cli.columns import load_aloud
from reluopt.cli.options import read_toml, settle, with_settings
from reluopt.cli.show import console, next_steps
from reluopt.cli.train import next_folder
from reluopt.data import DataConfig, Dataset
from reluopt.runs import RunFolder
from reluopt.search.polynomial import Relaxation, RelaxConfig, relax
from reluopt.search.pricing import beta_max_estimate
from reluopt.solvers.native import NativeSolver
from reluopt.theory.kernel import log_factor
from reluopt.training import TrainConfig
from reluopt.training.checkpoint import save_weights

TABLES = {"data": DataConfig, "relax": RelaxConfig}


@with_settings(**TABLES)
def relax_command(
    dataset: Annotated[str, typer.Argument(help="A built-in name, a .csv or .npz file, or a folder of IDX files.")],
    beta: Annotated[float | None, typer.Option(help="Weight decay β, as an absolute number.")] = None,
    beta_fraction: Annotated[float | None, typer.Option(help="β as a fraction of β_max (default 0.1).")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to make (default runs/DATASET-NNN).")] = None,
    config: Annotated[Path | None, typer.Option(help=r"A TOML file with tables \[data] and \[relax].")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the run that is in --out.")] = False,
    *,
    given: dict[str, dict[str, Any]],
) -> None:
    """Find a network without training: sample patterns, solve the convex relaxation, map it back, prune (KP Thm 2.3).

    [bold]Examples[/]

      reluopt relax diabetes --patterns 100

      reluopt relax table.csv --target price --patterns 300 --time-limit 60 --out runs/price-relaxed
    """
    file, where = read_toml(config, TABLES), str(config or "the command line")
    given["data"]["dataset"] = dataset
    data_config = settle(DataConfig, "data", file["data"], given["data"], where)
    settings = settle(RelaxConfig, "relax", file["relax"], given["relax"], where)
    choice = TrainConfig(beta=beta, beta_fraction=beta_fraction)
    data = load_aloud(data_config)
    beta_max = beta_max_estimate(data.X, data.y)
    weight_decay = choice.resolve_beta(beta_max)
    solver = NativeSolver(tolerance=settings.tolerance, time_limit=settings.time_limit)
    rng = np.random.default_rng(settings.seed)
    with console.status("relaxing") as status:
        found = relax(
            data.X, data.y, weight_decay, settings.patterns, rng, solver=solver,
            say=lambda message: status.update(f"{message} ..."),
        )  # fmt: skip
    record = {
        "beta": weight_decay,
        "beta_max_estimate": beta_max,
        "fingerprint": data.fingerprint,
        "relax": settings.to_mapping(),
    }
    tables = {"data": data_config.to_mapping(), "run": record}
    run = RunFolder.create(out or next_folder(data.name), tables, overwrite=replace)
    # nothing moved: the start and the end are the same network
    for which in ("initial", "latest"):
        save_weights(run, which, found.network, weight_decay, "reluopt relax")
    _show(found, data, weight_decay / beta_max)
    next_steps(("then", f"reluopt certify {run.path}"))


def _show(found: Relaxation, data: Dataset, fraction: float) -> None:
    solution, sample = found.solution, found.discovery
    console.print(
        f"[bold]{data.name}[/]: n = {data.n}, d = {data.d}, β = {found.program.beta:.6g} = {fraction:.4g} β_max\n"
        f"{len(sample.patterns)} distinct patterns after {sample.draws[-1]} gates "
        f"({sample.new_rate:.0%} of the last ones were new)\n"
        f"p̃(S) is between {printing.below(solution.dual.value, 8)} (proved) and {printing.above(solution.value, 8)} "
        f"({solution.status.value}, {solution.seconds:.1f} s)\n"
        f"network of {found.network.width} neurons, L = {printing.above(found.objective, 8)}\n"
        f"KP Thm 2.3: found in polynomial time; with enough patterns, for Gaussian X, L ≤ C√log(2n) p* with high "
        f"probability (√log(2n) = {log_factor(data.n):.3f}; the paper leaves C open). Below p* it cannot be; how far "
        "above, the certificate tells.",
        highlight=False,
    )
