r"""The closed-form lower bound, KP Prop. 3.6 and Cor. 3.7: z of the zero network with B = √λmax(XXᵀ)‖z‖.

For the squared loss z = y. zᵀ(Xu)_+ ≤ ‖z_+‖‖Xu‖ gives the sharper B = √λmax(XXᵀ) · max(‖z_+‖, ‖z_−‖) at the same
cost; it is Theorem A with q = 0, w = z_+ and one ν for all samples, so its evidence has the form of all others. With
several outputs ‖zᵀ(Xu)_+‖ ≤ ‖z‖₂‖X‖₂ (spectral norms), which is Theorem C with one ν.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float

from reluopt.bounds.evidence import Multipliers, theorem_a, unsplit
from reluopt.bounds.lower_bound import LowerBound, prove
from reluopt.bounds.output_forms import theorem_c
from reluopt.bounds.protocol import Bound, Start
from reluopt.clock import Clock
from reluopt.losses import Loss
from reluopt.problem import Problem, as_problem


def closed_form(
    problem: Any, y: Any = None, beta: Any = None, *, loss: str | Loss = "squared", weights: Any = None
) -> LowerBound:
    """A proved lower bound of p* from the largest singular value of X alone.

    Parameters
    ----------
    problem : a ``Problem``; or X, with y, β, and what else makes a ``Problem``.

    Raises
    ------
    DataError, ConfigError : see ``Problem``.
    """
    return SpectralNorm().best(as_problem(problem, y, beta, loss=loss, weights=weights))


@dataclass(frozen=True)
class SpectralNorm(Bound):
    """KP Prop. 3.6, for any loss."""

    name: ClassVar[str] = "closed form"
    quick: ClassVar[bool] = True

    def takes(self, problem: Problem) -> bool:
        """Any number of outputs, and intercepts."""
        return not problem.biases.first_free

    def run(
        self, problem: Problem, start: Start, clock: Clock, device: str | torch.device = "cpu"
    ) -> Iterator[LowerBound]:
        """One bound."""
        started = time.perf_counter()
        _, units = problem.scaled()
        z, top = problem.zero_dual_point, units.x * float(np.sqrt(len(problem.X)))
        if problem.outputs > 1:
            z = problem.settled(z)
            v = problem.spread(z)
            nu = np.full(len(v), _ratio(float(np.linalg.norm(v, 2)), top))
            yield prove(problem, theorem_c(v, nu), method=self.name, started=started, z=z)
            return
        v = problem.spread(z)
        evidence = unsplit(v, problem.d, _one_nu(v, top), _one_nu(-v, top))
        yield prove(problem, evidence, method=self.name, started=started, z=z)


def _one_nu(z: Float[np.ndarray, " n"], top: float) -> Multipliers:
    """ν_i = ‖z_+‖/‖X‖, which makes the two diagonal blocks of C equal."""
    nu = _ratio(float(np.linalg.norm(np.maximum(z, 0.0))), top)
    return theorem_a(z, np.zeros_like(z), np.full(len(z), nu))


def _ratio(norm: float, top: float) -> float:
    return norm / top if norm > 0 and top > 0 else 1e30 * (1.0 + norm)  # nothing to balance: X = 0 or z ≤ 0
