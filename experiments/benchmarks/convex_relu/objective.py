"""The convex programs of two-layer ReLU training: value, cone violation, and a gap that is proved."""

from benchmark_utils.judge import judge, reference
from benchopt import BaseObjective


class Objective(BaseObjective):
    """½‖Σ D_i X u_i − y‖² + β Σ‖u_i‖ over blocks u_i, in their cones for the relaxed program."""

    name = "Convex ReLU"
    url = "https://arxiv.org/abs/2402.03625"
    parameters = {"program": ["relaxed", "gated"], "ratio": [0.01]}  # noqa: RUF012 - benchopt's way
    min_benchopt_version = "1.6"
    requirements = ["pip::reluopt"]  # noqa: RUF012

    def set_data(self, instance):
        self.problem = instance.program(self.program, self.ratio)
        self.lower = reference(self.problem)

    def evaluate_result(self, blocks):
        verdict = judge(self.problem, blocks, self.lower)
        # benchopt watches ``value``: the distance from the optimum, in whichever way the blocks miss it
        return {"value": max(verdict["gap"], verdict["violation"]), **verdict}

    def get_one_result(self):
        return {"blocks": self.problem.zero_blocks()}

    def get_objective(self):
        return {"problem": self.problem}
