"""Training by column generation, as ``optimizer = "solve"`` of [train] names it: a network and what is said of it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reluopt.clock import Clock
from reluopt.data import Dataset
from reluopt.interrupts import Interrupted, exit_code
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.problem import Problem
from reluopt.runs import RunFolder
from reluopt.search.records import Earlier, Progress, Refined, Solved, SolveInterrupted
from reluopt.search.solving import solve_problem
from reluopt.training import Callback, TrainConfig, Trainer, TrainResult
from reluopt.training.callbacks import Validate
from reluopt.training.checkpoint import load_weights
from reluopt.workflows.runs import RunRecord
from reluopt.workflows.solve_run import SolveRun, read_earlier

COMMAND = "reluopt train --optimizer solve"
#: Why a search ended, in the words of training.
ENDS = {
    "settled": "no neuron was found that lowers L",
    "inexact": "no neuron was found that lowers L; prices or sizes at hand are not optimal to the tolerance",
    "rounds": "epochs",
    "time": "interrupted",
}


def searched(
    problem: Problem,
    config: TrainConfig,
    network: TwoLayerReLU | None = None,
    *,
    callback: Callable[[Progress], object] | None = None,
    keep: Callable[[Solved], object] | None = None,
    earlier: Earlier | None = None,
) -> Solved:
    """The network that refinement reaches, in ``config.epochs`` rounds of all sessions; no bound is searched beside it.

    See :func:`~reluopt.solve_problem` for the parameters and for what an interruption leaves.
    """
    return solve_problem(
        problem, network=network, seed=config.seed % 2**32, callback=callback, keep=keep, earlier=earlier,
        clock=Clock(), bounds=False, most_rounds=max(0, config.epochs - rounds_of(earlier)),
    )  # fmt: skip


def rounds_of(earlier: Earlier | None) -> int:
    """How many rounds an earlier session had: a line of the trace each, and one of its start."""
    return 0 if earlier is None else max(0, len(earlier.trace) - 1)


def as_trained(
    problem: Problem,
    config: TrainConfig,
    end: Refined,
    *,
    before: int = 0,
    data: Dataset | None = None,
    watch: Callback | None = None,
) -> TrainResult:
    """What training would say of the network of ``end``, with its scores on the held-out samples of ``data``.

    ``before`` : rounds of earlier sessions. ``watch`` sees the one record that is made.
    """
    callbacks = [] if watch is None else [watch]
    if data is not None and data.test_y is not None:
        X, pooling = data.pooled_test
        callbacks.insert(0, Validate(X, problem.loss.encoded(data.test_y), pooling))
    network = end.network
    # no epoch of a trainer: a record of the network as it is
    as_it_is = config.replace(optimizer="adam", width=network.width, epochs=0, stationarity_tolerance=0.0)
    said = Trainer(network, problem, config=as_it_is, callbacks=callbacks, progress=False).fit()
    return replace(said, epochs=before + end.rounds, stopped_because=ENDS[end.status])


@dataclass(frozen=True)
class SearchedTraining:
    """A run folder that column generation trains.

    Attributes
    ----------
    tables : of the config.toml of a new run; None where the folder is a run already. ``replace`` : an earlier one goes.
    """

    folder: RunFolder
    record: RunRecord
    tables: Mapping[str, Mapping[str, Any]] | None = None
    replace: bool = False

    @property
    def reached(self) -> TrainResult | None:
        """None: what a search reached where :meth:`fit` ends early is in its folder."""
        return None

    def fit(self, callback: Callable[[Progress], object] | None = None) -> TrainResult:
        """Make the run if it is new, and search for a network; what is found is kept now and then.

        ``callback`` : receives the steps.

        Raises
        ------
        Interrupted : the run holds what was found by then. CheckpointError : the folder cannot be written.
        """
        with self.folder.locked():
            network = earlier = None
            if self.tables is None:
                earlier = read_earlier(self.folder, self.record.problem)
                network = from_weights(*load_weights(self.folder))
            keeper = SolveRun(
                self.folder, self.record, self.tables or self.folder.config(), None, COMMAND,
                replace=self.replace, goes_on=self.tables is None,
            )  # fmt: skip
            solved, stop = self._found(keeper, network, earlier, callback)
            keeper.keep(solved)
            keeper.close()
        if stop is not None:
            raise Interrupted(
                f"Interrupted: the run holds the best network so far. Go on: reluopt train --resume "
                f"{shlex.quote(str(self.folder.path))}",
                exit_code(stop) - 128,
            )
        record = self.record
        before = rounds_of(earlier)
        return as_trained(record.problem, record.train, solved.refined, before=before, data=record.data)

    def _found(
        self,
        keeper: SolveRun,
        network: TwoLayerReLU | None,
        earlier: Earlier | None,
        callback: Callable[[Progress], object] | None,
    ) -> tuple[Solved, KeyboardInterrupt | None]:
        problem, config = self.record.problem, self.record.train
        try:
            return searched(problem, config, network, callback=callback, keep=keeper.keep, earlier=earlier), None
        except SolveInterrupted as stop:
            return stop.solved, stop
