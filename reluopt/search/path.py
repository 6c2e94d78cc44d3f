r"""A path over β: a network at each β, warm-started from the β before, and a proved bound on p*(β) beside it.

For every network, L as a function of β is a line, so p*(β), the least of all lines, is concave and does not fall; and
p*(0) ≥ 0, as no loss is negative. So each network bounds p* from above at *every* β, and what is proved at two β holds
between them:

- p*(β) ≥ p*(β') for β ≥ β';
- p*(β) ≥ (1 − t) p*(β₁) + t p*(β₂) for β = (1 − t) β₁ + t β₂, 0 ≤ t ≤ 1, with β₁ = 0 and p*(0) ≥ 0 among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from reluopt import neurons, printing
from reluopt.beta_max import beta_max_estimate
from reluopt.bounds import LowerBound
from reluopt.clock import Clock
from reluopt.errors import ConfigError, DataError
from reluopt.gate import as_matrix, as_targets, given, is_data
from reluopt.interrupts import exit_code
from reluopt.network import TwoLayerReLU
from reluopt.problem import Problem, as_problem
from reluopt.rigor import rounding
from reluopt.search.records import Solved, SolveInterrupted
from reluopt.search.solving import solve_problem

#: β as fractions of β_max unless others are given.
FRACTIONS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)


@dataclass(frozen=True, eq=False)
class PathPoint:
    """The network at one β.

    Attributes
    ----------
    beta : β. ``network`` : the best of the path's networks for this β.
    objective : a proved upper bound on its L. ``neurons`` : its active ones.
    bound : a proved lower bound on p*(β), ``known`` : "own", or between which β's bounds concavity proves it.
    gap : objective/bound − 1, rounded up. ``own`` : the bound that was searched at this β, with its evidence.
    seconds : spent here.
    test_loss : the mean ℓ of the validation samples, ``score`` : their R² or accuracy; nan without any.
    solved : what the search left at this β.
    """

    beta: float
    network: TwoLayerReLU
    objective: float
    neurons: int
    bound: float
    known: str
    gap: float
    own: LowerBound | None
    seconds: float
    test_loss: float
    score: float
    solved: Solved


@dataclass(frozen=True, eq=False)
class RegularizationPath:
    """The points from the largest β down.

    ``best`` : the number of the point of the smallest validation loss, the largest such β; None without validation.
    ``score`` : what a point's ``score`` is: "R2" or "accuracy".
    """

    points: tuple[PathPoint, ...]
    best: int | None
    score: str


class PathInterrupted(KeyboardInterrupt):
    """A path was interrupted; ``path`` holds the β that were reached, the last one with what was found by then."""

    def __init__(self, path: RegularizationPath, stop: KeyboardInterrupt) -> None:
        super().__init__("Interrupted: what was found and proved by then stands.")
        self.path, self.signum = path, exit_code(stop) - 128


def regularization_path(
    problem: Any,
    betas: Sequence[float] | None = None,
    *,
    fractions: Sequence[float] | None = None,
    gap: float = 0.05,
    budget: float = 120.0,
    validation: Any = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    callback: Callable[[PathPoint], object] | None = None,
) -> RegularizationPath:
    """Solve the problem at every β, each from the network of the larger one before it.

    Parameters
    ----------
    problem : a :class:`~reluopt.Problem`, whose own β does not matter, or a data set, with the squared loss.
    betas : the β; or ``fractions`` of the estimate of β_max, 0.5 to 0.01 unless given.
    gap, budget : see :func:`~reluopt.solve_problem`; the budget is for the whole path, what one β leaves goes to the
        next.
    validation : (X, y) or a data set of samples that are held out, prepared as those of the problem; they choose
        ``best``.
    device : where the bounds are searched.
    callback : called with every point when it is first solved; its time is not the search's.

    Raises
    ------
    ConfigError : both or none that is positive, or a budget or gap that is not positive.
    DataError : data or validation samples that cannot be used, or of another width.
    PathInterrupted : a KeyboardInterrupt, with what was found by then, if anything was.
    """
    problem = as_problem(problem, beta=1.0) if is_data(problem) else as_problem(problem)
    problem.require_one_output("A regularisation path", biases=True)
    betas = _betas(problem, betas, fractions)
    if not budget > 0:
        raise ConfigError(f"The budget is {budget}.", "Give a positive number.")
    held_out = _held_out(problem, validation)
    clock, points = Clock(budget), list[PathPoint]()
    stopped: KeyboardInterrupt | None = None
    try:
        for number, beta in enumerate(betas):
            at, part = problem.with_beta(beta), clock.part(1.0 / (len(betas) - number))
            solved, stopped = _solved(at, points[-1].network if points else None, part, gap, seed, device)
            below = 0.0 if solved.bound is None else solved.bound.value
            points.append(_point(at, solved, solved.network, below, "own", held_out))
            if stopped is not None:
                break
            if callback is not None:
                clock.pause()
                callback(points[-1])
                clock.go_on()
    except KeyboardInterrupt as stop:
        if not points:
            raise
        stopped = stop
    path = as_path(problem, _shared(problem, points, held_out))
    if stopped is not None:
        raise PathInterrupted(path, stopped) from stopped
    return path


def as_path(problem: Problem, points: Sequence[PathPoint]) -> RegularizationPath:
    """The points with what the validation samples, if there are any, say of them."""
    losses = [point.test_loss for point in points]
    best = None if math.isnan(losses[0]) else int(np.argmin(losses))
    return RegularizationPath(tuple(points), best, "accuracy" if problem.loss.classes else "R2")


def _solved(
    at: Problem, network: TwoLayerReLU | None, clock: Clock, gap: float, seed: int, device: str | torch.device
) -> tuple[Solved, KeyboardInterrupt | None]:
    """What is found at one β, and the interruption if there was one."""
    try:
        return solve_problem(at, gap=gap, clock=clock, network=network, seed=seed, device=device), None
    except SolveInterrupted as stop:
        return stop.solved, stop


def _betas(problem: Problem, betas: Sequence[float] | None, fractions: Sequence[float] | None) -> list[float]:
    """The β, the largest first."""
    if betas is not None and fractions is not None:
        raise ConfigError("Both betas and fractions were given.", "Give one of the two.")
    if betas is None:
        most = beta_max_estimate(problem)
        betas = [most * float(fraction) for fraction in (FRACTIONS if fractions is None else fractions)]
    wanted = sorted({float(beta) for beta in betas}, reverse=True)
    if not wanted or not all(0 < beta < math.inf for beta in wanted):
        raise ConfigError(f"The β of a path are {wanted}.", "Give positive numbers, one at least.")
    return wanted


HeldOut = tuple[Float[np.ndarray, "k d"], Float[np.ndarray, " k"]]


def _held_out(problem: Problem, validation: Any) -> HeldOut | None:
    if validation is None:
        return None
    parts = (validation,) if is_data(validation) else validation
    if not (isinstance(parts, tuple | list) and len(parts) in (1, 2)):
        raise DataError(f"The validation samples are a {type(parts).__name__}.", "Give (X, y), or a data set.")
    rows, y, pooling = given(*parts)
    X = as_matrix(rows, "validation[0]")
    y = problem.loss.encoded(as_targets(y, len(X) if pooling is None else pooling.n, "validation[1]"))
    if X.shape[1] != problem.d or y.ndim != 1 or pooling is not None:
        raise DataError(
            f"The validation samples have shapes {X.shape} and {y.shape}; the problem has d = {problem.d} "
            "and one output.",
            "Prepare them as the problem's samples were.",
        )
    problem.loss.check_targets(y)
    return X, y


def _point(
    at: Problem, solved: Solved, network: TwoLayerReLU, below: float, known: str, held_out: HeldOut | None
) -> PathPoint:
    weights = U, alpha, *_ = network.weights()
    upper = at.objective_upper(*weights)
    excess = printing.excess(upper, below)
    gap = rounding.round_up(excess) if isinstance(excess, Fraction) else excess
    test, score = math.nan, math.nan
    if held_out is not None:
        X, y = held_out
        f = neurons.predict(X, *weights)
        test, score = float(at.loss.value(f, y).mean()), float(at.loss.score(f, y)[1])
    count = int(((U != 0).any(axis=1) & (alpha != 0)).sum())
    return PathPoint(
        at.beta, network, upper, count, below, known, gap, solved.bound, solved.seconds, test, score, solved
    )


def _shared(problem: Problem, points: list[PathPoint], held_out: HeldOut | None) -> list[PathPoint]:
    """Every point with the best of all networks at its β, and the best bound that all bounds prove there."""
    known = [(point.beta, point.bound) for point in points]
    done = []
    for point in points:
        at = problem.with_beta(point.beta)
        network = min((other.network for other in points), key=lambda net: at.objective(*net.weights()))
        if at.objective(*network.weights()) >= at.objective(*point.network.weights()):
            network = point.network
        below, how = concave_bound(point.beta, known)
        own = below <= point.bound
        better = _point(at, point.solved, network, point.bound if own else below, "own" if own else how, held_out)
        done.append(replace(better, seconds=point.seconds))
    return done


def concave_bound(beta: float, known: Sequence[tuple[float, float]]) -> tuple[float, str]:
    """(value, how): what bounds p*(β_j) ≥ v_j prove at another β, rounded down.

    p* is concave, does not fall, and is at least 0 at 0; see the head of this module.
    """
    best, how = Fraction(0), "0"
    lines = [(Fraction(0), Fraction(0)), *((Fraction(b), Fraction(v)) for b, v in known if v > 0)]
    at = Fraction(beta)
    for b, v in lines:
        if b <= at and v > best:
            best, how = v, f"β = {float(b):.6g}"
    for low, low_value in lines:
        for high, high_value in lines:
            if low < at < high:
                value = low_value + (at - low) / (high - low) * (high_value - low_value)
                if value > best:
                    best, how = value, f"concavity, β = {float(low):.6g} and {float(high):.6g}"
    return rounding.round_down(best), how
