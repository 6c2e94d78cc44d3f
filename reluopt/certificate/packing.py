"""The evidence of a bound as the tensors of SPEC.md, sections 2, 9, 10 and 11; ``reading.py`` is the way back."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from reluopt.bounds.bias_forms import LiftedEvidence
from reluopt.bounds.evidence import Evidence, Multipliers, Region
from reluopt.bounds.output_forms import OutputEvidence
from reluopt.bounds.region_forms import Geometry
from reluopt.bounds.simplices import Simplices
from reluopt.bounds.slopes import Slopes

T = TypeVar("T", Multipliers, OutputEvidence)
AnyEvidence = Evidence | OutputEvidence | Simplices | LiftedEvidence


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
    sides = [list(side) for side in zip(*(r.sides.values() for r in evidence.regions), strict=True)]
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
            "level": np.zeros((len(sides), len(evidence.regions))),
        }
    )


def _levels(X: Float[np.ndarray, "n d"], evidence: Evidence | OutputEvidence) -> np.ndarray:
    """λmax(M) of every sign that a leaf is for, and leaf, or the one of several outputs."""
    if isinstance(evidence, OutputEvidence):
        return np.array([evidence.level(X)])
    found = []
    for r in evidence.regions:
        geometry = Geometry.of(X, r.cuts, r.groups)
        found.append([geometry.level(sign * evidence.z, m) for sign, m in r.sides.items()])
    return np.array(found).T


def _slopes(sides: list[list[Multipliers]], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """The tensors of affine slopes, if any region has them; factors get rows of zeros up to the longest."""
    every = [[m.slopes or Slopes(np.zeros((0, shape[1])), np.zeros(shape[0]), 0.0) for m in side] for side in sides]
    if all(m.slopes is None for side in sides for m in side):
        return {}
    most = max(len(slopes.factor) for side in every for slopes in side)
    factors = [[np.pad(slopes.factor, ((0, most - len(slopes.factor)), (0, 0))) for slopes in side] for side in every]
    biased = any(slopes.lean is not None for side in every for slopes in side)
    zero = np.zeros(shape[0])
    lean = [np.stack([zero if slopes.lean is None else slopes.lean for slopes in side]) for side in every]
    return {
        "factor": np.stack([np.concatenate(side) for side in factors]),
        "eta": np.stack([np.stack([slopes.eta for slopes in side]) for side in every]),
        "tilt": np.array([[slopes.tilt for slopes in side] for side in every]),
    } | ({"lean": np.stack(lean)} if biased else {})


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
