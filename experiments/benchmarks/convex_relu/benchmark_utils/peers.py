"""The solvers, each a function (program, effort) → blocks (k, P, d), and whether it can be used at all.

An *effort* is what the solver's user turns to get a more accurate answer: a tolerance, or a number of iterations.
``EFFORTS`` lists the values to try, in order of cost, until a tolerance is reached.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np

from reluopt.patterns.pattern_set import PatternSet, activation_patterns
from reluopt.programs.convex import ConvexProgram
from reluopt.solvers import CvxpySolver, NativeSolver, blocks_for
from reluopt.solvers.cvxpy_losses import statement

NEEDS = {
    "native": (),
    "clarabel": ("cvxpy", "clarabel"),
    "clarabel-lazy": ("cvxpy", "clarabel"),
    "scs": ("cvxpy", "scs"),
    "pyscnn": ("scnn", "lab"),
    "celer": ("celer",),
    "skglm": ("skglm",),
    "adelie": ("adelie",),
}
GATED_ONLY = ("celer", "skglm")
#: The losses that a solver takes, where it is not all of them.
LOSSES = {"pyscnn": ("squared",), "celer": ("squared",), "skglm": ("squared",), "adelie": ("squared", "logistic")}


def missing(solver: str) -> list[str]:
    """The packages a solver needs and that are not installed."""
    return [name for name in NEEDS[solver] if importlib.util.find_spec(name) is None]


def efforts(solver: str, tolerance: float) -> list[float]:
    """What to try for a tolerance, cheapest first."""
    if solver in ("native", "clarabel-lazy"):
        return [tolerance]
    if solver == "clarabel":
        return [1e-8]
    if solver == "pyscnn":
        return [2.0**k for k in range(6, 16)]
    return [10.0**-k for k in range(2, 13)]


def native(program: ConvexProgram, effort: float) -> np.ndarray:
    """This project's solver at a proved relative gap."""
    return NativeSolver(tolerance=effort).solve(program).blocks


def clarabel_lazy(program: ConvexProgram, effort: float) -> np.ndarray:
    """This project's CVXPY backend: Clarabel with rows and blocks added lazily."""
    return CvxpySolver(tolerance=effort).solve(program).blocks


def clarabel(program: ConvexProgram, effort: float) -> np.ndarray:
    """The whole program as one would write it in CVXPY, solved by Clarabel."""
    import cvxpy as cp

    problem, variables = _cvxpy_statement(program)
    problem.solve(solver=cp.CLARABEL, tol_gap_rel=effort, tol_gap_abs=effort, tol_feas=effort)
    return np.stack([v.value.T for v in variables])


def scs(program: ConvexProgram, effort: float) -> np.ndarray:
    """The same statement, solved by SCS."""
    import cvxpy as cp

    problem, variables = _cvxpy_statement(program)
    problem.solve(solver=cp.SCS, eps=effort, max_iters=1_000_000)
    return np.stack([v.value.T for v in variables])


def _cvxpy_statement(program: ConvexProgram):
    import cvxpy as cp

    k, count, d = program.shape
    variables = [cp.Variable((d, count)) for _ in range(k)]
    masks, signs = program.patterns.dense.astype(float), program.patterns.signs
    difference = variables[0] - variables[1] if k == 2 else variables[0]
    fit = cp.sum(cp.multiply(masks, program.X @ difference), axis=1)
    penalty = sum(cp.sum(cp.norm(v, 2, axis=0)) for v in variables)
    rows = [cp.multiply(signs, program.X @ v) >= 0 for v in variables] if program.has_cones else []
    loss = statement(program.problem.loss, fit, program.y, program.problem.weights)
    return cp.Problem(cp.Minimize(loss + program.beta * penalty), rows), variables


def pyscnn(program: ConvexProgram, effort: float) -> np.ndarray:
    """pyscnn's augmented Lagrangian (R-FISTA for the gated program); its loss is ½‖·‖²/n, so its λ is β/n."""
    from scnn.metrics import Metrics
    from scnn.models import ConvexGatedReLU, ConvexReLU
    from scnn.optimize import optimize_model
    from scnn.regularizers import NeuronGL1
    from scnn.solvers import AL, RFISTA

    n = len(program.y)
    model = (ConvexReLU if program.has_cones else ConvexGatedReLU)(program.patterns.gates)
    if program.has_cones:
        solver = AL(model, max_primal_iters=int(effort), max_dual_iters=int(effort), tol=1e-12, constraint_tol=1e-12)
    else:
        solver = RFISTA(model, max_iters=int(effort), tol=1e-16)
    model, _ = optimize_model(
        model, solver, Metrics(), program.X, program.y[:, None], regularizer=NeuronGL1(program.beta / n),
        return_convex=True, unitize_data=False, device="cpu", dtype="float32",
    )  # fmt: skip
    blocks = np.stack([np.asarray(p, dtype=np.float64)[0] for p in model.parameters])
    # it sorts the patterns, and its gates with them
    bits = np.packbits(activation_patterns(program.X, np.asarray(model.G, dtype=np.float64)).T, axis=1)
    return blocks_for(program.patterns, blocks, PatternSet(bits, n))


def celer(program: ConvexProgram, effort: float) -> np.ndarray:
    """celer's GroupLasso on the explicit design; its loss is ½‖·‖²/n."""
    from celer import GroupLasso

    _, count, d = program.shape
    model = GroupLasso(groups=d, alpha=program.beta / len(program.y), tol=effort, fit_intercept=False, max_iter=1000)
    return model.fit(_design(program), program.y).coef_.reshape(1, count, d)


def skglm(program: ConvexProgram, effort: float) -> np.ndarray:
    """skglm's GroupBCD (0.5 or newer, which compiles by itself) on the explicit design."""
    from skglm.datafits import QuadraticGroup
    from skglm.penalties import WeightedGroupL2
    from skglm.solvers import GroupBCD
    from skglm.utils.data import grp_converter

    _, count, d = program.shape
    indices, pointer = grp_converter(d, count * d)
    datafit = QuadraticGroup(pointer, indices)
    penalty = WeightedGroupL2(program.beta / len(program.y), np.ones(count), pointer, indices)
    design = _design(program)
    solution = GroupBCD(tol=effort, fit_intercept=False, max_iter=1000).solve(design, program.y, datafit, penalty)
    return solution[0].reshape(1, count, d)


def adelie(program: ConvexProgram, effort: float) -> np.ndarray:
    """adelie's group lasso on its convex ReLU matrix, cones as linear constraints; its losses have 1/n."""
    import adelie as ad

    k, count, d = program.shape
    X, masks = np.asfortranarray(program.X), np.asfortranarray(program.patterns.dense)
    constraints = None
    if program.has_cones:
        unlimited, zero = np.full(len(X), np.inf), np.zeros(len(X))
        rows = [np.ascontiguousarray(signs[:, None] * X) for signs in program.patterns.signs.T]
        constraints = [ad.constraint.linear(A, zero, unlimited) for _ in range(k) for A in rows]
    if program.problem.loss.name == "logistic":
        glm = ad.glm.binomial((program.y + 1) / 2, dtype=np.float64)
    else:
        glm = ad.glm.gaussian(program.y, dtype=np.float64)
    state = ad.grpnet(
        ad.matrix.convex_relu(X, masks, gated=not program.has_cones),
        glm,
        constraints=constraints, groups=d * np.arange(k * count), penalty=np.ones(k * count),
        lmda_path=np.array([program.beta / len(X)]), intercept=False, early_exit=False, tol=effort,
        progress_bar=False,
    )  # fmt: skip
    return state.betas[-1].toarray().reshape(k, count, d)


def _design(program: ConvexProgram) -> np.ndarray:
    """[D_1 X, …, D_P X], (n, Pd) in Fortran order."""
    design = program.patterns.dense[:, :, None] * program.X[:, None, :]
    return np.asfortranarray(design.reshape(len(program.y), -1))


SOLVERS: dict[str, Callable[[ConvexProgram, float], np.ndarray]] = {
    "native": native,
    "clarabel": clarabel,
    "clarabel-lazy": clarabel_lazy,
    "scs": scs,
    "pyscnn": pyscnn,
    "celer": celer,
    "skglm": skglm,
    "adelie": adelie,
}
