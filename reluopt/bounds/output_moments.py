r"""The moment bound for several outputs: Theorem C (``output_forms.py``) found over factors (``output_search.py``)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float

from reluopt.bounds.bias_output_search import BiasOutputMomentSearch
from reluopt.bounds.lower_bound import LowerBound, prove
from reluopt.bounds.output_forms import OutputEvidence
from reluopt.bounds.output_search import OutputMomentSearch, OutputSupportSearch
from reluopt.bounds.protocol import Bound, Start
from reluopt.clock import Clock
from reluopt.problem import Problem

#: Smoothing of losses with kinks, in units of the targets, one run each.
SMOOTHING = (0.1, 0.03, 0.01, 0.003, 0.001)


@dataclass(frozen=True)
class OutputMoments(Bound):
    """The moment bound of C > 1 outputs, for any loss.

    Attributes
    ----------
    iterations : of L-BFGS in the first run; each later run has twice as many as the one before, for a smooth loss.
    pooled : the same for pooled rows, where L-BFGS gains by being started anew.
    runs : the most of them.
    close : it ends where the bound has come so near to the value of the factors, which no bound passes.
    loose : a support B so far above β has its ν searched again at its z, which costs little. ``rest`` : the part of the
        clock that a run leaves for that.
    seed : of the factors' random start.
    """

    iterations: int = 100
    pooled: int = 30
    runs: int = 6
    close: float = 2e-4
    loose: float = 0.01
    rest: float = 0.1
    seed: int = 0
    name: ClassVar[str] = "vector moment"
    quick: ClassVar[bool] = True

    def takes(self, problem: Problem) -> bool:
        """Several outputs, and biases of all kinds."""
        return problem.outputs > 1

    def run(
        self, problem: Problem, start: Start, clock: Clock, device: str | torch.device = "cpu"
    ) -> Iterator[LowerBound]:
        """The best bound so far after every run that improves it."""
        started = time.perf_counter()
        kind = BiasOutputMomentSearch if problem.biases.first_free else OutputMomentSearch
        search = kind(problem, device=device, seed=self.seed)
        steps = (0.0,) * self.runs if problem.loss.smooth else SMOOTHING
        first = self.iterations if problem.pooling is None else self.pooled
        best: LowerBound | None = None
        for number, step in enumerate(steps):
            if best is not None and clock.over:
                break
            more = 2**number if problem.loss.smooth else 2
            value = search.descend(step, first * more, (1.0 - self.rest) * clock.left)
            evidence = search.evidence(step)
            bound = prove(problem, evidence, method=self.name, started=started, factors=search.factors, z=search.z)
            if bound.support > problem.beta * (1 + self.loose) and isinstance(evidence, OutputEvidence):
                # far from the optimum ν of the factors fits worse than z does
                _, at_z = tighten_outputs(problem, evidence.z, device=device, clock=clock, seed=self.seed)
                again = prove(problem, at_z, method=self.name, started=started, factors=search.factors, z=search.z)
                bound = max(bound, again, key=lambda one: one.value)
            if best is None or bound.value > best.value:
                best = bound
                yield best
            if problem.loss.smooth and value - bound.value <= self.close * abs(value):
                break
        assert best is not None
        if best.support > problem.beta * (1 + self.close) and not clock.over and not problem.biases.first_free:
            # near β_max the factors vanish and say nothing of ν: it has its own search at this z
            _, evidence = tighten_outputs(problem, best.evidence.z, device=device, clock=clock, seed=self.seed)
            bound = prove(problem, evidence, method=self.name, started=started, factors=best.factors, z=best.z)
            if bound.value > best.value:
                yield bound


def tighten_outputs(
    problem: Problem,
    z: Float[np.ndarray, "n C"],
    *,
    device: str | torch.device = "cpu",
    clock: Clock | None = None,
    iterations: int = 100,
    runs: int = 4,
    seed: int = 0,
) -> tuple[float, OutputEvidence]:
    """(B, evidence): the best proved B ≥ ‖zᵀ(Xu)_+‖ for all ‖u‖ ≤ 1 that was found for this z, on X of the problem."""
    clock = clock or Clock()
    search = OutputSupportSearch(problem, z, device=device, seed=seed)
    best: tuple[float, OutputEvidence] | None = None
    for number in range(runs):
        if best is not None and clock.over:
            break
        search.ascend(iterations * 2**number, clock.left)
        evidence = search.evidence()
        bound = evidence.support_upper(problem.X)
        done = best is not None and bound >= best[0] * (1 - 1e-6)
        if best is None or bound <= best[0]:
            best = bound, evidence
        if done:
            break
    assert best is not None
    return best
