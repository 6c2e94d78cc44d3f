"""All bounds by their names, and the race that decides which of them gets the clock. A new bound is one line here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from reluopt.bounds.affine_slopes import AffineSlopes
from reluopt.bounds.all_cells import AllCells
from reluopt.bounds.branch_and_bound import BranchAndBound, DoublyNonnegative
from reluopt.bounds.clique import Cliques
from reluopt.bounds.lower_bound import LowerBound
from reluopt.bounds.output_moments import OutputMoments
from reluopt.bounds.protocol import Bound, Start, best_of
from reluopt.bounds.second_moments import SecondMoments
from reluopt.bounds.simplicial import SmallRank
from reluopt.bounds.spectral_norm import SpectralNorm
from reluopt.clock import Clock
from reluopt.errors import ConfigError
from reluopt.losses import Loss
from reluopt.problem import Problem, as_problem

#: Every bound by its name, in the order in which a race tries them: quick ones, then the tightest first.
BOUNDS: dict[str, Bound] = {
    bound.name: bound
    for bound in (
        SpectralNorm(),
        SecondMoments(),
        AffineSlopes(),
        OutputMoments(),
        AllCells(),
        SmallRank(),
        BranchAndBound(),
        Cliques(),
        DoublyNonnegative(),
    )
}
#: The share of the clock that quick bounds may take together where another bound follows.
QUICK = 0.3


def race(
    problem: Problem,
    start: Start | None = None,
    clock: Clock | None = None,
    *,
    stop_at: float = math.inf,
    device: str | torch.device = "cpu",
    names: Iterable[str] | None = None,
) -> Iterator[LowerBound]:
    """Proved bounds of one problem as they are found, each bound starting from what those before it brought.

    The quick bounds run first; then the first other bound that suits the problem has the rest of the clock. What is
    yielded need not be better than what was before.

    Parameters
    ----------
    start : what is known already. ``clock`` : 60 s where there is none.
    stop_at : no bound is searched any further once one reaches this value (the objective of a network, say).
    device : where everything but the proofs is computed.
    names : run these bounds, whether they suit or not, in this order; quick ones have their share of the clock, the
        others share the rest equally.

    Raises
    ------
    ConfigError : a name that is not in ``BOUNDS``, or one of a bound that does not take the problem.
    """
    clock, start = clock or Clock(60.0), start or Start()
    entered = _entered(problem, names)
    for number, bound in enumerate(entered):
        slower = sum(not other.quick for other in entered[number:])
        if clock.over and not (bound.quick or bound.final):
            continue
        own = clock.part(1.0 if not slower else QUICK if bound.quick else 1.0 / slower)
        for found in bound.run(problem, start, own, device):
            start = start.after(found)
            yield found
            if found.value >= stop_at:
                return


def _entered(problem: Problem, names: Iterable[str] | None) -> list[Bound]:
    if names is None:
        suitable = [bound for bound in BOUNDS.values() if bound.takes(problem) and bound.suits(problem)]
        return [bound for bound in suitable if bound.quick] + [bound for bound in suitable if not bound.quick][:1]
    wanted = list(names)
    for name in wanted:
        if name not in BOUNDS:
            raise ConfigError(f"There is no bound '{name}'.", f"Choose from: {', '.join(BOUNDS)}.")
        BOUNDS[name].require(problem)
    return [BOUNDS[name] for name in wanted]


def tightened(
    problem: Any,
    y: Any = None,
    beta: Any = None,
    *,
    loss: str | Loss = "squared",
    weights: Any = None,
    time_limit: float = 60.0,
    stop_at: float = math.inf,
    device: str | torch.device = "cpu",
    start: Start | None = None,
) -> LowerBound:
    """The best bound of a race: all cells where few, simplices at small rank, regions for few samples, else cliques.

    Parameters
    ----------
    problem : a ``Problem``; or X, with y, β, and what else makes a ``Problem``.
    time_limit : seconds (all cells take what they need, a few).
    stop_at, device, start : see ``race``.

    Raises
    ------
    DataError, ConfigError : see ``Problem``.
    """
    problem = as_problem(problem, y, beta, loss=loss, weights=weights)
    return best_of(race(problem, start, Clock(time_limit), stop_at=stop_at, device=device))
