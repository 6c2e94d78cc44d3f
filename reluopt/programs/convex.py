r"""A convex program over a pattern set: a problem, its patterns, and three choices.

.. math:: min Σ_i κ_i ℓ(f_i, y_i) + penalty(u),  f = Σ_side ± Σ_i D_i X u_i

========= ================ ============ ============
name      penalty          blocks       fit
========= ================ ============ ============
relaxed   ``GroupNorm``    ``InCones``  ``LossFit``
gated     ``GroupNorm``    ``Free``     ``LossFit``
ridge     ``SquaredNorm``  ``Free``     ``LossFit``
equality  ``GroupNorm``    ``Free``     ``ExactFit``
========= ================ ============ ============

With C > 1 outputs a block is a matrix: relaxed programs have ``NeuronNorm`` and ``NeuronsInCones``, gated ones
``NuclearNorm`` and ``FreeMatrices`` (``matrices.py``), the others are not there.

A *block* is one vector of R^d for one pattern D_i and one side (sign of the output weight). Blocks are kept in one
array of shape (k, P, d): k = 2 sides (v with +, w with −) in cones, else k = 1. The n × dP design matrix is never
formed: one product X·Bᵀ, then the pattern mask. Source: KP eq. (2) to (6), Thm 3.4; any loss by its conjugate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar, TypeVar

import numpy as np
from jaxtyping import Float

from reluopt.errors import ConfigError, DataError
from reluopt.gate import is_data
from reluopt.patterns.pattern_set import PatternSet
from reluopt.problem import Problem, as_problem
from reluopt.programs.fits import ExactFit, LossFit
from reluopt.programs.matrices import FreeMatrices, NeuronNorm, NuclearNorm
from reluopt.programs.penalties import GroupNorm, Penalty, SquaredNorm
from reluopt.programs.places import Free, InCones
from reluopt.rigor import rounding

Program = TypeVar("Program", bound="ConvexProgram")


@dataclass(frozen=True, eq=False)
class ConvexProgram:
    """A convex program; see the module for its choices.

    Parameters
    ----------
    problem : the training problem: data, loss, weights, β.
    patterns : P patterns of the problem's samples.
    penalty : what the blocks cost. ``blocks`` : where they may lie. ``fit`` : how f is held to the targets.

    Raises
    ------
    DataError : patterns of another number of samples.
    ConfigError : no pattern, choices that do not go together, several outputs.
    """

    problem: Problem
    patterns: PatternSet
    penalty: Penalty = field(default_factory=GroupNorm)
    blocks: InCones | Free | FreeMatrices = field(default_factory=InCones)
    fit: LossFit | ExactFit = field(default_factory=LossFit)

    name: ClassVar[str] = "convex"

    def __post_init__(self) -> None:
        self.problem.require_unpooled("A convex program")
        several = isinstance(self.penalty, NuclearNorm | NeuronNorm)
        self._require_biases()
        if not several:
            self.problem.require_one_output(f"A {self.name} program with the {self.penalty.name}", biases=True)
        elif self.problem.outputs == 1 or self.exact_fit:
            raise ConfigError("Matrices as blocks are for several outputs and a loss.", "Use another penalty.")
        if self.patterns.n != self.problem.n:
            raise DataError(
                f"X has {self.problem.n} rows, the patterns are of {self.patterns.n} samples.",
                "Give data and patterns of the same samples.",
            )
        if len(self.patterns) == 0:
            raise ConfigError("The pattern set is empty.", "Sample at least one pattern.")
        squared = self.problem.loss.name == "squared" and not self.problem.is_weighted
        if isinstance(self.penalty, SquaredNorm) and (self.has_cones or self.exact_fit or not squared):
            raise ConfigError(
                "The squared norm (ridge) is for the squared loss without sample weights and without cones.",
                "Use RelaxedProgram or GatedProgram for other losses and for weights.",
            )
        if self.exact_fit and self.has_cones:
            raise ConfigError("An exact fit has no cones here.", "Use EqualityProgram, which is gated.")

    def _require_biases(self) -> None:
        """Refuse biases of the problem's own where they would make another program.

        A free bias of a block without a cone is a step along its pattern that costs nothing.
        """
        first = self.problem.biases.first_free
        known = isinstance(self.penalty, GroupNorm | NuclearNorm | NeuronNorm)
        if not known or self.exact_fit or (first and not self.has_cones):
            self.problem.require_no_biases(f"A {self.name} program with the {self.penalty.name}")
        elif getattr(self.penalty, "free", 0) != int(first):
            raise ConfigError(
                "The penalty is for other biases.", "Make the program anew, as RelaxedProgram(problem, S)."
            )

    # -- the parts ---------------------------------------------------------------------------------------------------

    @property
    def X(self) -> Float[np.ndarray, "n d"]:
        """The features."""
        return self.problem.X

    @property
    def y(self) -> Float[np.ndarray, "n ..."]:
        """The targets."""
        return self.problem.targets

    @property
    def beta(self) -> float:
        """The weight decay."""
        return self.problem.beta

    @property
    def sides(self) -> tuple[float, ...]:
        """The sign of each side's contribution to the fit."""
        return self.blocks.sides

    @property
    def has_cones(self) -> bool:
        """Whether each block must lie in the cone of its pattern."""
        return self.blocks.cones

    @property
    def exact_fit(self) -> bool:
        """Whether the fit must equal y, instead of being close to it."""
        return self.fit.exact

    @property
    def shape(self) -> tuple[int, ...]:
        """(k, P, d): the shape of the blocks; of several outputs see ``matrices.py``."""
        return self.blocks.shape(len(self.patterns), self.problem.d, self.problem.outputs)

    def with_beta(self: Program, beta: Any) -> Program:
        """The same program at another weight decay."""
        return self._changed(self.problem.with_beta(beta), self.patterns)

    def with_patterns(self: Program, patterns: PatternSet) -> Program:
        """The same program over another pattern set."""
        return self._changed(self.problem, patterns)

    def with_problem(self: Program, problem: Problem) -> Program:
        """The same program of another problem with the same samples."""
        return self._changed(problem, self.patterns)

    def _changed(self: Program, problem: Problem, patterns: PatternSet) -> Program:
        made = object.__new__(type(self))
        ConvexProgram.__init__(made, problem, patterns, self.penalty, self.blocks, self.fit)
        return made

    # -- the primal side ---------------------------------------------------------------------------------------------

    def zero_blocks(self) -> Float[np.ndarray, "k P ..."]:
        """All blocks zero: the zero network."""
        return np.zeros(self.shape)

    def preactivations(self, blocks: Float[np.ndarray, "k P ..."]) -> Float[np.ndarray, "k n P"]:
        """X u for every block u."""
        return self.X @ blocks.transpose(0, 2, 1)

    def predict(self, blocks: Float[np.ndarray, "k P ..."]) -> Float[np.ndarray, "n ..."]:
        """f = Σ_side ± Σ_i D_i X u_i."""
        return self.blocks.fit(self.X, self.patterns, blocks)

    def value(self, blocks: Float[np.ndarray, "k P ..."]) -> float:
        """Loss and penalty. Feasibility is a separate question: see ``cone_violation``."""
        return self.fit.value(self.problem, self.predict(blocks)) + self.penalty.value(blocks, self.beta)

    def gradient(self, blocks: Float[np.ndarray, "k P ..."]) -> Float[np.ndarray, "k P ..."]:
        """The smallest subgradient of the value by each block (constraints aside): that of the penalty minus ± XᵀD_i z.

        At a zero block −(± XᵀD_i z) is shrunk by β, so without cones the gradient vanishes exactly at an optimum.
        """
        slope = self.fit.slope(self.problem, self.predict(blocks))
        return self.penalty.subgradient(blocks, self.correlations(slope), self.beta)

    def cone_violation(self, blocks: Float[np.ndarray, "k P ..."]) -> float:
        """How far the blocks are from feasible: of (2D_i − I) X u_i ≥ 0, or of f = y; 0 without constraints."""
        outside = self.blocks.violation(self.X, self.patterns, blocks)
        return max(outside, self.fit.violation(self.problem, self.predict(blocks))) if self.exact_fit else outside

    def repair(self, blocks: Float[np.ndarray, "k P ..."]) -> Float[np.ndarray, "k P ..."]:
        """Feasible blocks near the given ones.

        Raises
        ------
        SolverError : an exact fit that these patterns do not allow.
        """
        return self.fit.repair(self.problem, self.patterns, self.blocks.repair(self.X, self.patterns, blocks))

    # -- the dual side -----------------------------------------------------------------------------------------------

    def correlations(self, z: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "k P ..."]:
        """± Xᵀ D_i z for every side and pattern: minus the gradient of the loss by each block, where z is its slope."""
        return self.blocks.correlations(self.X, self.patterns, z)

    def dual_point(self, blocks: Float[np.ndarray, "k P ..."]) -> Float[np.ndarray, "n ..."]:
        """A dual candidate that belongs to the blocks; optimal where they are and the loss has a derivative."""
        return self.fit.dual_point(self.problem, self.patterns, self.penalty, blocks, self.predict(blocks))

    @property
    def dual_radius(self) -> float:
        """What the dual norm of every block must stay within: β (``inf`` where the dual has no constraint)."""
        return self.penalty.radius(self.beta)

    def dual_value(self, z: Float[np.ndarray, "n ..."]) -> float:
        """The dual objective; a bound on the optimum where z is feasible (see ``dual_violation``)."""
        return self.fit.dual_value(self.problem, z) - self.penalty.dual_cost(self.correlations(z), self.beta)

    def scaled_dual(self, z: Float[np.ndarray, "n ..."], bound: float) -> tuple[float, float]:
        """(value, t): the best dual value of a multiple tz, proved, given a proved ``bound`` on all block norms.

        A penalty from outside proves nothing, (0, 0), unless its program says here what z proves.
        """
        if isinstance(self.penalty, SquaredNorm):
            return scaled_ridge_dual(self.problem, z, self.correlations(z))
        if type(self.penalty) not in (GroupNorm, NuclearNorm, NeuronNorm):
            return 0.0, 0.0
        return self.fit.scaled_dual(self.problem, z, bound)


def scaled_ridge_dual(
    problem: Problem, z: Float[np.ndarray, " n"], correlations: Float[np.ndarray, "k P d"]
) -> tuple[float, float]:
    """For the squared loss with the squared norm: t = yᵀz/(‖z‖² + β⁻¹Σ‖XᵀD_i z‖²), and its value, proved."""
    sizes = rounding.norm_upper(correlations, rounding.correlation_error(problem.X, z))
    if not (np.isfinite(sizes).all() and np.isfinite(z).all() and z.any()):
        return 0.0, 0.0
    squares = sum(Fraction(float(s)) ** 2 for s in sizes.ravel())
    curvature = rounding.exact_dot(z, z) + squares / Fraction(problem.beta)
    slope = rounding.exact_dot(problem.y, z)
    t = Fraction(max(0.0, rounding.round_down(slope / curvature)))
    return max(0.0, rounding.round_down(t * slope - t * t * curvature / 2)), float(t)


def problem_and_patterns(
    X: Any, y: Any, patterns: Any, beta: Any, loss: Any, weights: Any
) -> tuple[Problem, PatternSet]:
    """(problem, patterns) from (problem, patterns), (data set, patterns) with β, or (X, y, patterns, β).

    Raises
    ------
    ConfigError : neither of the two, or patterns that are none. DataError : data that cannot be used.
    """
    if isinstance(X, Problem) or is_data(X):
        y, patterns = (None, y) if patterns is None else (y, patterns)
    if not isinstance(patterns, PatternSet):
        raise ConfigError(
            f"The patterns are {type(patterns).__name__}, not a PatternSet.",
            "Give (problem, patterns) or (X, y, patterns, beta); make patterns with sample_patterns or PatternSet.",
        )
    return as_problem(X, y, beta, loss=loss, weights=weights), patterns
