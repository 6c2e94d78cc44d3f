"""Write a certificate file: claims that the evidence proves, in the format of SPEC.md, checked before it is written."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float
from safetensors.numpy import save

import reluopt
from reluopt.bounds.bias_forms import LiftedEvidence
from reluopt.bounds.evidence import Evidence, Multipliers, Region
from reluopt.bounds.lower_bound import LowerBound
from reluopt.bounds.output_forms import OutputEvidence
from reluopt.bounds.region_forms import Geometry
from reluopt.bounds.simplices import Simplices
from reluopt.bounds.slopes import Slopes
from reluopt.certificate import checker
from reluopt.certificate.checker.certificate import POOLING
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

T = TypeVar("T", Multipliers, OutputEvidence)
AnyEvidence = Evidence | OutputEvidence | Simplices | LiftedEvidence


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
        a problem that has none. Nothing is written then.
    """
    problem = as_problem(X, y, beta)
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


def evidence_tensors(X: Float[np.ndarray, "n d"], evidence: AnyEvidence) -> dict[str, np.ndarray]:
    """The evidence as the tensors of SPEC.md, sections 2, 9, 10, 11 (all but ``t``), with the best levels."""
    if isinstance(evidence, Simplices):
        return tensors_of(evidence, X.shape[1])
    if isinstance(evidence, LiftedEvidence):
        evidence = dataclasses.replace(evidence, inner=_within_domain(evidence.inner))
        pairs = np.array(evidence.levels(X)).T
        level = pairs[0] if isinstance(evidence.inner, OutputEvidence) else pairs[0][:, None]
        return tensors_of(evidence, X.shape[1]) | {"level": level, "spread": pairs[1]}
    return tensors_of(evidence, X.shape[1]) | {"level": _levels(X, _within_domain(evidence))}


def tensors_of(evidence: AnyEvidence, d: int) -> dict[str, np.ndarray]:
    """The same with levels of 0, which asks for no eigenvalues; simplicial cones have their levels."""
    if isinstance(evidence, Simplices):
        plus, minus = evidence.trees
        return {"z": evidence.z, "basis": evidence.basis, "plus": plus, "minus": minus, "level": evidence.level}
    if isinstance(evidence, LiftedEvidence):
        inner = tensors_of(evidence.inner, d)
        own = {"centre": evidence.lift.centre, "reach": np.array([evidence.lift.reach])}
        return inner | own | {"spread": np.zeros(inner["level"].size)}
    evidence = _within_domain(evidence)
    if isinstance(evidence, OutputEvidence):
        return {
            "z": evidence.z,
            "groups": np.array([len(group) for group in evidence.groups], dtype=np.int64),
            "paired": np.concatenate([np.zeros(0, dtype=np.int64), *evidence.groups]),
            "nu": evidence.nu,
            "r": np.concatenate([np.zeros(0), *(r.ravel() for r in evidence.r)]),
            "level": np.zeros(1),
        }
    sides = [[r.positive for r in evidence.regions], [r.negative for r in evidence.regions]]
    groups = [(i, group) for i, r in enumerate(evidence.regions) for group in r.groups]
    return (
        _slopes(sides, (len(evidence.z), d))
        | _ball(sides, evidence.regions, d)
        | {
            "z": evidence.z,
            "directions": evidence.directions,
            "tree": evidence.tree.astype(np.int64),
            "groups": np.array([(i, len(group)) for i, group in groups], dtype=np.int64).reshape(-1, 2),
            "paired": np.concatenate([np.zeros(0, dtype=np.int64), *(group for _, group in groups)]),
            "w": np.stack([np.concatenate([m.w for m in side]) for side in sides]),
            "c": np.stack([np.concatenate([m.c for m in side]) for side in sides]),
            "nu": np.stack([np.stack([m.nu for m in side]) for side in sides]),
            "r": np.stack([np.concatenate([*(r.ravel() for m in side for r in m.r), np.zeros(0)]) for side in sides]),
            "level": np.zeros((2, len(evidence.regions))),
        }
    )


def _levels(X: Float[np.ndarray, "n d"], evidence: Evidence | OutputEvidence) -> np.ndarray:
    """λmax(M) of every sign and leaf, or the one of several outputs."""
    if isinstance(evidence, OutputEvidence):
        return np.array([evidence.level(X)])
    found = []
    for r in evidence.regions:
        geometry = Geometry.of(X, r.cuts, r.groups)
        found.append((geometry.level(evidence.z, r.positive), geometry.level(-evidence.z, r.negative)))
    return np.array(found).T


def _slopes(sides: list[list[Multipliers]], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """The tensors of affine slopes, if any region has them; factors get rows of zeros up to the longest."""
    every = [[m.slopes or Slopes(np.zeros((0, shape[1])), np.zeros(shape[0]), 0.0) for m in side] for side in sides]
    if all(m.slopes is None for side in sides for m in side):
        return {}
    most = max(len(slopes.factor) for side in every for slopes in side)
    factors = [[np.pad(slopes.factor, ((0, most - len(slopes.factor)), (0, 0))) for slopes in side] for side in every]
    return {
        "factor": np.stack([np.concatenate(side) for side in factors]),
        "eta": np.stack([np.stack([slopes.eta for slopes in side]) for side in every]),
        "tilt": np.array([[slopes.tilt for slopes in side] for side in every]),
    }


def _ball(sides: list[list[Multipliers]], regions: Sequence[Region], d: int) -> dict[str, np.ndarray]:
    """The tensors of ball products, if any region has them; spans get rows of zeros up to the longest."""
    if all(m.ball is None for side in sides for m in side):
        return {}
    most = max(len(m.ball.span) for side in sides for m in side if m.ball is not None)
    spans, omegas = [], []
    for side in sides:
        span, omega = np.zeros((len(regions), most, d)), [np.zeros((0, most))]
        for number, (m, region) in enumerate(zip(side, regions, strict=True)):
            if m.ball is None:
                forms = 1 + len(region.cuts)
                omega += [np.zeros((forms + 2 * len(group), most)) for group in region.groups]
                continue
            span[number, : len(m.ball.span)] = m.ball.span
            omega += [np.pad(part, ((0, 0), (0, most - part.shape[1]))) for part in m.ball.omega]
        spans.append(span.reshape(-1, d))
        omegas.append(np.concatenate(omega))
    return {"span": np.stack(spans), "ball": np.stack(omegas)}


def _within_domain(evidence: Evidence | OutputEvidence) -> Evidence | OutputEvidence:
    """ν above 0 is at least 2⁻²⁵⁶ in a file; a larger ν is always allowed, and any ν proves something."""

    def raised(part: T) -> T:
        tiny = (part.nu > 0) & (part.nu < 2.0**-256)
        return dataclasses.replace(part, nu=np.where(tiny, 2.0**-256, part.nu)) if tiny.any() else part

    if isinstance(evidence, OutputEvidence):
        return raised(evidence)
    regions = (
        dataclasses.replace(r, positive=raised(r.positive), negative=raised(r.negative)) for r in evidence.regions
    )
    return dataclasses.replace(evidence, regions=tuple(regions))
