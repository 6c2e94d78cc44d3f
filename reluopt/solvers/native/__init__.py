"""The native solver: semismooth Newton augmented Lagrangian on the dual, with exact projections on the cones."""

from reluopt.solvers.native.path import regularization_path
from reluopt.solvers.native.solver import NativeSolver
from reluopt.solvers.start import blocks_for

__all__ = ["NativeSolver", "blocks_for", "regularization_path"]
