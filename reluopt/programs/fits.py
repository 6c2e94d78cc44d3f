r"""How a convex program's outputs f = Σ ± D_i X u_i are held to the targets: by the problem's loss, or exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from reluopt.errors import SolverError
from reluopt.losses.rationals import largest_multiple
from reluopt.patterns.pattern_set import PatternSet
from reluopt.problem import Problem
from reluopt.programs.penalties import Penalty
from reluopt.programs.products import correlations_of, fit_of, pattern_gram
from reluopt.rigor import rounding

#: A fit within this times ‖y‖ counts as exact.
FIT_TOLERANCE = 1e-9
#: Blocks below this times the largest are left out when the multipliers of an exact fit are recovered.
NEGLIGIBLE = 1e-6

Blocks = Float[np.ndarray, "k P ..."]
Vector = Float[np.ndarray, "n ..."]


class LossFit:
    """Σ κ_i ℓ(f_i, y_i) is added to the objective; the dual objective is Σ κ_i D(z_i/κ_i, y_i).

    Where the problem has an intercept it is the best one for f, and what it costs is added too; where it is free, z
    sums to 0.
    """

    exact: ClassVar[bool] = False

    def value(self, problem: Problem, f: Vector) -> float:
        """Σ κ_i ℓ(f_i, y_i)."""
        if not problem.biases:
            return problem.loss_value(f)
        c = problem.best_intercept(f)
        return problem.loss_value(f + c) + 0.5 * (problem.intercept_decay or 0.0) * float((c * c).sum())

    def slope(self, problem: Problem, f: Vector) -> Vector:
        """Minus the gradient of the value by f: −κ ∘ ∂ℓ/∂f."""
        return problem.balanced_dual_point(f) if problem.biases else problem.dual_point(f)

    def dual_point(self, problem: Problem, patterns: PatternSet, penalty: Penalty, blocks: Blocks, f: Vector) -> Vector:
        """z = −κ ∘ ∂ℓ/∂f, dual optimal where the blocks are optimal and ℓ has a derivative."""
        return self.slope(problem, f)

    def dual_value(self, problem: Problem, z: Vector) -> float:
        """Σ κ_i D(z_i/κ_i, y_i)."""
        return problem.dual_value(z)

    def into_domain(self, problem: Problem, z: Vector) -> Vector:
        """The nearest point of the dual objective's domain: what rounding left is brought back."""
        z = np.clip(z, *problem.dual_domain())
        return problem.settled(z) if problem.biases else z

    def free_multiple(self, problem: Problem, z: Vector) -> float:
        """The multiple of z that is best for the dual objective, its constraints aside."""
        most = largest_multiple(problem.loss, z, problem.y, problem.weights, 0.0, problem.beta)
        return problem.best_multiple(z, most)

    def scaled_dual(self, problem: Problem, z: Vector, bound: float) -> tuple[float, float]:
        """Equation (*): the best multiple whose block norms stay within β, and its proved value."""
        return problem.proved_value(z, bound)

    def violation(self, problem: Problem, f: Vector) -> float:
        """0: every point is feasible."""
        return 0.0

    def repair(self, problem: Problem, patterns: PatternSet, blocks: Blocks) -> Blocks:
        """Nothing to repair."""
        return blocks


class ExactFit:
    """f = y is a constraint (the loss does not enter) on blocks of one side; the dual objective is yᵀz."""

    exact: ClassVar[bool] = True

    def value(self, problem: Problem, f: Vector) -> float:
        """0, whether or not f fits: see ``violation``."""
        return 0.0

    def slope(self, problem: Problem, f: Vector) -> Vector:
        """0: the constraint is left aside."""
        return np.zeros_like(f)

    def dual_point(self, problem: Problem, patterns: PatternSet, penalty: Penalty, blocks: Blocks, f: Vector) -> Vector:
        """The least squares z of XᵀD_i z = ∂penalty/∂w_i over the blocks that are not (nearly) zero."""
        norms = np.linalg.norm(blocks[0], axis=-1)
        used = np.flatnonzero(norms > NEGLIGIBLE * norms.max(initial=0.0))
        if len(used) == 0:
            return np.zeros_like(problem.y)
        masked = patterns.dense[:, used].T[:, :, None] * problem.X[None]
        rows = masked.transpose(0, 2, 1).reshape(-1, problem.n)
        wanted = penalty.subgradient(blocks, np.zeros_like(blocks), problem.beta)[0, used]
        return np.linalg.lstsq(rows, wanted.ravel(), rcond=1e-10)[0]

    def dual_value(self, problem: Problem, z: Vector) -> float:
        """yᵀz."""
        return float(problem.y @ z)

    def into_domain(self, problem: Problem, z: Vector) -> Vector:
        """Z itself."""
        return z

    def free_multiple(self, problem: Problem, z: Vector) -> float:
        """Any: the objective is linear."""
        return np.inf if float(problem.y @ z) > 0 else 0.0

    def scaled_dual(self, problem: Problem, z: Vector, bound: float) -> tuple[float, float]:
        """t = β/B and the proved t yᵀz; 0 where that is negative or B is not finite."""
        if not (np.isfinite(bound) and bound > 0 and np.isfinite(z).all()):
            return 0.0, 0.0
        t = max(0.0, rounding.round_down(Fraction(problem.beta) / Fraction(bound)))
        return max(0.0, rounding.round_down(Fraction(t) * rounding.exact_dot(problem.y, z))), t

    def violation(self, problem: Problem, f: Vector) -> float:
        """The largest |f_i − y_i|."""
        return float(np.abs(f - problem.y).max(initial=0.0))

    def repair(self, problem: Problem, patterns: PatternSet, blocks: Blocks) -> Blocks:
        """The nearest blocks that fit: w_i + XᵀD_i A⁻¹(y − f), A = Σ D_i X Xᵀ D_i.

        Raises
        ------
        SolverError : y cannot be fitted with these patterns.
        """
        X, y, repaired = problem.X, problem.y, blocks
        A = pattern_gram(X, patterns)
        for _ in range(2):  # the second pass removes the rounding of the first
            correction = np.linalg.lstsq(A, y - fit_of(X, patterns, (1.0,), repaired), rcond=1e-13)[0]
            repaired = repaired + correlations_of(X, patterns, (1.0,), correction)
        if self.violation(problem, fit_of(X, patterns, (1.0,), repaired)) > FIT_TOLERANCE * float(np.linalg.norm(y)):
            raise SolverError(
                f"y cannot be fitted exactly with these {len(patterns)} patterns.",
                "Sample more patterns (KP Prop. 3.2 tells how many), and remove repeated rows with different targets.",
            )
        return repaired
