"""celer's GroupLasso on the explicit design; gated programs only."""

from benchmark_utils.adapter import PeerSolver


class Solver(PeerSolver):
    """celer's GroupLasso on the explicit design; gated programs only."""

    name = "celer"
    peer = "celer"
    sampling_strategy = "tolerance"
    requirements = ["pip::celer"]  # noqa: RUF012 - benchopt's way
