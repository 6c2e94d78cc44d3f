"""The one result of everything in ``bounds``: a proved lower bound of p*, with its evidence."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from reluopt.bounds.bias_forms import LiftedEvidence
from reluopt.bounds.evidence import Evidence
from reluopt.bounds.output_forms import OutputEvidence
from reluopt.bounds.region_forms import evidence_upper
from reluopt.bounds.row_space import kept_to_rows
from reluopt.bounds.simplices import Simplices
from reluopt.problem import Problem


@dataclass(frozen=True, eq=False)
class LowerBound:
    """p* ≥ ``value`` for networks of every width, proved with rounding accounted for.

    Attributes
    ----------
    value : the bound, in units of the objective L (Σ κℓ + weight decay; no 1/n).
    method : how it was found; the proof is the evidence alone.
    evidence : z and the multipliers that prove ``support``.
    support : B ≥ |zᵀ(Xu)_+|, or ‖zᵀ(Xu)_+‖, for all ‖u‖ ≤ 1. ``scale`` : t ≤ β/B, so that tz is dual feasible.
    z : the dual point before scaling, of the shape of the targets; with pooled rows that of the evidence is Aᵀz, as
        rounded, and ``support`` bounds ‖(Aᵀz)ᵀ(Xu)_+‖.
    seconds : wall-clock time of the search and the proof.
    factors : (2, k, 1 + d), or (1, k, C + d), second moments of neurons that were found on the way, for a search that
        goes on from there.
    dearer : (k, d) directions at which |zᵀ(Xu)_+| was found to be above β, for this z or that of the start: neurons for
        a search that goes down.
    """

    value: float
    method: str
    evidence: Evidence | OutputEvidence | Simplices | LiftedEvidence
    support: float
    scale: float
    z: Float[np.ndarray, "n ..."]
    seconds: float
    factors: Float[np.ndarray, "q k e"] | None = field(default=None, repr=False)
    dearer: Float[np.ndarray, "k d"] | None = field(default=None, repr=False)

    @property
    def regions(self) -> Evidence:
        """The evidence of a problem with one output."""
        assert isinstance(self.evidence, Evidence)
        return self.evidence


def prove(
    problem: Problem,
    evidence: Evidence | OutputEvidence | Simplices | LiftedEvidence,
    *,
    method: str,
    started: float,
    factors: Float[np.ndarray, "q k e"] | None = None,
    z: Float[np.ndarray, "n ..."] | None = None,
) -> LowerBound:
    """The proved value of an evidence: equation (*) with B of the evidence. ``started`` : of ``time.perf_counter``.

    z : with pooled rows, whose evidence is for Aᵀz: the dual point of the samples.
    """
    if isinstance(evidence, OutputEvidence | Simplices | LiftedEvidence):
        support = evidence.support_upper(problem.X)
    else:
        evidence = kept_to_rows(problem.X, evidence)
        support = evidence_upper(problem.X, evidence)
    if problem.pooling is None:
        z = evidence.z
    else:
        assert z is not None
        support = problem.support_of_samples(z, evidence.z, support)
    value, scale = problem.proved_value(z, support)
    return LowerBound(value, method, evidence, support, scale, z, time.perf_counter() - started, factors)
