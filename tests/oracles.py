"""The moment bound as conic programs for general solvers: slow, independent, no proof. Tests and studies use them."""

from __future__ import annotations

import cvxpy as cp
import numpy as np


def theorem_a_sdp(X: np.ndarray, y: np.ndarray, beta: float) -> cp.Problem:
    """max_z over all multipliers at once: βI/2 − C(q, w, ν) ⪰ 0 for both signs of z.

    ν enters C through w²/ν ≤ top, which is the cone ‖(2w, ν − top)‖ ≤ ν + top.
    """
    n, d = X.shape
    z, constraints = cp.Variable(n), []
    products = np.einsum("ia,ib->abi", X, X).reshape(d * d, n)
    for sign in (1, -1):
        q, nu, w = (cp.Variable(n, nonneg=True) for _ in range(3))
        top = cp.Variable(n)
        constraints += [w >= sign * z + q, cp.SOC(nu + top, cp.vstack([2 * w, nu - top]))]
        corner = cp.reshape(beta / 2 - cp.sum(top) / 4, (1, 1), order="C")
        side = cp.reshape(X.T @ (q / 2 - w / 4), (d, 1), order="C")
        block = beta / 2 * np.eye(d) - cp.reshape(products @ nu, (d, d), order="C") / 4
        constraints += [cp.bmat([[corner, side.T], [side, block]]) >> 0]
    return cp.Problem(cp.Maximize(y @ z - cp.sum_squares(z) / 2), constraints)


def theorem_b_sdp(X: np.ndarray, y: np.ndarray, beta: float) -> cp.Problem:
    """Theorem B itself: second moments Y^± and the interval that they allow."""
    n, d = X.shape
    hi, lo, trace, constraints = [], [], 0, []
    for _ in range(2):
        Y = cp.Variable((d + 1, d + 1), PSD=True)
        a, B, h = X @ Y[0, 1:], cp.sum(cp.multiply(X @ Y[1:, 1:], X), axis=1), cp.Variable(n)
        lo.append(cp.pos(a))
        for i in range(n):
            constraints += [h[i] <= (a[i] + cp.geo_mean(cp.hstack([Y[0, 0], B[i]]))) / 2]
        hi.append(h)
        trace += cp.trace(Y)
    over, under = cp.pos(y - hi[0] + lo[1]), cp.pos(lo[0] - hi[1] - y)
    return cp.Problem(cp.Minimize((cp.sum_squares(over) + cp.sum_squares(under) + beta * trace) / 2), constraints)


def theorem_c_sdp(X: np.ndarray, Y: np.ndarray, beta: float) -> cp.Problem:
    """Theorem C itself, squared loss, Y (n, C): second moments of (a, u), and for every sample those of (a, xᵀu, s).

    The only product of activations is s_i² = s_i x_iᵀu; a sample meets u in x_iᵀu alone.
    """
    (n, d), C = X.shape, Y.shape[1]
    M, fit, constraints = cp.Variable((C + d, C + d), PSD=True), [], []
    for i in range(n):
        S = cp.Variable((C + 2, C + 2), PSD=True)
        seen = np.zeros((C + 1, C + d))
        seen[:C, :C], seen[C, C:] = np.eye(C), X[i]
        constraints += [S[: C + 1, : C + 1] == seen @ M @ seen.T, S[C + 1, C + 1] == S[C, C + 1]]
        fit.append(S[:C, C + 1])
    loss = cp.sum_squares(cp.vstack(fit) - Y) / 2
    return cp.Problem(cp.Minimize(loss + beta / 2 * cp.trace(M)), constraints)


def all_products_sdp(X: np.ndarray, Y: np.ndarray, beta: float) -> cp.Problem:
    """Theorem C with all products of s and p = s − Xu, which are ≥ 0: one matrix over (a, u, s), squared loss.

    This is the doubly nonnegative relaxation of Prakhya, Birdal & Yurtsever (ICLR 2025) for vector outputs, without the
    rows of p, which those of u and s give.
    """
    (n, d), C = X.shape, Y.shape[1]
    M = cp.Variable((C + d + n, C + d + n), PSD=True)
    a, u, s = slice(0, C), slice(C, C + d), slice(C + d, None)
    ss, su, uu = M[s, s], M[s, u], M[u, u]
    sp = ss - su @ X.T
    pp = ss - su @ X.T - X @ su.T + X @ uu @ X.T
    constraints = [ss >= 0, sp >= 0, pp >= 0, cp.diag(sp) == 0]
    loss = cp.sum_squares(M[s, a] - Y) / 2
    return cp.Problem(cp.Minimize(loss + beta / 2 * (cp.trace(M[a, a]) + cp.trace(uu))), constraints)
