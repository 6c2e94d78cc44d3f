"""Section 6 of SPEC.md: the bound on one leaf, for one sign of z."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from .ball import Ball, check_ball
from .biases import levels
from .numbers import SMALLEST_NU, UNDERFLOW, Array, at_least_sum, finite, gamma, norm, row_norms
from .refusal import Refused, require
from .regions import Leaf, decided
from .slopes import Slopes, check_slopes, slanted

BLOCK = 4096  # samples at a time


@dataclass(frozen=True)
class Multipliers:
    """w, c (1 + k, n), nu (n,), one matrix r (φ, φ) a group, λ; affine slopes and ball products if there are any.

    With free first-layer biases (section 11) also the ``spread`` μ, and how many roundings the rows X bring.
    """

    w: Array
    c: Array
    nu: Array
    r: Sequence[Array]
    level: float
    slopes: Slopes | None = None
    balls: Sequence[Ball] | None = None
    spread: float | None = None
    more_steps: int = 0


def leaf_upper(X: Array, z: Array, leaf: Leaf, m: Multipliers) -> Fraction:
    """≥ zᵀ(Xu)_+ for every ‖u‖ ≤ 1 on the leaf."""
    sign = decided(X, leaf.cuts)
    sign[leaf.paired] = 0.0  # a paired sample is a variable of its group, decided or not
    free = sign == 0
    free[leaf.paired] = False
    check_signs(z, free, sign != 0, m, m.c[0] if m.slopes is None else check_slopes(X, free, m.c[0], m.slopes))
    F = np.zeros((1 + len(leaf.cuts), 1 + X.shape[1]))
    F[0, 0], F[1:, 1:] = 1.0, leaf.cuts
    steps = len(leaf.groups) + m.more_steps
    M, error = head(X, F, np.where(sign > 0, z, 0.0), m.w, m.c, np.where(free, m.nu, 0.0), steps)
    if m.slopes is not None:
        part, off = slanted(X, m.slopes, steps)
        M, error = finite(M + part, "the matrix M"), error + off
    slack = Fraction(0)
    for number, (group, r) in enumerate(zip(leaf.groups, m.r, strict=True)):
        ball = None if m.balls is None else m.balls[number]
        try:
            part, off, delta = eliminated(X[group], z[group], F, m.nu[group], r, steps, ball)
        except np.linalg.LinAlgError as problem:
            raise Refused(f"group {number} is not definite") from problem
        M, error, slack = finite(M + part, "the matrix M"), error + off, slack + delta
    if m.spread is not None:
        gap = residual(M, levels(m.level, m.spread, 1, X.shape[1]))
        return max(Fraction(0), 2 * Fraction(m.level) + 3 * (error + gap) + 2 * slack)
    return max(Fraction(0), 2 * Fraction(m.level) + 2 * (error + residual(M, m.level)) + slack)


def check_signs(z: Array, free: Array, fixed: Array, m: Multipliers, low: Array) -> None:
    """What is required of the multipliers; w must not be below z + ``low``."""
    require(m.level >= 0, "the level is negative")
    require((m.nu[fixed] == 0).all(), "nu must be 0 for decided samples")
    require(
        (m.w[:, ~free] == 0).all() and (m.c[:, ~free] == 0).all(), "w and c must be 0 for decided and paired samples"
    )
    signed = (m.c >= 0).all() and (m.nu[free] >= 0).all() and all((square >= 0).all() for square in m.r)
    require(signed, "c, r or nu has a negative entry")
    require((m.w[1:] >= m.c[1:]).all(), "w is below c")
    require(at_least_sum(m.w[0, free], z[free], low[free]).all(), "w is below z + c")
    require((m.w[:, free & (m.nu == 0)] == 0).all(), "nu is 0 where w is not")
    require((m.nu[free & (m.nu != 0)] >= SMALLEST_NU).all(), "nu has an entry between 0 and 2^-256")


def head(X: Array, F: Array, fixed: Array, w: Array, c: Array, nu: Array, steps: int) -> tuple[Array, Fraction]:
    """(M₀, E₀): what free and decided samples add on a = (1, u), and E₀ ≥ the Frobenius norm of its rounding.

    ``fixed`` is z where s_i = x_iᵀu and 0 elsewhere, ``nu`` is 0 but for free samples, ``steps`` matrices follow.
    """
    (n, d), width = X.shape, row_norms(F)
    M, low, size = np.zeros((1 + d, 1 + d)), np.zeros((len(F), d)), Fraction(0)
    for start in range(0, n, BLOCK):
        rows, at = X[start : start + BLOCK], slice(start, start + BLOCK)
        reach, on = row_norms(rows), nu[at] > 0
        root = np.sqrt(nu[at][on])[:, None]
        scaled = 0.5 * (w[:, at][:, on].T / root)
        half = scaled @ F
        half[:, 1:] += 0.5 * root * rows[on]
        M += finite(half, "half").T @ half
        low += c[:, at] @ rows
        M[0, 1:] += fixed[at] @ rows
        size += Fraction(norm(scaled @ width + 0.5 * root[:, 0] * reach[on])) ** 2
        size += exactly((c[:, at] @ reach) @ width) + exactly(np.abs(fixed[at]) @ reach)
    M[1:] -= low.T @ F
    share = Fraction(gamma(n + 2 * len(F) + steps + 32))
    return finite(0.5 * (M + M.T), "the matrix M"), share * size + Fraction(UNDERFLOW)


def eliminated(
    X: Array, z: Array, F: Array, nu: Array, r: Array, steps: int, ball: Ball | None = None
) -> tuple[Array, Fraction, Fraction]:
    """(H + YᵀY, E_g, δ_g) of a group with samples X (p, d): its form is at most aᵀ(H + YᵀY)a + δ_g on a = (1, u).

    E_g ≥ the Frobenius norm of the rounding of H + YᵀY.
    """
    if ball is not None:
        check_ball(ball, r)
    r = 0.5 * (r + r.T)
    H, B, A = blocks(X, z, F, nu, r, None if ball is None else ball.rows())
    L = finite(np.linalg.cholesky(finite(A, "A of a group")), "L of a group")
    Y = finite(np.linalg.solve(L, finite(B, "B of a group")), "Y of a group")
    share = Fraction(gamma(2 * len(r) + (0 if ball is None else ball.terms) + steps + 32))
    lost = Fraction(UNDERFLOW)
    size_H, size_B, size_A = sizes(X, z, F, nu, r, ball)
    reach, on_L, on_Y = (Fraction(norm(part)) for part in (X, L, Y))
    off_B = Fraction(norm(finite(B - L @ Y, "B - LY of a group"))) + share * (size_B + on_L * on_Y) + lost
    off_A = Fraction(norm(finite(A - L @ L.T, "A - LL' of a group"))) + share * (size_A + on_L**2) + lost
    delta = 3 * reach * off_B + reach**2 * off_A
    return finite(H + Y.T @ Y, "the matrix of a group"), share * (size_H + on_Y**2) + lost, delta


def blocks(X: Array, z: Array, F: Array, nu: Array, r: Array, k: Array | None = None) -> tuple[Array, Array, Array]:
    """H = QᵀrQ, B = SᵀrQ + ½(z, diag(ν)X), A = diag(ν) − SᵀrS: the forms of the group are Qa + Ss, r symmetric.

    With rows k of ball products, K̂ = (0, k), H loses sym(QᵀK̂) and B loses ½SᵀK̂.
    """
    outputs = F.shape[1] - X.shape[1]  # 1; with several outputs a is (a, u), and z a form of its first entries
    rows = np.hstack([np.zeros((len(X), outputs)), X])  # x_jᵀu as forms of a = (1, u)
    Q = np.vstack([F, 0.0 * rows, -rows])
    rQ = r @ Q
    B = on_samples(rQ, len(X)) + 0.5 * nu[:, None] * rows
    B[:, :outputs] += 0.5 * z.reshape(len(X), outputs)
    H = Q.T @ rQ
    if k is not None:
        B[:, 1:] -= 0.5 * on_samples(k, len(X))
        half = 0.5 * (Q.T @ k)
        H[:, 1:] -= half
        H[1:] -= half.T
    return H, B, np.diag(nu) - on_samples(on_samples(r, len(X)).T, len(X))


def sizes(
    X: Array, z: Array, F: Array, nu: Array, r: Array, ball: Ball | None = None
) -> tuple[Fraction, Fraction, Fraction]:
    """≥ the Frobenius norms of all that is added up in H, B and A, in absolute values; q are the norms of Q's rows."""
    reach, p = row_norms(X), len(X)
    q = np.concatenate([row_norms(F), 0.0 * reach, reach])
    rq = r @ q
    of_B = on_samples(rq, p) + 0.5 * (row_norms(z.reshape(p, F.shape[1] - X.shape[1])) + np.abs(nu) * reach)
    of_A = on_samples(on_samples(r, p).T, p) + np.diag(np.abs(nu))
    size_H = exactly(q @ rq)
    if ball is not None:
        of_K = ball.sizes()
        size_H, of_B = size_H + exactly(q @ of_K), of_B + 0.5 * on_samples(of_K, p)
    return size_H, Fraction(norm(of_B)), Fraction(norm(of_A))


def exactly(value: Any) -> Fraction:
    """One computed number as a fraction."""
    require(np.isfinite(value), "overflow: a size is not finite")
    return Fraction(float(value))


def on_samples(rows: Array, p: int) -> Array:
    """Sᵀ times an array with a row for each form: the row of s_j plus that of s_j − x_jᵀu."""
    k = len(rows) - 2 * p
    return rows[k : k + p] + rows[k + p :]


def residual(M: Array, level: float | Array) -> Fraction:
    """≥ ‖E‖_F where λ(1 + ‖u‖²) − aᵀMa = ‖Ra‖² + aᵀEa, with R from an eigendecomposition; M taken as exact.

    An array has a λ for each entry of a.
    """
    gap = -M
    gap[np.diag_indices(len(M))] += level
    try:
        values, vectors = np.linalg.eigh(finite(gap, "level - M"))
    except np.linalg.LinAlgError as problem:
        raise Refused("the matrix level - M has no computable eigenvalues") from problem
    values = finite(values, "an eigenvalue")
    R = finite(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T, "R")
    missing = Fraction(norm(finite(gap - R.T @ R, "level - M - R'R")))
    return missing + Fraction(gamma(len(M) + 8)) * (Fraction(norm(R)) ** 2 + Fraction(norm(gap))) + Fraction(UNDERFLOW)
