"""The relaxed convex program, KP eq. (2), (3): cones kept, patterns sampled (or given)."""

from __future__ import annotations

from typing import Any, ClassVar

from reluopt.losses import Loss
from reluopt.programs.convex import ConvexProgram, problem_and_patterns
from reluopt.programs.fits import LossFit
from reluopt.programs.matrices import NeuronNorm, NeuronsInCones
from reluopt.programs.penalties import GroupNorm
from reluopt.programs.places import InCones


class RelaxedProgram(ConvexProgram):
    r"""p̃(S) = min Σ κ_i ℓ(f_i, y_i) + β Σ(‖v_i‖ + ‖w_i‖), f = Σ D_i X (v_i − w_i), over v_i, w_i ∈ K_{D_i}.

    Over *all* patterns of X this is p* for every width m ≥ m* (Pilanci & Ergen 2020); over fewer it lies above.
    Blocks are (2, P, d): v first, then w. With C outputs they are neurons (u, a) with u in the cone of their pattern,
    of shape (k, P, d + C) with any number k of slots, and cost β Σ‖u‖‖a‖ (``matrices.py``). With biases of the
    problem's own an intercept is the best one for f, and free last entries of v, w, or u cost nothing. Made as
    ``RelaxedProgram(problem, patterns)`` or from (X, y, patterns, β).
    """

    name: ClassVar[str] = "relaxed"

    def __init__(
        self,
        X: Any,
        y: Any = None,
        patterns: Any = None,
        beta: Any = None,
        *,
        loss: str | Loss = "squared",
        weights: Any = None,
    ) -> None:
        problem, patterns = problem_and_patterns(X, y, patterns, beta, loss, weights)
        C, free = problem.outputs, int(problem.biases.first_free)
        if C > 1:
            super().__init__(problem, patterns, NeuronNorm(C, free), NeuronsInCones(C, free), LossFit())
        else:
            super().__init__(problem, patterns, GroupNorm(free), InCones(), LossFit())
