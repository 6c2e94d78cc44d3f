"""From a training problem to a network: the solvers of the estimators, with early stopping and one deadline."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reluopt import neurons
from reluopt.bounds import LowerBound, Start, race
from reluopt.bounds.registry import BOUNDS
from reluopt.clock import Clock
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.problem import Problem
from reluopt.search.refinement import refine
from reluopt.threads import one_thread_if_small
from reluopt.training import Callback, TrainConfig, Trainer
from reluopt.training.state import TrainState

#: The share of the time that the network may take where a bound follows.
NETWORK_SHARE = 0.6
#: (U, α) of a network, and c behind them where it has an intercept.
Weights = tuple[Float[np.ndarray, "..."], ...]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A network, how many rounds or epochs it took, the best proved bound on p* (None: none was asked for)."""

    network: TwoLayerReLU
    iterations: int
    bound: LowerBound | None
    validation: tuple[float, ...]


class Judge:
    """Keeps the network with the least loss on held-out samples, and says when it has not become better for a while.

    Parameters
    ----------
    held_out : the problem of the held-out samples. ``patience`` : looks without an improvement. ``tolerance`` : what
        counts as one, relative to the best loss.
    """

    def __init__(self, held_out: Problem, patience: int, tolerance: float) -> None:
        self.held_out, self.patience, self.tolerance = held_out, patience, tolerance
        self.losses: list[float] = []
        self.best: Weights | None = None
        self._least, self._waited = math.inf, 0

    def gives_up(self, weights: Weights) -> bool:
        """Look at a network (its weights are copied); whether it is time to stop."""
        mean = self.held_out.loss_value(self.held_out.predict(*weights)) / float(self.held_out.weights.sum())
        self.losses.append(mean)
        better = mean < self._least - self.tolerance * abs(self._least if math.isfinite(self._least) else 0.0)
        if better or self.best is None:
            self._least, self._waited = mean, 0
            self.best = tuple(part.copy() for part in weights)
        else:
            self._waited += 1
        return self._waited >= self.patience


def solved(
    problem: Problem,
    start: TwoLayerReLU | None,
    judge: Judge | None,
    *,
    gap: float | None,
    time_limit: float | None,
    tolerance: float,
    seed: int,
) -> Fitted:
    """Column generation to its end, then bounds: quick ones; where ``gap`` is given, tighter ones until it is proved.

    One after the other, so that the network depends on ``seed`` alone unless the time ends first.
    """
    clock = Clock(time_limit)
    with one_thread_if_small(256.0 * problem.X.size):
        found = refine(
            problem, start, clock=clock.part(NETWORK_SHARE), tolerance=tolerance, seed=seed,
            callback=None if judge is None else lambda at: judge.gives_up(at.network.weights()),
        )  # fmt: skip
        network = found.network if judge is None or judge.best is None else from_weights(*judge.best)
        weights = network.weights()
        objective = problem.objective_upper(*weights)
        U, alpha, *_ = weights
        f = problem.predict(U, alpha)
        z = problem.balanced_dual_point(f) if problem.biases else problem.dual_point(f)
        stop_at = math.inf if gap is None else objective / (1.0 + gap)
        quick = [name for name, bound in BOUNDS.items() if bound.quick and bound.takes(problem)]
        names = quick if gap is None else None
        best: LowerBound | None = None
        for bound in race(problem, Start(network=(U, alpha), z=z), clock.part(), stop_at=stop_at, names=names):
            best = bound if best is None or bound.value > best.value else best
            if clock.over:
                break
    return Fitted(network, max(1, found.rounds), best, tuple(judge.losses) if judge else ())


def descended(
    problem: Problem, start: TwoLayerReLU | None, judge: Judge | None, config: TrainConfig, time_limit: float | None
) -> Fitted:
    """Gradient descent by the trainer; the best network on held-out samples where there are some."""
    network = start if start is not None else config.make_network(problem.d, problem.outputs)
    watch = _Watch(Clock(time_limit), judge)
    result = Trainer(network, problem, config=config, callbacks=[watch], progress=False).fit()
    if judge is not None and judge.best is not None:
        network = from_weights(*judge.best)
    return Fitted(network, max(1, result.epochs), None, tuple(judge.losses) if judge else ())


class _Watch(Callback):
    """Ends training when the time is over or the judge gives up."""

    def __init__(self, clock: Clock, judge: Judge | None) -> None:
        self.clock, self.judge = clock, judge

    def on_epoch(self, state: TrainState) -> None:
        """Look at the clock and at the held-out samples."""
        if self.clock.over:
            state.stop("the time limit")
        if self.judge is not None and self.judge.gives_up(state.network.weights()):
            state.stop("no better on held-out samples")


def active_neurons(network: TwoLayerReLU) -> int:
    """How many neurons contribute."""
    U, alpha, *_ = network.weights()
    return int(neurons.active(U, alpha).sum())
