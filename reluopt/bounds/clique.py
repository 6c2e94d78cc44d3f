r"""The clique bound: the moment bound with products of activations inside of cliques of alike samples.

For each sign let M = E[vvᵀ] be the second moments of v = (α, u, s), s = (Xu)_+, summed over its neurons. Of the doubly
nonnegative relaxation (Prakhya, Birdal & Yurtsever, ICLR 2025) the products within groups of samples are kept:

.. math:: \min Σ_i κ_i ℓ(f_i, y_i) + (β/2) Σ_± tr_{(α,u)} M^±,\quad f = S^+ − S^-,\quad S = E[αs],

with E[F_a F_b] ≥ 0 for the forms F = (α, s_g, p_g), p = s − Xu, of every group g, and E[s_i p_i] = 0; with one output
also (E[αF_a], E[u F_a]) in the second-order cone (``ball_products.py``), as ‖u‖ = α for balanced neurons. Few of these
constraints hold M back at the optimum, all between samples whose rows are nearly parallel or opposite where neurons
are: groups of alike samples lose little, and cost O(n·|g|) instead of O(n²). M = VᵀV has low rank, and an augmented
Lagrangian over V (``augmented.py``) gives z and multipliers, which are then improved at this z (``schur.py``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from reluopt.bounds.bias_forms import LiftedEvidence
from reluopt.bounds.clique_search import CliqueSearch
from reluopt.bounds.clique_settings import CliqueSettings
from reluopt.bounds.lower_bound import LowerBound, prove
from reluopt.bounds.output_cliques import OutputCliqueSearch
from reluopt.bounds.protocol import Bound, Start
from reluopt.bounds.schur import Elimination
from reluopt.bounds.second_moments import with_moments
from reluopt.clock import Clock
from reluopt.losses import Loss
from reluopt.problem import Problem, as_problem


def neighbours(
    problem: Any,
    y: Any = None,
    beta: Any = None,
    *,
    loss: str | Loss = "squared",
    weights: Any = None,
    time_limit: float = 60.0,
    stop_at: float = math.inf,
    device: str | torch.device = "cpu",
) -> LowerBound:
    """A proved lower bound of p* from the products of alike samples' activations, never below the moment bound.

    Parameters
    ----------
    problem : a ``Problem``; or X, with y, β, and what else makes a ``Problem``.
    time_limit : seconds. ``stop_at`` : a value at which to stop earlier.
    device : where everything but the proof is computed.

    Raises
    ------
    DataError, ConfigError : see ``Problem``.
    """
    problem = as_problem(problem, y, beta, loss=loss, weights=weights)
    return Cliques().best(problem, clock=Clock(time_limit), stop_at=stop_at, device=device)


@dataclass(frozen=True)
class Cliques(Bound):
    """Products within cliques of alike samples, started at the moment bound."""

    settings: CliqueSettings = field(default_factory=CliqueSettings)
    name: ClassVar[str] = "cliques"
    plans: ClassVar[bool] = True

    def takes(self, problem: Problem) -> bool:
        """Any number of outputs, pooled rows, biases of all kinds."""
        return True

    def run(
        self, problem: Problem, start: Start, clock: Clock, device: str | torch.device = "cpu"
    ) -> Iterator[LowerBound]:
        """The moment bound, if the start has none, then the bound with cliques after each sign's polish.

        That is done again, from where it ended, as long as it gains and there is time.
        """
        started = time.perf_counter()
        if start.moments is None:
            start = with_moments(problem, start, clock.part(self.settings.first), device)
            yield start.moments  # type: ignore[misc]
        moments = start.moments
        assert moments is not None
        flat = isinstance(moments.evidence, LiftedEvidence) and not moments.evidence.lift.reach > 0
        if flat or not (problem.X.any() and moments.evidence.z.any()):
            return
        kind = OutputCliqueSearch if problem.outputs > 1 else CliqueSearch
        search = kind(problem, moments, self.settings, device=device)
        best, gained, least = moments.value, True, self.settings.again * (clock.spent + clock.left)
        while gained:
            before = best
            search.solve(clock.part())
            for sides in search.polished(clock):
                if all(math.isfinite(side.level) for side in sides):
                    yield (found := _proved(search, sides, started))
                    best = max(best, found.value)
            gained = (
                best > before * (1 + self.settings.gain)
                and max(least, 4 * search.seconds_of_last) < clock.left < math.inf
            )


def _proved(search: CliqueSearch, sides: list[Elimination], started: float) -> LowerBound:
    return prove(search.problem, search.evidence(sides), method=_name(search), started=started, z=search.z)


def _name(search: CliqueSearch) -> str:
    """How many cliques, and how large; places that no sample has are not counted."""
    largest = int((search.slots >= 0).reshape(search.core.groups, -1).sum(axis=1).max())
    what = "samples" if search.problem.pooling is None else "rows"
    number = search.core.groups
    return f"1 clique of {largest} {what}" if number == 1 else f"{number} cliques of up to {largest} {what}"
