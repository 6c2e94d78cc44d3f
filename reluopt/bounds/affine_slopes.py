r"""The affine bound: the moment bound with lower slopes that are affine in u, and their proof.

Theorem B with the larger lo of ``affine_search.py`` is convex as well, but its optimal Y have rank 5 to 12 on real
data: rows are added to R = factor of Y along all eigenvectors of Theorem A's matrix that still lower the objective, and
taken off where they have become negligible. The search ends where the objective without smoothing, an upper bound of
what this relaxation can prove, is close to what is proved.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from reluopt.bounds.affine_search import AffineSearch
from reluopt.bounds.bias_affine import BiasAffineSearch
from reluopt.bounds.bias_forms import LiftedEvidence
from reluopt.bounds.evidence import Evidence, unsplit
from reluopt.bounds.factors import SMOOTHING
from reluopt.bounds.lower_bound import LowerBound, prove
from reluopt.bounds.protocol import Bound, Start
from reluopt.bounds.region_forms import Geometry
from reluopt.bounds.row_space import in_row_space
from reluopt.bounds.support import tighten
from reluopt.clock import Clock
from reluopt.losses import Loss
from reluopt.problem import Problem, as_problem


def affine(
    problem: Any,
    y: Any = None,
    beta: Any = None,
    *,
    loss: str | Loss = "squared",
    weights: Any = None,
    device: str | torch.device = "cpu",
    time_limit: float | None = None,
) -> LowerBound:
    """A proved lower bound of p* for every width: the moment bound with affine slopes.

    Parameters
    ----------
    problem : a ``Problem``; or X, with y, β, and what else makes a ``Problem``.
    device : where the factors are multiplied; the proof is always made on the CPU in float64.
    time_limit : seconds after which the best bound so far is returned.

    Raises
    ------
    DataError, ConfigError : see ``Problem``.
    """
    problem = as_problem(problem, y, beta, loss=loss, weights=weights)
    return AffineSlopes().best(problem, clock=Clock(time_limit), device=device)


@dataclass(frozen=True)
class AffineSlopes(Bound):
    """The affine bound, for any loss: started at the moment bound where there is one.

    Attributes
    ----------
    iterations : of L-BFGS for each smoothing and each set of rows.
    seed : of the factors' random start.
    smoothing : ε of lo in units of the targets' root mean square, from no start; ``first`` : the largest from the
        moment bound's factors.
    envelope : steps of the Moreau envelopes of losses with kinks, in units of ε.
    rounds : of new rows for each smoothing.
    close : the search ends where the proved value is within this fraction of the objective.
    loose : a support B this far above β says that rows are missing, or that the multipliers do not fit z.
    """

    iterations: int = 300
    seed: int = 0
    smoothing: tuple[float, ...] = SMOOTHING
    first: float = 0.03
    envelope: float = 1.0
    rounds: int = 4
    close: float = 5e-4
    loose: float = 1e-4
    name: ClassVar[str] = "affine"
    quick: ClassVar[bool] = True

    def takes(self, problem: Problem) -> bool:
        """One output, biases of all kinds, and pooled rows."""
        return problem.outputs == 1

    def run(
        self, problem: Problem, start: Start, clock: Clock, device: str | torch.device = "cpu"
    ) -> Iterator[LowerBound]:
        """The best bound so far whenever there is a better one, and at the end."""
        started = time.perf_counter()
        kind = BiasAffineSearch if problem.biases.first_free else AffineSearch
        search = kind(problem, device=device, seed=self.seed, envelope=self.envelope)
        warm = start.moments is not None and start.moments.factors is not None
        if warm:
            search.start_at(start.moments.factors)  # type: ignore[union-attr, arg-type]
        elif start.network is not None:
            search.start_from(*start.network)
        best: LowerBound | None = None
        for evidence in self._evidences(search, clock, warm):
            bound = prove(problem, evidence, method=self.name, started=started, factors=search.factors, z=search.z)
            if best is None or bound.value >= best.value:
                best = bound
                yield best
            if search.objective_without_smoothing() <= best.value * (1 + self.close):
                break
        assert best is not None
        loose = best.support > problem.beta * (1 + 10 * self.loose)
        if loose and isinstance(evidence, Evidence) and not clock.over:
            # the factors of one sign vanish (β ≥ β_max, say): its multipliers want their own search at this z
            at_z = tighten(problem, evidence.z, device=device, clock=clock)[1]
            better = _better_signs(problem, evidence, at_z)
            other = prove(problem, better, method=self.name, started=started, factors=best.factors, z=search.z)
            best = max(best, other, key=lambda bound: bound.value)
        yield replace(best, seconds=time.perf_counter() - started)

    def _evidences(self, search: AffineSearch, clock: Clock, warm: bool) -> Iterator[Evidence | LiftedEvidence]:
        """The evidence of one minimisation after another; rows are added before the next one."""
        for epsilon in (e for e in self.smoothing if not warm or e <= self.first):
            for _ in range(self.rounds):
                search.descend(epsilon, self.iterations, clock.left)
                evidence = search.evidence(epsilon)
                yield evidence
                if clock.over:
                    return
                if not search.escape(evidence, self.loose):
                    break


def _better_signs(problem: Problem, first: Evidence, second: Evidence) -> Evidence:
    """Of two evidences with the same z, one region and no cuts, the better multipliers for each sign."""
    chosen = []
    for name, z in (("positive", first.z), ("negative", -first.z)):
        supports = []
        for evidence in (first, second):
            X, region = in_row_space(problem.X, evidence.regions[0])
            supports.append(Geometry.of(X, region.cuts, region.groups).support_upper(z, getattr(region, name)))
        chosen.append(getattr((first if supports[0] <= supports[1] else second).regions[0], name))
    return unsplit(first.z, problem.d, *chosen)
