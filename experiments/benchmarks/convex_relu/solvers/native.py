"""This project's native solver."""

from benchmark_utils.adapter import PeerSolver


class Solver(PeerSolver):
    """This project's native solver."""

    name = "reluopt"
    peer = "native"
    sampling_strategy = "tolerance"
    requirements = []  # noqa: RUF012 - benchopt's way
