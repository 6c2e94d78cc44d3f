"""The whole program in CVXPY, by Clarabel."""

from benchmark_utils.adapter import PeerSolver


class Solver(PeerSolver):
    """The whole program in CVXPY, by Clarabel."""

    name = "Clarabel"
    peer = "clarabel"
    sampling_strategy = "run_once"
    requirements = ["pip::cvxpy", "pip::clarabel"]  # noqa: RUF012 - benchopt's way
