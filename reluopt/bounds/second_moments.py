r"""The moment bound: Theorem B solved over low-rank factors, Theorem A as its proof.

Theorem A is the bound of section 6 of ``certificate/SPEC.md`` without cuts and groups; Theorem B, its Lagrange dual, is
in ``moment_search.py``. It is convex; its optimal Y have rank 2 or 3, so Y = RᵀR with a few rows is minimised by L-BFGS
over R, the smoothing of lo falling from step to step. After each step the multipliers (q, ν) of Theorem A are read off,
the bound is *proved* for them, and the best one is kept. Where Theorem A's matrix shows a direction that still lowers
the objective, it is put into an empty row of R: that is how a stationary point of the factors that is no optimum is
left.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from reluopt.bounds.bias_forms import Lift
from reluopt.bounds.bias_search import BiasMomentSearch, tighten_with_bias
from reluopt.bounds.factors import SMOOTHING
from reluopt.bounds.lower_bound import LowerBound, prove
from reluopt.bounds.moment_search import MomentSearch
from reluopt.bounds.output_moments import OutputMoments, tighten_outputs
from reluopt.bounds.protocol import Bound, Network, Start
from reluopt.bounds.region_forms import closed_form_support, proof_operations
from reluopt.bounds.support import tighten
from reluopt.clock import Clock
from reluopt.losses import Loss
from reluopt.problem import Problem, as_problem

#: A support B this far above β says that the multipliers do not fit z yet.
LOOSE = 1e-4
#: Operations a second that a slow machine does in an eigenvalue problem.
OPERATIONS = 1e9


def moment(
    problem: Any,
    y: Any = None,
    beta: Any = None,
    *,
    loss: str | Loss = "squared",
    weights: Any = None,
    device: str | torch.device = "cpu",
    time_limit: float | None = None,
    iterations: int = 300,
    seed: int = 0,
    network: Network | None = None,
) -> LowerBound:
    """A proved lower bound of p* for every width: the moment bound.

    Parameters
    ----------
    problem : a ``Problem``; or X, with y, β, and what else makes a ``Problem``.
    device : where the factors are multiplied; the proof is always made on the CPU in float64.
    time_limit : seconds after which the best bound so far is returned.
    iterations, seed : see ``SecondMoments``; several outputs are bounded by ``OutputMoments``.
    network : (U, α) of a network from whose second moments to start. The optimum is the same, and on the data sets
        tried so was the time.

    Raises
    ------
    DataError, ConfigError : see ``Problem``; DataError also for a network that does not fit.
    """
    problem = as_problem(problem, y, beta, loss=loss, weights=weights)
    several = problem.outputs > 1
    bound = OutputMoments(seed=seed) if several else SecondMoments(iterations=iterations, seed=seed)
    return bound.best(problem, Start(network=network), Clock(time_limit), device=device)


@dataclass(frozen=True)
class SecondMoments(Bound):
    """The moment bound, for any loss.

    Attributes
    ----------
    iterations : of L-BFGS for each smoothing.
    seed : of the factors' random start.
    smoothing : ε of lo in units of the targets' root mean square, one run of L-BFGS each.
    envelope : steps of the Moreau envelopes of losses with kinks, in units of ε.
    """

    iterations: int = 300
    seed: int = 0
    smoothing: tuple[float, ...] = SMOOTHING
    envelope: float = 1.0
    name: ClassVar[str] = "moment"
    quick: ClassVar[bool] = True

    def takes(self, problem: Problem) -> bool:
        """One output, and biases of all kinds."""
        return problem.outputs == 1

    def run(
        self, problem: Problem, start: Start, clock: Clock, device: str | torch.device = "cpu"
    ) -> Iterator[LowerBound]:
        """The best bound so far after every smoothing that improves it, and at the end."""
        started = time.perf_counter()
        kind = BiasMomentSearch if problem.biases.first_free else MomentSearch
        search = kind(problem, device=device, seed=self.seed, envelope=self.envelope)
        if start.network is not None:
            search.start_from(*start.network)
        best: LowerBound | None = None
        for epsilon in self.smoothing:
            if best is not None and clock.over:
                break
            search.descend(epsilon, self.iterations, clock.left)
            evidence = search.evidence(epsilon)
            bound = prove(problem, evidence, method=self.name, started=started, factors=search.factors, z=search.z)
            if best is None or bound.value >= best.value:
                best = bound
                yield best
            if epsilon != self.smoothing[-1]:
                search.escape(evidence)
        assert best is not None
        if best.support > problem.beta * (1 + LOOSE) and not clock.over:
            # the factors of one sign vanish (β ≥ β_max, say): its multipliers want their own search at this z
            v, settings = best.evidence.z, {"iterations": self.iterations, "seed": self.seed}
            search_at_z = tighten_with_bias if problem.biases.first_free else tighten
            _, at_z = search_at_z(problem, v, device=device, clock=clock, **settings)
            again = prove(problem, at_z, method=self.name, started=started, z=best.z)
            best = max(best, again, key=lambda b: b.value)
        yield replace(best, factors=search.factors, seconds=time.perf_counter() - started)


def beta_max_upper(
    problem: Any,
    y: Any = None,
    *,
    loss: str | Loss = "squared",
    weights: Any = None,
    device: str | torch.device = "cpu",
    time_limit: float | None = None,
) -> float:
    """A proved upper bound of β_max = max_{‖u‖≤1} ‖zᵀ(Xu)_+‖, z of the zero network: from there on it is optimal.

    Parameters
    ----------
    problem : a ``Problem``, whose β has no part in this; or X, with y and what else makes a ``Problem``.
    time_limit : seconds. Where not even one proof by Theorem A is expected to fit, the bound is the closed form
        ‖X‖_F max(‖z_+‖, ‖z_−‖), or ‖X‖_F‖z‖ with several outputs.

    Raises
    ------
    DataError, ConfigError : see ``Problem``.
    """
    problem = as_problem(problem, y, None if isinstance(problem, Problem) else 1.0, loss=loss, weights=weights)
    z = problem.zero_dual_point
    if problem.biases.first_free and problem.outputs > 1:  # ‖X̂ũ‖ ≤ ‖X̂‖‖ũ‖, and ‖ũ‖ ≤ √2
        return 1.4142136 * closed_form_support(Lift.of(problem.X).rows(problem.X), z) * (1 + 1e-12)
    if problem.biases.first_free:
        return tighten_with_bias(problem, z, device=device, clock=Clock(time_limit))[0]
    v = problem.spread(z)
    simple = closed_form_support(problem.X, v)
    if time_limit is not None and proof_operations(problem.X) > time_limit * OPERATIONS:
        return problem.support_of_samples(z, v, simple)
    search = tighten_outputs if problem.outputs > 1 else tighten
    return problem.support_of_samples(z, v, min(simple, search(problem, v, device=device, clock=Clock(time_limit))[0]))


def with_moments(problem: Problem, start: Start, clock: Clock, device: str | torch.device = "cpu") -> Start:
    """The start with the moment bound, which is computed where the start has none."""
    if start.moments is not None:
        return start
    bound = OutputMoments() if problem.outputs > 1 else SecondMoments()
    return start.after(bound.best(problem, start, clock, device=device))
