r"""max ‖Wu‖ over unit u of a cone {u : Au ≥ 0}, from both sides, for W (C, d): the dual norm of relaxed matrix blocks.

For one output (C = 1) it is ‖proj_K(±Wᵀ)‖; for C > 1 the problem is not convex. From above, as (Au)(Au)ᵀ ≥ 0,

.. math:: \max_{u∈K,‖u‖≤1} ‖Wu‖² ≤ λ_{\max}(WᵀW + AᵀNA)\quad\text{for every symmetric } N ≥ 0,

the dual of the doubly nonnegative relaxation. Any N proves something, so only a few products get multipliers.

With a *leaning* last entry, u = (v, b) with ‖v‖ ≤ 1 and |b| ≤ ‖v‖, u' = (v, √t b)/√(1 + t) has ‖u'‖ ≤ 1 for every
t > 0, and the maximum is at most that over u' with the columns of W and A divided by those factors: t is searched too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize

from reluopt.rigor import rounding

#: Rounds of new products, and steps of L-BFGS in each; new products of a round, in units of d; rows that are looked at.
ROUNDS, STEPS, NEW, LOOKED = 12, 60, 2, 300
#: Smoothing of λmax by a soft maximum, relative to it.
WIDTHS = (0.03, 0.01, 0.003, 0.001, 0.0003)
#: The range of log t.
LEANS = (-14.0, 10.0)
#: A round that lowers the bound by less than this share is the last of its smoothing.
WORTH = 1e-4


def product_multipliers(
    W: Float[np.ndarray, "C d"],
    A: Float[np.ndarray, "n d"],
    *,
    lean: float | None = None,
    enough: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Int[np.ndarray, "k 2"], Float[np.ndarray, " k"], float | None]:
    """(pairs, N, t): multipliers of products of two rows of A (n, d), unit rows, for which λmax(WᵀW + AᵀNA) is small.

    Cutting planes: the soft maximum's weights are a moment matrix Q; products with a_iᵀQa_j < 0 enter, the most
    violated first. It ends where the bound is ≤ ``enough``. ``lean`` : t to start from where the last entry leans.
    """
    S = W.T @ W
    pairs, N, t = np.zeros((0, 2), dtype=np.int64), np.zeros(0), lean
    least, best, level = float(np.linalg.eigvalsh(leaning(S, t, 2))[-1]), (pairs, N, t), 0
    for _ in range(ROUNDS):
        if least <= enough * enough or stop():
            break
        width = WIDTHS[level] * max(least, 1e-300)
        Q, _ = _soft(leaning(S + _spread(A, pairs, N), t, 2), width)
        pairs, N = _with_violated(leaning(A, t), Q, pairs, N)
        if len(N) == 0:
            break  # the moment matrix is one of the cone: no product helps
        N, t = _lowered(S, A, pairs, N, t, width)
        value = float(np.linalg.eigvalsh(leaning(S + _spread(A, pairs, N), t, 2))[-1])
        if value > least * (1 - WORTH):
            if level == len(WIDTHS) - 1:
                break
            level += 1
        if value < least:
            least, best = value, (pairs, N, t)
    return best


def leaning(M: Float[np.ndarray, "... d"], t: float | None, sides: int = 1) -> Float[np.ndarray, "... d"]:
    """M in the coordinates u': its columns, and with two ``sides`` its rows, times √(1 + t), the last one /√t."""
    if t is None:
        return M
    factors = np.full(M.shape[-1], math.sqrt(1.0 + t))
    factors[-1] /= math.sqrt(t)
    return M * factors if sides == 1 else factors[:, None] * M * factors


def _with_violated(
    A: Float[np.ndarray, "n d"], Q: Float[np.ndarray, "d d"], pairs: Int[np.ndarray, "k 2"], N: Float[np.ndarray, " k"]
) -> tuple[Int[np.ndarray, "j 2"], Float[np.ndarray, " j"]]:
    """The products in use, and the most violated ones among the rows where the top eigenvector of Q is extreme."""
    slack = A @ np.linalg.eigh(Q)[1][:, -1]
    order = np.argsort(slack)
    rows = order if len(A) <= LOOKED else np.concatenate([order[: LOOKED // 2], order[-LOOKED // 2 :]])
    products = np.triu(A[rows] @ Q @ A[rows].T, 1)
    worst = np.argsort(products, axis=None)[: NEW * A.shape[1]]
    worst = worst[products.ravel()[worst] < 0]
    i, j = np.divmod(worst, len(rows))
    kept = N > 0
    both = np.vstack([pairs[kept], np.sort(np.column_stack([rows[i], rows[j]]), axis=1)])
    both, first = np.unique(both, axis=0, return_index=True)
    values = np.concatenate([N[kept], np.zeros(len(worst))])
    return both, values[first]


def _spread(
    A: Float[np.ndarray, "n d"], pairs: Int[np.ndarray, "k 2"], N: Float[np.ndarray, " k"]
) -> Float[np.ndarray, "d d"]:
    """AᵀNA = Σ N_k (a_i a_jᵀ + a_j a_iᵀ)/2."""
    half = (0.5 * N[:, None] * A[pairs[:, 0]]).T @ A[pairs[:, 1]]
    return half + half.T


def _soft(M: Float[np.ndarray, "d d"], width: float) -> tuple[Float[np.ndarray, "d d"], float]:
    """(Q, soft maximum): the soft maximum of the eigenvalues of M and its gradient, Q ⪰ 0 with trace 1."""
    values, vectors = np.linalg.eigh(M)
    weights = np.exp((values - values[-1]) / width)
    value = float(values[-1] + width * math.log(weights.sum()))
    return (vectors * (weights / weights.sum())) @ vectors.T, value


def _lowered(
    S: Float[np.ndarray, "d d"], A: Float[np.ndarray, "n d"], pairs: Int[np.ndarray, "k 2"],
    N: Float[np.ndarray, " k"], t: float | None, width: float,
) -> tuple[Float[np.ndarray, " k"], float | None]:  # fmt: skip
    """(N ≥ 0, t) with a smaller soft maximum, by L-BFGS on N and log t."""
    left, right, free = A[pairs[:, 0]], A[pairs[:, 1]], [] if t is None else [math.log(t)]

    def objective(entries: Float[np.ndarray, " k"]) -> tuple[float, Float[np.ndarray, " k"]]:
        now = math.exp(entries[-1]) if free else None
        M = leaning(S + _spread(A, pairs, entries[: len(N)]), now, 2)
        Q, value = _soft(M, width)
        slopes = np.einsum("kd,kd->k", leaning(left, now) @ Q, leaning(right, now))
        if now is not None:
            slopes = np.append(slopes, now / (1 + now) * float((Q * M).sum()) - float(Q[-1] @ M[-1]))
        return value, slopes

    bounds = [(0.0, None)] * len(N) + [LEANS] * len(free)
    start = np.append(N, free)
    run = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS})
    return np.maximum(run.x[: len(N)], 0.0), math.exp(run.x[-1]) if free else None


@np.errstate(over="ignore", invalid="ignore")
def cone_norm_upper(
    W: Float[np.ndarray, "C d"],
    off: float,
    left: Float[np.ndarray, "k d"] | None = None,
    right: Float[np.ndarray, "k d"] | None = None,
    N: Float[np.ndarray, " k"] | None = None,
    *,
    steps: int = 0,
) -> float:
    """≥ max ‖W'u‖ over unit u with left·u ≥ 0 and right·u ≥ 0, proved, for every W' with ‖W' − W‖_F ≤ ``off``.

    ``left`` and ``right`` hold rows of ±X whose entries have been rounded ``steps`` times, N ≥ 0 the multipliers of
    their products; without them it is the spectral norm. ``inf`` where it overflows or an N is negative.
    """
    several = left is not None and right is not None and N is not None and len(N) > 0
    S = W.T @ W if several or W.shape[1] < len(W) else W @ W.T
    size = rounding.frobenius_upper(W)
    error = rounding.gamma(sum(W.shape) + 2) * size * size + rounding.TINY * W.size
    if several:
        assert left is not None and right is not None and N is not None
        if not (N >= 0).all():
            return math.inf
        half = (0.5 * N[:, None] * left).T @ right
        S = S + half + half.T
        lengths = rounding.norm_upper(left) * rounding.norm_upper(right)
        terms = float((N * lengths).sum()) * (1 + rounding.gamma(len(N) + 4))
        error += rounding.gamma(len(N) + 8 + 2 * steps) * (terms + size * size) + rounding.TINY * left.size * (
            1 + float(N.max())
        )
    worst = rounding.lambda_max_upper(0.5 * (S + S.T), error * (1 + rounding.gamma(8)))
    if not math.isfinite(worst):
        return math.inf
    total = (math.sqrt(max(worst, 0.0)) * (1 + rounding.gamma(2)) + off) * (1 + rounding.gamma(4))
    return math.nextafter(total, math.inf) if math.isfinite(total) else math.inf
