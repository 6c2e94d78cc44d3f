"""Training by column generation, as ``optimizer = "solve"`` of [train] names it: a network and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reluopt.clock import Clock
from reluopt.data import Dataset
from reluopt.network import TwoLayerReLU
from reluopt.problem import Problem
from reluopt.search.records import Earlier, Progress, Refined, Solved
from reluopt.search.solving import solve_problem
from reluopt.training import Callback, TrainConfig, Trainer, TrainResult
from reluopt.training.callbacks import Validate

#: Why a search ended, in the words of training.
ENDS = {"settled": "no neuron was found that lowers L", "rounds": "epochs", "time": "interrupted"}


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
        callbacks.insert(0, Validate(data.test_X, problem.loss.encoded(data.test_y)))
    network = end.network
    # no epoch of a trainer: a record of the network as it is
    as_it_is = config.replace(optimizer="adam", width=network.width, epochs=0, stationarity_tolerance=0.0)
    said = Trainer(network, problem, config=as_it_is, callbacks=callbacks, progress=False).fit()
    return replace(said, epochs=before + end.rounds, stopped_because=ENDS[end.status])
