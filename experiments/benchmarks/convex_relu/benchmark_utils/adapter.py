"""A peer as a benchopt solver."""

from __future__ import annotations

from benchopt import BaseSolver

from benchmark_utils import peers


class PeerSolver(BaseSolver):
    """Runs ``peers.SOLVERS[peer]``; a subclass names it and says what it can turn (benchopt's sampling strategy)."""

    peer: str
    sampling_strategy = "tolerance"

    def skip(self, problem):
        if absent := peers.missing(self.peer):
            return True, f"{', '.join(absent)} is not installed"
        if self.peer in peers.GATED_ONLY and problem.has_cones:
            return True, "solves gated programs only"
        return False, None

    def set_objective(self, problem):
        self.problem = problem
        self.blocks = problem.zero_blocks()

    def run(self, effort):
        if self.sampling_strategy == "tolerance":
            effort = min(max(effort, 1e-10), 0.5)
        elif self.sampling_strategy == "iteration":
            effort = max(effort, 1)
        else:
            effort = 1e-8
        self.blocks = peers.SOLVERS[self.peer](self.problem, effort)

    def get_result(self):
        return {"blocks": self.blocks}
