"""pyscnn: augmented Lagrangian, or R-FISTA for the gated program."""

from benchmark_utils.adapter import PeerSolver


class Solver(PeerSolver):
    """pyscnn: augmented Lagrangian, or R-FISTA for the gated program."""

    name = "pyscnn"
    peer = "pyscnn"
    sampling_strategy = "iteration"
    requirements = ["pip::pyscnn"]  # noqa: RUF012 - benchopt's way
