"""The whole program in CVXPY, by SCS."""

from benchmark_utils.adapter import PeerSolver


class Solver(PeerSolver):
    """The whole program in CVXPY, by SCS."""

    name = "SCS"
    peer = "scs"
    sampling_strategy = "tolerance"
    requirements = ["pip::cvxpy", "pip::scs"]  # noqa: RUF012 - benchopt's way
