"""This project's CVXPY backend, rows added lazily."""

from benchmark_utils.adapter import PeerSolver


class Solver(PeerSolver):
    """This project's CVXPY backend, rows added lazily."""

    name = "reluopt-lazy-Clarabel"
    peer = "clarabel-lazy"
    sampling_strategy = "tolerance"
    requirements = ["pip::cvxpy", "pip::clarabel"]  # noqa: RUF012 - benchopt's way
