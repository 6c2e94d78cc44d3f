"""adelie's group lasso on its convex ReLU matrix; cones as linear constraints."""

from benchmark_utils.adapter import PeerSolver


class Solver(PeerSolver):
    """adelie's group lasso on its convex ReLU matrix; cones as linear constraints."""

    name = "adelie"
    peer = "adelie"
    sampling_strategy = "tolerance"
    requirements = ["pip::adelie"]  # noqa: RUF012 - benchopt's way
