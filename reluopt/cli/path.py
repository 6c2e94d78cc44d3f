"""`reluopt path`: networks along β, each with a proved bound."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from reluopt import printing
from reluopt.cli.columns import load_aloud
from reluopt.cli.commands.path import TABLES
from reluopt.cli.options import read_toml, settle
from reluopt.cli.output import console, next_steps, quoted, tell
from reluopt.cli.scripting import command_result
from reluopt.data import DataConfig
from reluopt.interrupts import Interrupted, exit_code
from reluopt.machine import usable_device
from reluopt.progress import working
from reluopt.search.config import PathConfig
from reluopt.search.path import PathInterrupted, PathPoint, RegularizationPath, regularization_path
from reluopt.training import TrainConfig
from reluopt.workflows.path_run import PathRun
from reluopt.workflows.preparation import for_training, prepare


def path_command(
    dataset: str,
    chosen: dict[str, Any],
    out: Path | None,
    config: Path | None,
    quiet: bool,
    given: dict[str, dict[str, Any]],
) -> None:
    """Do what `reluopt path` says; ``chosen`` are settings of training that make the problem, None where unset."""
    file, where = read_toml(config, TABLES), str(config or "the command line")
    given["data"]["dataset"] = dataset
    choice = TrainConfig(**{name: value for name, value in chosen.items() if value is not None})
    data_config = for_training(settle(DataConfig, "data", file["data"], given["data"], where), choice)
    settings = settle(PathConfig, "path", file["path"], given["path"], where)
    fractions = settings.numbers
    usable_device(settings.device)
    with working("reading the data and searching β_max", quiet=quiet):
        prepared = prepare(data_config, choice, load_aloud, "'reluopt path'")
    data = prepared.data
    folder = out or Path("runs") / f"{data.name}-path"
    run = PathRun(folder, prepared, data_config, choice, settings)
    found, stop = _found(run, fractions, quiet)
    run.finish(found, finished=stop is None)
    names = ("beta", "objective", "bound", "gap", "neurons", "test_loss", "score", "seconds", "known")
    command_result({
        "folder": folder, "beta_max_estimate": prepared.beta_max, "best": found.best, "score": found.score,
        "points": [{name: getattr(point, name) for name in names} for point in found.points],
    })  # fmt: skip
    if quiet:
        console.print(str(folder), soft_wrap=True)
    else:
        _show(found, prepared.beta_max)
        next_steps(("all estimates of one of them", f"reluopt certify {quoted(folder)}/beta-..."))
    if stop is not None:
        last = quoted(run.run_of(found.points[-1]))
        raise Interrupted(
            f"Interrupted at β {len(found.points)} of {len(fractions)}: '{folder}' holds what was found and proved by "
            f"then.\n  -> Go on with the last one: reluopt solve --resume {last}",
            exit_code(stop) - 128,
        )


def _found(
    run: PathRun, fractions: tuple[float, ...], quiet: bool
) -> tuple[RegularizationPath, KeyboardInterrupt | None]:
    """The path, each β kept as soon as it is solved; and the interruption if there was one."""
    prepared, settings = run.prepared, run.settings
    data = prepared.data
    held_out = None if data.test_X is None or data.test_y is None else (data.test_X, data.test_y)
    if not quiet:
        tell(f"{'β/β_max':>9} {'L':>13} {'bound':>13} {'within':>9} {'neurons':>8} {'test loss':>10} {'seconds':>8}")

    def keep(point: PathPoint) -> None:
        run.keep(point)
        if not quiet:
            tell(_row(point, prepared.beta_max))

    try:
        path = regularization_path(
            prepared.problem, betas=[prepared.beta_max * fraction for fraction in fractions], gap=settings.gap,
            budget=settings.budget, validation=held_out, seed=settings.seed, device=settings.device, callback=keep,
        )  # fmt: skip
    except PathInterrupted as stop:
        return stop.path, stop
    return path, None


def _row(point: PathPoint, beta_max: float) -> str:
    test = f"{point.test_loss:10.4g}" if math.isfinite(point.test_loss) else f"{'-':>10}"
    within = printing.percent_above(point.gap, 3) if math.isfinite(point.gap) else "-"
    bound = printing.below(point.bound, 7) if point.bound > 0 else "-"
    return (
        f"{point.beta / beta_max:9.4g} {printing.above(point.objective, 7):>13} {bound:>13} {within:>9} "
        f"{point.neurons:8d} {test} {point.seconds:8.1f}"
    )


def _show(found: RegularizationPath, beta_max: float) -> None:
    console.print("With what all networks and bounds of the path say at each β:")
    for point in found.points:
        console.print(_row(point, beta_max) + f"  ({point.known})", soft_wrap=True)
    if found.best is not None:
        point = found.points[found.best]
        console.print(
            f"The held-out samples choose β = {printing.nearest(point.beta)}: mean loss "
            f"{printing.nearest(point.test_loss, 4)}, {found.score} {printing.nearest(point.score, 4)}.",
            soft_wrap=True,
        )
