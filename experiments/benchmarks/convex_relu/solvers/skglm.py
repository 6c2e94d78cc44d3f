"""skglm's GroupBCD on the explicit design; gated programs only."""

from benchmark_utils.adapter import PeerSolver


class Solver(PeerSolver):
    """skglm's GroupBCD on the explicit design; gated programs only."""

    name = "skglm"
    peer = "skglm"
    sampling_strategy = "tolerance"
    requirements = ["pip::skglm"]  # noqa: RUF012 - benchopt's way
