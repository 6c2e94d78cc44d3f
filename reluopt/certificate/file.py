"""Write a certificate file: claims that the evidence proves, in the format of SPEC.md, checked before it is written."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

import reluopt
from reluopt.bounds.bias_forms import LiftedEvidence
from reluopt.bounds.lower_bound import LowerBound
from reluopt.bounds.output_forms import OutputEvidence
from reluopt.certificate import checker
from reluopt.certificate.checker.certificate import POOLING
from reluopt.certificate.packing import evidence_tensors
from reluopt.errors import CertificateError
from reluopt.losses import Loss
from reluopt.problem import Problem, as_problem
from reluopt.rigor import rounding
from reluopt.writing import write_atomically

#: Claims are this much weaker than what was proved here, so that a checker that sums in another order accepts them.
MARGIN = 1e-9
#: A bound of which the checker proves less than this share is a mistake in one of the two.
SHARE = 1 - 1e-6
#: Characters of what informs the reader; a longer record is left out, so that the file stays within SPEC.md's limits.
MAX_ABOUT = 2**20


def write_certificate(
    path: Path,
    X: Any,
    y: Any = None,
    beta: Any = None,
    bound: LowerBound | None = None,
    *,
    network: tuple[Any, ...] | None = None,
    data: dict[str, Any] | None = None,
    about: dict[str, Any] | None = None,
) -> dict[str, float]:
    """Write the certificate of a lower bound and, if given, of a network (U, α); returns its claims.

    Parameters
    ----------
    X, y, beta : a Problem alone, or X (n, d), y (n,) or (n, C) and the weight decay that the bound was proved for.
    bound : the lower bound with its evidence.
    network : (U, α), and c behind them where the problem has an intercept (0 if it is left out), taken as exact
        float64. Without them the certificate claims the bound on p* alone.
    data, about : plain values for the reader (name, preprocessing; how it was made); a checker does not rely on them.

    Raises
    ------
    CertificateError : evidence that the independent checker refuses, with its reason; a network with an intercept for
        a problem that has none; a loss that is not one of SPEC.md's. Nothing is written then.
    """
    problem = as_problem(X, y, beta)
    if not is_checkable(problem.loss.name):
        raise CertificateError(
            f"The independent checker does not know the {problem.loss.name} loss: there is no certificate file of it.",
            "Keep what reluopt.certify says instead; SPEC.md, section 4, has the losses that are checked.",
        )
    if bound is None:
        raise CertificateError("There is no lower bound to certify.", "Give bound=, for example that of moment(...).")
    evidence = bound.evidence
    lifted = isinstance(evidence, LiftedEvidence)
    several = isinstance(evidence.inner if isinstance(evidence, LiftedEvidence) else evidence, OutputEvidence)
    if (several, lifted) != (problem.outputs > 1, problem.biases.first_free):
        raise CertificateError(
            "The bound is of a problem with another number of outputs, or other biases.", "Bound this problem."
        )
    tensors = evidence_tensors(problem.X, bound.evidence) | {"t": np.array([bound.scale])}
    if problem.pooling is not None:
        tensors |= {"v": tensors["z"], "z": bound.z}
        tensors |= dict(zip(POOLING, problem.pooling.arrays, strict=True))
    if problem.is_weighted:
        tensors["weights"] = problem.weights
    if network is not None:
        tensors |= _network_tensors(problem, network)
    record = {"reluopt": reluopt.__version__, "method": bound.method, "seconds": bound.seconds, **(about or {})}
    document = {
        "format": checker.FORMAT,
        "version": _version(problem),
        "problem": _problem_record(problem),
        "evidence": "outputs" if several else "simplices" if "basis" in tensors else "regions",
        "claims": {},
        "about": {**record, "data": data or {}},
    }
    if len(json.dumps(document)) > MAX_ABOUT:
        document["about"] = record | {"data": "left out: too long"}
    claims = _proved_claims(problem, tensors, document, bound)
    write_atomically(path, _packed(document | {"claims": claims}, tensors))
    return claims


def _network_tensors(problem: Problem, network: tuple[Any, ...]) -> dict[str, np.ndarray]:
    U, alpha, *own = (np.asarray(part, dtype=np.float64) for part in network)
    if problem.biases.intercept:
        return {"U": U, "alpha": alpha, "intercept": own[0].reshape(-1) if own else np.zeros(problem.outputs)}
    if any(part.any() for part in own):
        raise CertificateError(
            "The network has an intercept, the problem has none.", "Give the problem biases=Biases(output='free')."
        )
    return {"U": U, "alpha": alpha}


def is_checkable(loss: str) -> bool:
    """Whether the checker knows the loss of that name (a parameter may follow): one from outside it does not."""
    return loss.partition(":")[0] in checker.PARAMETERS


def loss_record(loss: Loss) -> dict[str, Any]:
    """The loss as it stands in the file: its name and its parameter."""
    return {"name": loss.name, **dataclasses.asdict(loss)}


def _version(problem: Problem) -> int:
    """Of the file: the lowest that has what the problem needs."""
    if problem.pooling is not None:
        return checker.WITH_ROWS
    return checker.WITH_BIASES if problem.biases else checker.VERSION


def _problem_record(problem: Problem) -> dict[str, Any]:
    return {
        "n": problem.n,
        "d": problem.d,
        "outputs": problem.outputs,
        "fingerprint": problem.fingerprint,
        "loss": loss_record(problem.loss),
        "weights": problem.is_weighted,
        "beta": problem.beta,
        **({"biases": dataclasses.asdict(problem.biases)} if problem.biases else {}),
        **({} if problem.pooling is None else {"rows": problem.pooling.total}),
    }


def _packed(document: dict[str, Any], tensors: dict[str, np.ndarray]) -> bytes:
    text = json.dumps(document, allow_nan=False, ensure_ascii=False)
    return save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata={"certificate": text})


def _proved_claims(
    problem: Problem, tensors: dict[str, np.ndarray], document: dict[str, Any], bound: LowerBound
) -> dict[str, float]:
    """The claims, from what the checker derives for claims that claim nothing."""
    wanted = {"optimum_at_least": 0.0} | ({"objective_at_most": 1.7e308} if "U" in tensors else {})
    try:
        provisional = checker.parse(_packed(document | {"claims": wanted}, tensors))
        verdict = checker.check(provisional, problem.X, problem.targets)
    except checker.Refused as reason:
        raise CertificateError(
            f"The checker refused the certificate: {reason}.",
            "Scale X and y to usual sizes (SPEC.md allows numbers up to 2^256); if they are, please report this.",
        ) from reason
    assert verdict.lower is not None
    lower = min(bound.value, max(0.0, rounding.round_down(verdict.lower)))
    if lower < bound.value * SHARE:
        raise CertificateError(
            f"The checker proves only {lower!r} of the bound {bound.value!r}.", "Please report this."
        )
    claims = {"optimum_at_least": lower * (1 - MARGIN)}
    if verdict.upper is not None:
        claims["objective_at_most"] = rounding.round_up(verdict.upper) * (1 + MARGIN)
        if not math.isfinite(claims["objective_at_most"]):
            raise CertificateError("The objective of this network overflows.", "Standardise X, or take smaller steps.")
        if claims["optimum_at_least"] > 0:
            ratio = claims["objective_at_most"] / claims["optimum_at_least"] * (1 + MARGIN)
            claims |= {"ratio_at_most": ratio} if math.isfinite(ratio) else {}
    return claims
