r"""All optima at once: which neurons an optimal network may have, the smallest such network, and whether it is alone.

Source: Mishkin & Pilanci, Optimal Sets and Solution Paths of ReLU Networks, ICML 2023 (their code: relu_optimal_sets).

For a strictly convex loss the fit f and the dual point z = −κℓ'(f) are the same for all optima of the convex program
over a pattern set. A block can be nonzero only where the dual constraint is tight, ‖proj_{K_i}(±D_iX)ᵀz‖ = β, and then
only along that projection. So with the unit directions u_k and signs s_k of the tight constraints and the columns
a_k = s_k (X u_k)_+ the optimal networks are, up to splitting neurons, the points of the polytope

.. math:: {w ≥ 0 : Σ_k w_k a_k = f},   neuron k = (√w_k u_k, s_k √w_k),

all with the same Σ w_k, as zᵀa_k = β. Vertices are the networks from which no neuron can be taken. With *all* patterns
of X these are the optimal networks of every width; with some, those of the program over them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import linprog

from reluopt import neurons
from reluopt.errors import ConfigError, DataError
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.patterns.pattern_set import PatternSet
from reluopt.problem import Problem
from reluopt.programs.cones import project
from reluopt.programs.pruning import caratheodory

#: Two directions of one sign whose cosine is above this are one neuron.
SAME = 1.0 - 1e-10
#: Columns are independent where no singular value is below this share of the largest.
INDEPENDENT = 1e-9


@dataclass(frozen=True, eq=False)
class OptimalSet:
    """The neurons that an optimal network may have.

    Attributes
    ----------
    directions : (k, d) unit rows u_k. ``signs`` : (k,) of their output weights.
    columns : (n, k) with a_k = s_k (X u_k)_+. ``fit`` : (n,) the network's f, which Σ w_k a_k = f must meet.
    weights : (k,) those of the network, 0 for neurons that it does not have.
    slack : the largest relative excess of a dual constraint, max ‖proj‖/β − 1: how far z is from feasible.
    """

    directions: Float[np.ndarray, "k d"]
    signs: Float[np.ndarray, " k"]
    columns: Float[np.ndarray, "n k"]
    fit: Float[np.ndarray, " n"]
    weights: Float[np.ndarray, " k"]
    slack: float


@dataclass(frozen=True, eq=False)
class Uniqueness:
    """Whether the polytope of the optimal networks is one point.

    Attributes
    ----------
    unique : True, False, or None where the margins are within rounding.
    witness : (n,) for True: μ with a_kᵀμ = 0 for the neurons of the network and > 0 for all others; with independent
        columns of the network no other w ≥ 0 has the same fit, as 0 = μᵀΣ(w'_k − w_k)a_k > 0 otherwise.
    margin : for True the least a_kᵀμ/‖a_k‖ over the others, with |μ_i| ≤ 1 (inf where there are no others).
    other : for False another network of the same L.
    """

    unique: bool | None
    witness: Float[np.ndarray, " n"] | None
    margin: float
    other: TwoLayerReLU | None


def optimal_set(
    problem: Problem, network: TwoLayerReLU, patterns: PatternSet, *, tolerance: float = 1e-5
) -> OptimalSet:
    """The neurons on which the dual constraints of ``patterns`` are tight at the z of an optimal network.

    Parameters
    ----------
    network : optimal for these patterns, to an accuracy that ``tolerance`` covers.
    patterns : all patterns of X for a statement on all networks; any for one on the program over them.
    tolerance : a constraint is tight where its value is at least β(1 − tolerance).

    Raises
    ------
    ConfigError : a loss without a unique fit (one that is not strictly convex); several outputs, or biases.
    DataError : a network that is not optimal for the patterns: one of its neurons is not on a tight constraint, or a
        constraint is exceeded by more than the tolerance.
    """
    if problem.loss.name not in ("squared", "logistic"):
        raise ConfigError(f"The fit of the {problem.loss.name} loss need not be unique.", "Use squared or logistic.")
    problem.require_one_output("The set of optimal networks")
    X, beta = problem.X, problem.beta
    U, alpha = network.weights()
    fit = problem.predict(U, alpha)
    z = problem.dual_point(fit)
    found, signs, values = [], [], []
    for pattern in patterns.dense.T:
        for sign in (1.0, -1.0):
            point = project(X, pattern, sign * (X.T @ (pattern * z))).point
            found.append(point)
            signs.append(sign)
            values.append(np.linalg.norm(point))
    norms = np.array(values)
    slack = float(norms.max(initial=0.0) / beta - 1.0)
    if slack > tolerance:
        raise DataError(f"A neuron has the price {1 + slack:.9f} β.", "Refine the network first, or widen tolerance.")
    tight = norms >= beta * (1.0 - tolerance)
    W = np.array(found)[tight] / norms[tight, None] if tight.any() else np.zeros((0, problem.d))
    W, s = _distinct(W, np.array(signs)[tight], X)
    weights = _weights_on(problem, U, alpha, W, s, tolerance)
    return OptimalSet(W, s, s * neurons.relu(X @ W.T), fit, weights, slack)


def _distinct(
    W: Float[np.ndarray, "k d"], signs: Float[np.ndarray, " k"], X: Float[np.ndarray, "n d"]
) -> tuple[Float[np.ndarray, "j d"], Float[np.ndarray, " j"]]:
    """One of the directions that several patterns share: a neuron on a kink belongs to the cones on both sides."""
    same = (W @ W.T > SAME) & (signs[:, None] == signs)
    keep = ~np.triu(same, 1).any(axis=0)
    return W[keep], signs[keep]


def _weights_on(
    problem: Problem, U: np.ndarray, alpha: np.ndarray, W: np.ndarray, signs: np.ndarray, tolerance: float
) -> Float[np.ndarray, " k"]:
    """‖u_j‖|α_j| of the network's neurons, each put on the direction of the set that it has."""
    size, weights = neurons.strength(U, alpha), np.zeros(len(W))
    for j in np.flatnonzero(size > tolerance * size.max(initial=0.0)):
        cosines = np.where(signs == np.sign(alpha[j]), W @ U[j] / np.linalg.norm(U[j]), -1.0)
        k = int(cosines.argmax()) if len(W) else -1
        if k < 0 or cosines[k] < 1.0 - np.sqrt(tolerance):
            raise DataError(f"Neuron {j} is on no tight dual constraint.", "Refine the network first.")
        weights[k] += size[j]
    return weights


def minimal_network(problem: Problem, network: TwoLayerReLU) -> TwoLayerReLU:
    """A vertex of the optimal set: the same outputs, L not larger, and columns (Xu_j)_+ that are independent.

    From an optimal network no neuron of the result can be taken without leaving the optimal set. (The vertex with the
    fewest neurons of all is another matter: to find it is NP-hard in general.)
    """
    problem.require_one_output("A minimal network")
    pruned = caratheodory(problem.X, network)
    better = problem.objective(*pruned.weights()) <= problem.objective(*network.weights()) * (1 + 1e-12)
    return pruned if better else network


def uniqueness(problem: Problem, optimal: OptimalSet) -> Uniqueness:
    """Whether {w ≥ 0 : Σ w_k a_k = f} is one point, with a witness either way.

    One linear program: μ maximises the least a_kᵀμ over the neurons that the network does not have, with a_kᵀμ = 0 for
    those that it has. Its dual is a direction δ with Σ δ_k a_k = 0 and δ_k ≥ 0 for the former: another optimum.
    """
    sizes = np.linalg.norm(optimal.columns, axis=0)
    A, used = optimal.columns / np.where(sizes > 0, sizes, 1.0), optimal.weights > 0
    direction = _null_direction(A[:, used])
    if direction is not None:
        delta = np.zeros(A.shape[1])
        delta[used] = direction / sizes[used]
        return Uniqueness(False, None, 0.0, _moved(problem, optimal, delta))
    if used.all():
        return Uniqueness(True, np.zeros(problem.n), np.inf, None)
    n, others = problem.n, A[:, ~used]
    rows = np.hstack([-others.T, np.ones((others.shape[1], 1))])
    equal = np.hstack([A[:, used].T, np.zeros((int(used.sum()), 1))])
    found = linprog(
        np.append(np.zeros(n), -1.0), A_ub=rows, b_ub=np.zeros(len(rows)), A_eq=equal, b_eq=np.zeros(len(equal)),
        bounds=[(-1.0, 1.0)] * n + [(None, 1.0)], method="highs",
    )  # fmt: skip
    if found.status != 0:
        return Uniqueness(None, None, 0.0, None)
    margin = float((others.T @ found.x[:n]).min())
    if margin > 1e-6:
        return Uniqueness(True, found.x[:n], margin, None)
    delta = np.zeros(A.shape[1])
    delta[~used] = np.maximum(-found.ineqlin.marginals, 0.0)
    delta[used] = -np.linalg.lstsq(A[:, used], others @ delta[~used], rcond=None)[0]
    if np.abs(A @ delta).max() > 1e-7 * np.abs(delta).max():
        return Uniqueness(None, None, margin, None)
    return Uniqueness(False, None, margin, _moved(problem, optimal, delta / sizes))


def _null_direction(A: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " k"] | None:
    """A combination of unit columns that vanishes; None where they are independent."""
    if A.shape[1] == 0:
        return None
    _, values, rows = np.linalg.svd(A, full_matrices=True)
    full = len(values) == A.shape[1] and values[-1] > INDEPENDENT * values[0]
    return None if full else rows[-1]


def _moved(problem: Problem, optimal: OptimalSet, delta: Float[np.ndarray, " k"]) -> TwoLayerReLU:
    """The network of w + tδ, t as large as w ≥ 0 allows (of ±δ where both sides are free)."""
    if not (delta < 0).any():
        delta = -delta
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.where(delta < 0, optimal.weights / -delta, np.inf)
    w = np.maximum(optimal.weights + float(steps.min()) * delta, 0.0)
    keep = w > 0
    root = np.sqrt(w[keep])
    return from_weights(root[:, None] * optimal.directions[keep], optimal.signs[keep] * root)
