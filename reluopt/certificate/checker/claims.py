"""Sections 1 and 7 of SPEC.md: what the evidence proves, and whether the claims follow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from . import outputs, pooling, simplices
from .ball import Ball
from .biases import MORE_STEPS, intercept_part, lifted, read_lift
from .certificate import Certificate, Problem
from .data import fingerprint
from .leaf import Multipliers, leaf_upper
from .losses import OF_CLASSES, PARAMETERS
from .numbers import Array, binary64_below, on_grid_below, within_domain
from .objective import objective_upper
from .refusal import Refused, require
from .regions import Leaf, read_regions
from .slopes import Slopes


def support_upper(c: Certificate, X: Array, z: Array) -> Fraction:
    """B ≥ |zᵀ(Xu)_+| for all ‖u‖ ≤ 1: the worst leaf and sign."""
    worst = Fraction(0)
    X = lifted(X, *read_lift(c)) if c.problem.biases.first_free else X
    for leaf, sides in read_leaves(c):
        for sign, m in zip(leaf.signs, sides, strict=True):
            try:
                worst = max(worst, leaf_upper(X, sign * z, leaf, m))
            except Refused as reason:
                raise Refused(f"leaf {leaf.number}, sign {'+' if sign > 0 else '-'}: {reason}") from reason
    return worst


def read_leaves(c: Certificate) -> Iterator[tuple[Leaf, tuple[Multipliers, ...]]]:
    """Every leaf with the multipliers of its signs, of the right types and shapes; made when it is asked for."""
    n, d = c.problem.n, c.problem.d
    directions, tree = c.tensor("directions", None, d), c.tensor("tree", None, 3)
    regions = read_regions(tree, directions, c.tensor("groups", None, 2), c.tensor("paired", None), n)
    signs = regions.tree.signs
    w, low = c.tensor("w", signs, regions.forms, n), c.tensor("c", signs, regions.forms, n)
    nu, r = c.tensor("nu", signs, len(regions), n), c.tensor("r", signs, regions.squares)
    level, slopes = c.tensor("level", signs, len(regions)), read_slopes(c, signs, len(regions))
    lift = c.problem.biases.first_free
    if lift:  # a cut may not be compared with rows that moved
        require(len(directions) == 0 and signs == 2, "free first-layer biases allow neither cuts nor trees of one sign")
        spread = c.tensor("spread", 2)
    balls = read_balls(c, signs, len(regions), regions.rows)

    def multipliers(side: int, leaf: Leaf) -> Multipliers:
        own = [r[side, at].reshape(math.isqrt(at.stop - at.start), -1) for at in leaf.squares]
        forms, at = leaf.forms, leaf.number
        parts = w[side, forms], low[side, forms], nu[side, at], own, float(level[side, at])
        more = (float(spread[side]), MORE_STEPS) if lift else ()
        return Multipliers(*parts, slopes(side, at), balls(side, leaf), *more)

    for leaf in regions:
        yield leaf, tuple(multipliers(side, leaf) for side in range(signs))


def read_slopes(c: Certificate, signs: int, leaves: int) -> Callable[[int, int], Slopes | None]:
    """The affine slopes of a sign and a leaf; None where the file has none."""
    if "eta" not in c.tensors:
        return lambda side, leaf: None
    eta, tilt = c.tensor("eta", signs, leaves, c.problem.n), c.tensor("tilt", signs, leaves)
    lean = c.tensor("lean", signs, leaves, c.problem.n) if c.problem.biases.first_free else None
    factor = c.tensor("factor", signs, None, c.problem.d)
    require(factor.shape[1] % leaves == 0, "the rows of 'factor' are not the same number for every leaf")
    k = factor.shape[1] // leaves

    def of(side: int, leaf: int) -> Slopes:
        own = None if lean is None else lean[side, leaf]
        return Slopes(factor[side, leaf * k : (leaf + 1) * k], eta[side, leaf], float(tilt[side, leaf]), own)

    return of


def read_balls(c: Certificate, signs: int, leaves: int, rows: int) -> Callable[[int, Leaf], Sequence[Ball] | None]:
    """The ball products of a sign and a leaf, one for each group; None where the file has none."""
    if "ball" not in c.tensors:
        return lambda side, leaf: None
    span = c.tensor("span", signs, None, c.problem.d)
    require(span.shape[1] % leaves == 0, "the rows of 'span' are not the same number for every leaf")
    k = span.shape[1] // leaves
    omega = c.tensor("ball", signs, rows, k)
    return lambda side, leaf: [
        Ball(span[side, leaf.number * k : (leaf.number + 1) * k], omega[side, at], c.problem.biases.first_free)
        for at in leaf.rows
    ]


def dual_value(problem: Problem, y: Array, weights: Array | None, z: Array, t: float) -> Fraction:
    """≤ −Σ_i κ_i ℓ*(−t z_i/κ_i), less what an intercept takes: p* is at least this where t·B ≤ β."""
    total, multiple = -intercept_part(problem.biases, problem.beta, z, t), Fraction(t)
    rows = (part.reshape(len(z), -1).tolist() for part in (z, y))
    for i, (values, targets) in enumerate(zip(*rows, strict=True)):
        weight = Fraction(1) if weights is None else Fraction(float(weights[i]))
        dual = problem.loss.dual_row([multiple * Fraction(v) for v in values], list(map(Fraction, targets)), weight)
        total += on_grid_below(dual)
    return total


def optimum_lower(c: Certificate, X: Array, y: Array, weights: Array | None = None) -> Fraction:
    """b' ≤ p*: the dual value of the file's multiple t of z, or of β/B where that is smaller."""
    z, t = c.tensor("z", c.problem.n, *c.problem.row), float(c.tensor("t", 1)[0])
    require(t >= 0, "t is negative")
    of_kind = outputs if c.problem.outputs > 1 else simplices if "basis" in c.tensors else None
    inner, v = pooling.for_rows(c) if c.problem.rows else (c, z)
    bound = of_kind.support_upper(inner, X, v) if of_kind else support_upper(inner, X, v)
    if c.problem.rows:
        bound += pooling.apart_upper(pooling.read_map(c), X, z, v)
    if bound > 0:
        t = min(t, binary64_below(Fraction(c.problem.beta) / bound))
    return dual_value(c.problem, y, weights, z, t)


@dataclass(frozen=True)
class Verdict:
    """What was proved: the claims of the certificate, and the numbers derived here (None where not claimed)."""

    problem: Problem
    claims: Mapping[str, float]
    upper: Fraction | None
    lower: Fraction | None
    network: str | None  # fingerprint of U, α
    width: int

    def subject(self) -> str:
        """What the claims are about, in one line."""
        problem, parameter = self.problem, PARAMETERS[self.problem.loss.name]
        loss = f"{problem.loss.name} loss"
        loss += f" ({parameter} = {float(problem.loss.parameter)!r})" if parameter else ""
        own = f"{problem.outputs} outputs, " if problem.outputs > 1 else ""
        pooled = f"{problem.rows} pooled rows, " if problem.rows else ""
        parts = [
            f"data n = {problem.n}, d = {problem.d}, {own}{pooled}sha256 {problem.fingerprint}",
            loss,
            "with sample weights" if problem.weights else "all sample weights 1",
            f"beta = {problem.beta!r}",
        ]
        parts += [problem.biases.words] if problem.biases.intercept or problem.biases.first_free else []
        if self.network is not None:
            parts.append(f"network of {self.width} neurons, sha256 {self.network}")
        return "; ".join(parts)

    def sentences(self) -> list[str]:
        """The claims in words."""
        return [f"{WORDS[name]} {value!r}" for name, value in self.claims.items()]


def check(c: Certificate, X: Array, y: Array, weights: Array | None = None) -> Verdict:
    """Derive every claimed number; Refused where one does not follow.

    ``weights``, if given, must be the certificate's; without them those in the file are taken.
    """
    problem, upper, lower, network, width = c.problem, None, None, None, 0
    rows = problem.rows or problem.n
    require((rows, problem.d) == X.shape, f"the certificate is for {rows}x{problem.d} data, not {X.shape}")
    require(y.shape == (problem.n, *problem.row), f"the certificate is for {problem.outputs} outputs, not {y.shape}")
    own = sample_weights(c, weights)
    pool = pooling.read_map(c) if problem.rows else None
    data = (X, y) if own is None else (X, y, own)
    digits = fingerprint(*data) if pool is None else pooling.fingerprint(X, y, own, pool)
    require(problem.fingerprint == digits, "the fingerprint is that of other data")
    within_domain(X, "X"), within_domain(y, "y")
    if problem.biases.first_free:
        require(problem.d > 1 and (X[:, -1] == 1).all(), "free first-layer biases need a last column of ones in X")
    if problem.loss.name in OF_CLASSES:
        require((np.abs(y) == 1).all(), f"the {problem.loss.name} loss needs targets -1 and 1")
    if problem.loss.name == "cross_entropy":
        one = ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all()
        require(one, "the cross-entropy needs targets with a single 1 a row, and 0 elsewhere")
    with np.errstate(all="ignore"):
        if c.with_network:
            U = c.tensor("U", None, problem.d)
            alpha = c.tensor("alpha", len(U), *problem.row)
            shift = [c.tensor("intercept", problem.outputs)] if problem.biases.intercept else []
            if pool is None:
                upper = objective_upper(X, y, own, problem.loss, problem.beta, U, alpha, problem.biases, *shift)
            else:
                upper = pooling.objective_upper(pool, X, y, own, problem.loss, problem.beta, U, alpha)
            network, width = fingerprint(U, alpha, *shift), len(U)
        if c.with_evidence:
            lower = optimum_lower(c, X, y, own)
    for name, value in c.claims.items():
        require(RULES[name](Fraction(value), upper, lower), f"the claim {name} = {value!r} is not proved")
    return Verdict(problem, c.claims, upper, lower, network, width)


def sample_weights(c: Certificate, given: Array | None) -> Array | None:
    """The weights κ of the file, None where all are 1; refused if they are not those ``given``."""
    if not c.problem.weights:
        require(given is None or (given == 1).all(), "the certificate is for sample weights 1, the data have others")
        return None
    weights = c.tensor("weights", c.problem.n)
    require((weights >= 0).all(), "a sample weight is negative")
    require(given is None or np.array_equal(given, weights), "the sample weights are not those of the data")
    return weights


RULES: dict[str, Callable[[Fraction, Any, Any], bool]] = {
    "objective_at_most": lambda claim, upper, lower: upper <= claim,
    "optimum_at_least": lambda claim, upper, lower: claim <= lower,
    "ratio_at_most": lambda claim, upper, lower: upper <= claim * lower,
}

WORDS = {
    "objective_at_most": "the network's objective is at most",
    "optimum_at_least": "no network of any width has an objective below",
    "ratio_at_most": "the network's objective divided by the global optimum is at most",
}
