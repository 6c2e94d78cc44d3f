"""Write a certificate file: claims that the evidence proves, in the format of SPEC.md, checked before it is written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors.numpy import save

import reluopt
from reluopt import rounding
from reluopt.bounds.evidence import Evidence
from reluopt.bounds.lower_bound import LowerBound
from reluopt.bounds.theorem_a import Geometry
from reluopt.certificate import checker
from reluopt.errors import CertificateError

#: Claims are this much weaker than what was proved here, so that a checker that sums in another order accepts them.
MARGIN = 1e-9


def write_certificate(
    path: Path,
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    beta: float,
    bound: LowerBound,
    *,
    network: tuple[Float[np.ndarray, "m d"], Float[np.ndarray, " m"]] | None = None,
    data: dict[str, Any] | None = None,
    about: dict[str, Any] | None = None,
) -> dict[str, float]:
    """Write the certificate of a lower bound and, if given, of a network (U, α); returns its claims.

    Parameters
    ----------
    X, y, beta : the data (n, d), (n,), float64, and the weight decay that the bound was proved for.
    network : weights taken as exact float64. Without them the certificate claims the bound on p* alone.
    data, about : plain values for the reader (name, preprocessing; how it was made); a checker does not rely on them.

    Raises
    ------
    CertificateError : evidence that the independent checker refuses, with its reason; nothing is written then.
    """
    tensors = evidence_tensors(X, bound.evidence)
    claims = {"optimum_at_least": bound.value * (1 - MARGIN)}
    if network is not None:
        U, alpha = (np.ascontiguousarray(part, dtype=np.float64) for part in network)
        tensors |= {"U": U, "alpha": alpha}
        upper = rounding.objective_upper(X, y, U, alpha, beta) * (1 + MARGIN)
        if not math.isfinite(upper):
            raise CertificateError("The objective of this network overflows.", "Standardise X, or take smaller steps.")
        claims["objective_at_most"] = upper
        if claims["optimum_at_least"] > 0:
            claims["ratio_at_most"] = upper / claims["optimum_at_least"] * (1 + MARGIN)
    identity = {"n": X.shape[0], "d": X.shape[1], "fingerprint": checker.fingerprint(X, y)}
    document = {
        "format": checker.FORMAT,
        "version": checker.VERSION,
        "loss": "squared",
        "beta": beta,
        "data": {**(data or {}), **identity},
        "claims": claims,
        "about": {"reluopt": reluopt.__version__, "method": bound.method, "seconds": bound.seconds, **(about or {})},
    }
    content = save(tensors, metadata={"certificate": json.dumps(document, allow_nan=False, ensure_ascii=False)})
    try:
        checker.check(checker.parse(content), X, y)
    except checker.Refused as reason:
        raise CertificateError(f"The checker refused the certificate: {reason}.", "Please report this.") from reason
    path.write_bytes(content)
    return claims


def evidence_tensors(X: Float[np.ndarray, "n d"], evidence: Evidence) -> dict[str, np.ndarray]:
    """The evidence as the tensors of SPEC.md, section 2."""
    sides = [[r.positive for r in evidence.regions], [r.negative for r in evidence.regions]]
    geometries = [Geometry.of(X, r.cuts, r.groups) for r in evidence.regions]
    levels = [
        [geometry.level(z, m) for geometry, m in zip(geometries, side, strict=True)]
        for z, side in zip((evidence.z, -evidence.z), sides, strict=True)
    ]
    groups = [(i, group) for i, r in enumerate(evidence.regions) for group in r.groups]
    return {
        "z": evidence.z,
        "directions": evidence.directions,
        "tree": evidence.tree.astype(np.int64),
        "groups": np.array([(i, len(group)) for i, group in groups], dtype=np.int64).reshape(-1, 2),
        "paired": np.concatenate([np.zeros(0, dtype=np.int64), *(group for _, group in groups)]),
        "w": np.stack([np.concatenate([m.w for m in side]) for side in sides]),
        "c": np.stack([np.concatenate([m.c for m in side]) for side in sides]),
        "nu": np.stack([np.stack([m.nu for m in side]) for side in sides]),
        "r": np.stack([np.concatenate([*(r.ravel() for m in side for r in m.r), np.zeros(0)]) for side in sides]),
        "level": np.array(levels),
    }
