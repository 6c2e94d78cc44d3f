"""The part of a certificate that is above p*: the network itself, and what its model's biases make of it."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from reluopt import printing
from reluopt.certificate.case import Case
from reluopt.certificate.estimates import Biases, Estimate, Quantity, Relation, Status
from reluopt.errors import CertificateError
from reluopt.network import TwoLayerReLU
from reluopt.problem import Problem


def checked_weights(
    network: TwoLayerReLU, problem: Problem, initial_U: Float[np.ndarray, "m d"] | None
) -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, "m ..."], Float[np.ndarray, ...]]:
    """(U, α, c) of a network that fits the problem; c is 0 where it has none."""
    if network.d != problem.d:
        raise CertificateError(
            f"The network takes {network.d} inputs, the data have {problem.d} columns.",
            "Use the data the network was trained on (with the ones column of a bias).",
        )
    if network.outputs != problem.outputs:
        raise CertificateError(
            f"The network has {network.outputs} outputs, the targets have {problem.outputs}.",
            "Use the targets the network was trained on.",
        )
    if network.intercept is not None and not problem.biases.intercept:
        raise CertificateError(
            "The network has an intercept, the problem has none.", "Give the problem biases=Biases(output='free')."
        )
    U, alpha, *own = network.weights()
    intercept = own[0] if own else np.zeros(alpha.shape[1:])
    if initial_U is not None and initial_U.shape != U.shape:
        raise CertificateError(
            f"The initial weights have shape {initial_U.shape}, the network's {U.shape}.", "Give those of the same run."
        )
    if not (np.isfinite(U).all() and np.isfinite(alpha).all() and np.isfinite(intercept).all()):
        raise CertificateError("The network has weights that are NaN or infinite.", "Train with a smaller step size.")
    return U, alpha, intercept


def network_estimates(case: Case) -> list[Estimate]:
    """L_bal ≤ L(θ), both rounded up."""
    with np.errstate(over="ignore", invalid="ignore"):
        upper = case.problem.objective_upper(case.U, case.alpha, case.intercept)
        balanced = case.problem.objective_upper(*case.problem.balanced(case.U, case.alpha), case.intercept)
    if not (math.isfinite(upper) and math.isfinite(balanced)):
        raise CertificateError(
            "The objective of this network overflows.", "Standardise X, or train with smaller steps."
        )
    return [
        Estimate(
            "balanced", "L_bal, neurons balanced", Quantity.BALANCED, Relation.AT_MOST, min(balanced, upper),
            Status.PROVED, "network", "the same function with every neuron scaled to ‖u‖ = |α|",
        ),
        Estimate(
            "objective", "L(θ), the network", Quantity.OBJECTIVE, Relation.AT_MOST, upper, Status.PROVED, "network",
            "the network as it is",
        ),
    ]  # fmt: skip


def own_objectives(case: Case, network: TwoLayerReLU, objective: float) -> Biases | None:
    """The own objectives of a converted model, beside L; None where its biases make no difference."""
    # where the problem has biases L is the model's own objective
    own = None if case.problem.biases else network.own_objectives(objective, case.problem.beta)
    if own is None:
        return None
    case.notes.append(
        f"the model has biases, which L (here {printing.above(objective)}) charges like weights. Its own objective is "
        f"{printing.nearest(own[0])} if its training decays all biases and {printing.nearest(own[1])} if it decays "
        "none. The bounds are on L: they hold for the model's own objective only where that is L."
    )
    return Biases(*own)
