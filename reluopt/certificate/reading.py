"""Bounds from outside, proved again here: those of certificate files, of other packages, of callers.

All go the way of a file: the evidence becomes the tensors of SPEC.md, whose types and shapes the checker's own reading
settles, and whose regions it derives from the tree. What says of itself that it covers all u is not believed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from reluopt.bounds.ball import Ball
from reluopt.bounds.bias_forms import Lift, LiftedEvidence
from reluopt.bounds.evidence import Evidence, Multipliers, Region
from reluopt.bounds.lower_bound import LowerBound, prove
from reluopt.bounds.output_forms import OutputEvidence
from reluopt.bounds.simplices import Simplices
from reluopt.bounds.slopes import Slopes
from reluopt.certificate import checker
from reluopt.certificate.checker.biases import read_lift
from reluopt.certificate.checker.certificate import BYTES, WHOLE
from reluopt.certificate.checker.claims import read_leaves
from reluopt.certificate.checker.leaf import Multipliers as ReadMultipliers
from reluopt.certificate.checker.outputs import read_multipliers
from reluopt.certificate.checker.regions import Leaf
from reluopt.certificate.packing import tensors_of
from reluopt.errors import CertificateError
from reluopt.problem import Problem

#: Types of tensors that are not float64.
KINDS = dict.fromkeys(WHOLE, np.int64) | dict.fromkeys(BYTES, np.uint8)
#: What malformed evidence may raise before its tensors are there to be refused.
MALFORMED = (checker.Refused, checker.CannotCheck, AttributeError, IndexError, KeyError, TypeError, ValueError)


def read_bound(path: Path, problem: Problem) -> LowerBound:
    """The lower bound on p* that a certificate's evidence proves for this problem; its claims are not relied on.

    Raises
    ------
    CertificateError : a file that is no certificate with a bound, or one of other data.
    """
    started = time.perf_counter()
    try:
        content = checker.read_certificate(path)
        if not content.with_evidence:
            raise checker.Refused("it is about a network alone")
        if content.problem.fingerprint != problem.fingerprint:
            raise checker.Refused("it is about other data")
        if (content.problem.biases.output, content.problem.biases.first) != (
            problem.biases.output,
            problem.biases.first,
        ):
            raise checker.Refused("it is about other biases")
        evidence = _evidence_in(content.tensors, problem)
    except MALFORMED as reason:
        raise CertificateError(f"'{path}' holds no bound for this problem: {reason}.", "Certify again.") from reason
    z = None if problem.pooling is None else np.array(content.tensor("z", problem.n, *content.problem.row))
    return prove(problem, evidence, method=_method(path), started=started, z=z)


def proved_again(problem: Problem, bound: LowerBound, method: str) -> LowerBound:
    """What the evidence of a bound proves for this problem, whatever the bound says of itself.

    Raises
    ------
    CertificateError : evidence that is none, or is of data of another shape.
    """
    started = time.perf_counter()
    try:
        tensors = {
            name: np.ascontiguousarray(part, dtype=KINDS.get(name, np.float64))
            for name, part in tensors_of(bound.evidence, problem.d).items()
        }
        evidence = _evidence_in(tensors, problem)
    except MALFORMED as reason:
        raise CertificateError(
            f"The evidence of the {method} bound is none for this problem: {reason}.", "Bound this problem."
        ) from reason
    z = None if problem.pooling is None else np.array(bound.z, dtype=np.float64)
    return prove(problem, evidence, method=method, started=started, z=z)


def _evidence_in(
    tensors: Mapping[str, np.ndarray], problem: Problem
) -> Evidence | OutputEvidence | Simplices | LiftedEvidence:
    """The evidence in the tensors of SPEC.md, sections 2, 9, 10, 11; refused where it does not fit the data."""
    loss = checker.Loss(problem.loss.name, Fraction(0))  # evidence is about X alone
    if problem.pooling is not None and "v" in tensors:
        tensors = {**tensors, "z": tensors["v"]}
    about = checker.Problem(
        len(problem.X), problem.d, problem.fingerprint, loss, problem.is_weighted, problem.beta,
        outputs=problem.outputs, biases=checker.Biases(problem.biases.output, problem.biases.first),
    )  # fmt: skip
    content = checker.Certificate(about, {}, tensors)
    if problem.biases.first_free:
        centre, reach = read_lift(content)
        inner = _for_rows(content)
        if isinstance(inner, Simplices):
            raise checker.Refused("free first-layer biases allow no simplices")
        return LiftedEvidence(inner, Lift(np.array(centre), reach))
    return _for_rows(content)


def _for_rows(content: checker.Certificate) -> Evidence | OutputEvidence | Simplices:
    """The evidence for the rows of X, or for those of section 11."""
    about, tensors = content.problem, content.tensors
    z = np.array(content.tensor("z", about.n, *about.row))
    if about.outputs > 1:
        nu, groups, squares, _ = read_multipliers(content)
        return OutputEvidence(z, np.array(nu), tuple(groups), tuple(squares))
    if "basis" in tensors:
        basis, level = content.tensor("basis", None, about.d), content.tensor("level", 2)
        trees = np.array(content.tensor("plus", None)), np.array(content.tensor("minus", None))
        return Simplices(z, np.array(basis), trees, np.array(level))
    regions = tuple(_region(leaf, [_multipliers(side) for side in sides]) for leaf, sides in read_leaves(content))
    return Evidence(z, np.array(tensors["directions"]), np.array(tensors["tree"]), regions)


def _region(leaf: Leaf, sides: Sequence[Multipliers]) -> Region:
    if len(leaf.signs) == 1:
        return Region.of_sign(leaf.cuts, tuple(leaf.groups), leaf.signs[0], sides[0])
    positive, negative = sides
    return Region(leaf.cuts, tuple(leaf.groups), positive, negative)


def _multipliers(m: ReadMultipliers) -> Multipliers:
    slopes = None
    if m.slopes is not None:
        factor = m.slopes.factor
        lean = None if m.slopes.lean is None else np.array(m.slopes.lean)
        slopes = Slopes(factor[factor.any(axis=1)], np.array(m.slopes.eta), m.slopes.tilt, lean)
    ball = None
    if m.balls is not None:
        span = m.balls[0].span if m.balls else np.zeros((0, m.w.shape[1]))
        ball = Ball(np.array(span), tuple(np.array(own.omega) for own in m.balls), m.spread is not None)
    return Multipliers(np.array(m.w), np.array(m.c), np.array(m.nu), tuple(m.r), slopes, ball)


def _method(path: Path) -> str:
    """How the bound was found, as the file tells its reader."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        about = json.loads(json.loads(file.read(size))["__metadata__"]["certificate"]).get("about")
    method = about.get("method") if isinstance(about, dict) else None
    return method if isinstance(method, str) else "a certificate"
