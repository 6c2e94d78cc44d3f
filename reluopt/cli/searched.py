"""`reluopt train --optimizer solve`: a run that column generation makes, without a bound beside it."""

from __future__ import annotations

from typing import Any

from reluopt import printing
from reluopt.cli.output import console, quoted, tell
from reluopt.cli.scripting import result as said
from reluopt.cli.show import show_training
from reluopt.interrupts import Interrupted, exit_code
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.runs import RunFolder
from reluopt.search.records import Earlier, Progress, SolveInterrupted
from reluopt.training.checkpoint import load_weights
from reluopt.workflows.runs import RunRecord
from reluopt.workflows.searched import as_trained, rounds_of, searched
from reluopt.workflows.solve_run import SolveRun, read_earlier

#: Seconds between two lines on the way.
LINE_EVERY = 1.0
COMMAND = "reluopt train --optimizer solve"


def train_new(run: RunFolder, tables: dict[str, Any], record: RunRecord, replace: bool, quiet: bool) -> None:
    """A new run."""
    with run.locked():
        _train(SolveRun(run, record, tables, None, COMMAND, replace=replace), None, None, quiet)


def train_on(run: RunFolder, record: RunRecord, quiet: bool) -> None:
    """Go on with the network that the run holds."""
    with run.locked():
        earlier, network = read_earlier(run, record.problem), from_weights(*load_weights(run))
        _train(SolveRun(run, record, run.config(), None, COMMAND, goes_on=True), network, earlier, quiet)


def _train(keeper: SolveRun, network: TwoLayerReLU | None, earlier: Earlier | None, quiet: bool) -> None:
    run, record, stop = keeper.run, keeper.record, None
    shown = [0.0 if earlier is None else earlier.seconds]

    def line(now: Progress) -> None:
        if now.seconds - shown[0] >= LINE_EVERY:
            shown[0] = now.seconds
            value = printing.nearest(now.objective, 8)
            tell(f"{now.seconds:8.1f} s  L = {value}, {now.neurons} neurons, largest price {now.price:.5f} β")

    try:
        solved = searched(
            record.problem, record.train, network, callback=None if quiet else line, keep=keeper.keep, earlier=earlier
        )
    except SolveInterrupted as interrupted:
        solved, stop = interrupted.solved, interrupted
    keeper.keep(solved)
    keeper.close()
    if stop is not None:
        raise Interrupted(
            f"Interrupted: the run holds the best network so far. Go on: reluopt train --resume {quoted(run.path)}",
            exit_code(stop) - 128,
        )
    trained = as_trained(record.problem, record.train, solved.refined, before=rounds_of(earlier), data=record.data)
    said({
        "run": run.path, "epochs": trained.epochs, "objective": trained.objective, "scores": trained.scores,
        "stationarity_residual": trained.stationarity_residual, "stopped_because": trained.stopped_because,
    })  # fmt: skip
    if quiet:
        console.print(str(run.path), soft_wrap=True)
    else:
        show_training(trained, run)
