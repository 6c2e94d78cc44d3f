"""The bound of a certificate file, proved again: the inverse of :func:`reluopt.certificate.file.evidence_tensors`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from reluopt.bounds.evidence import Evidence, Multipliers, Region
from reluopt.bounds.lower_bound import LowerBound, prove
from reluopt.bounds.output_forms import OutputEvidence
from reluopt.bounds.slopes import Slopes
from reluopt.certificate import checker
from reluopt.certificate.checker.certificate import EVIDENCE, EVIDENCE_OF_OUTPUTS, SLOPES
from reluopt.certificate.checker.outputs import read_groups
from reluopt.certificate.checker.regions import Leaf, read_regions
from reluopt.errors import CertificateError
from reluopt.problem import Problem


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
        several = content.problem.outputs > 1
        evidence = evidence_of_outputs(content.tensors) if several else evidence_of(content.tensors)
    except (checker.Refused, checker.CannotCheck, KeyError, ValueError, IndexError) as reason:
        raise CertificateError(f"'{path}' holds no bound for this problem: {reason}.", "Certify again.") from reason
    return prove(problem, evidence, method=_method(path), started=started)


def evidence_of_outputs(tensors: Mapping[str, np.ndarray]) -> OutputEvidence:
    """The evidence that stands in the tensors of SPEC.md, section 9."""
    t = {name: np.array(tensors[name]) for name in EVIDENCE_OF_OUTPUTS}
    groups, squares = read_groups(t["groups"], t["paired"], len(t["z"]))
    r = (t["r"][at].reshape(2 * len(group), 2 * len(group)) for group, at in zip(groups, squares, strict=True))
    return OutputEvidence(t["z"], t["nu"], tuple(groups), tuple(r))


def evidence_of(tensors: Mapping[str, np.ndarray]) -> Evidence:
    """The evidence that stands in the tensors of SPEC.md, section 2."""
    t = {name: np.array(tensors[name]) for name in (*EVIDENCE, *(name for name in SLOPES if name in tensors))}
    leaves = read_regions(t["tree"], t["directions"], t["groups"], t["paired"], len(t["z"]))
    regions = tuple(
        Region(leaf.cuts, tuple(leaf.groups), _multipliers(t, leaf, 0), _multipliers(t, leaf, 1)) for leaf in leaves
    )
    return Evidence(t["z"], t["directions"], t["tree"], regions)


def _multipliers(t: Mapping[str, np.ndarray], leaf: Leaf, side: int) -> Multipliers:
    sizes = [1 + len(leaf.cuts) + 2 * len(group) for group in leaf.groups]
    r = tuple(t["r"][side, part].reshape(size, size) for part, size in zip(leaf.squares, sizes, strict=True))
    slopes = None
    if "eta" in t:
        leaves = t["eta"].shape[1]
        factor = t["factor"][side].reshape(leaves, -1, t["factor"].shape[2])[leaf.number]
        slopes = Slopes(factor[factor.any(axis=1)], t["eta"][side, leaf.number], float(t["tilt"][side, leaf.number]))
    return Multipliers(t["w"][side, leaf.forms], t["c"][side, leaf.forms], t["nu"][side, leaf.number], r, slopes)


def _method(path: Path) -> str:
    """How the bound was found, as the file tells its reader."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        about = json.loads(json.loads(file.read(size))["__metadata__"]["certificate"]).get("about")
    method = about.get("method") if isinstance(about, dict) else None
    return method if isinstance(method, str) else "a certificate"
