r"""Second moments of one region with all samples paired: the linear map from moments to products of forms.

The core is v = (t, u, s) with s = (Xu)_+; the forms F = (t, ±x_iᵀu of the cuts, s, p = s − Xu) are ≥ 0 on the
region, and s_i p_i = 0. A moment matrix M = E[vvᵀ] of size N = 1 + d + m gives the products W = LMLᵀ of the
φ = 1 + cuts + 2m forms.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import scipy.linalg
from jaxtyping import Float

from reluopt.bounds.lifting import Lifting, eliminated


class Cell:
    """One region: all samples X (n, d) in scaled units, and the signed samples whose hyperplanes cut it out.

    A cut by sample i decides it: s_i is x_iᵀu or 0, so it leaves the core, and its cut ±x_iᵀu ≥ 0 is a form. The other
    samples are paired; m of them.
    """

    def __init__(self, X: Float[np.ndarray, "n d"], decided: tuple[tuple[int, int], ...] = ()) -> None:
        samples, signs = [i for i, _ in decided], np.array([sign for _, sign in decided]).reshape(-1, 1)
        (n, d), k = X.shape, len(decided)
        self.decided, self.samples = decided, n
        self.paired = np.setdiff1d(np.arange(n), samples)
        self.X, self.cuts, m = X[self.paired], signs * X[samples], n - k
        self.head, self.core, self.forms = 1 + d, 1 + d + m, 1 + k + 2 * m
        self.u, self.s = slice(1, 1 + d), slice(1 + d, None)
        self.on_cuts, self.on_s, self.on_p = slice(1, 1 + k), slice(1 + k, 1 + k + m), slice(1 + k + m, None)
        self.first_s, self.first_p = 1 + k, 1 + k + m
        F = np.zeros((1 + k, 1 + d))
        F[0, 0], F[1:, 1:] = 1.0, self.cuts
        self.lifting = Lifting(self.X, F)
        # where t·s_i stands among the products t·F, for the samples that can be active
        plus = [(i, 1 + position) for position, (i, sign) in enumerate(decided) if sign > 0]
        self.active = np.array([*self.paired, *(i for i, _ in plus)], dtype=np.int64)
        self.heights = np.array([*range(self.first_s, self.first_p), *(at for _, at in plus)], dtype=np.int64)

    def apply(self, A: Float[np.ndarray, "N m"]) -> Float[np.ndarray, "F m"]:
        """L A."""
        return self.lifting.forms(A[: self.head], A[self.s])

    def adjoint(self, B: Float[np.ndarray, "F m"]) -> Float[np.ndarray, "N m"]:
        """Lᵀ B."""
        return np.concatenate(self.lifting.adjoint(B))

    def products(self, M: Float[np.ndarray, "N N"]) -> Float[np.ndarray, "F F"]:
        """W = L M Lᵀ for a symmetric M."""
        return self.apply(self.apply(M).T)

    def pulled_back(self, W: Float[np.ndarray, "F F"]) -> Float[np.ndarray, "N N"]:
        """Lᵀ W L for a symmetric W."""
        return self.adjoint(self.adjoint(W).T)

    def set_zero_products(self, W: Float[np.ndarray, "F F"]) -> None:
        """Set the entries of s_i p_i, which vanish for every neuron, to zero."""
        paired = np.arange(len(self.X))
        W[self.first_s + paired, self.first_p + paired] = W[self.first_p + paired, self.first_s + paired] = 0.0

    def linear(self, z: Float[np.ndarray, " n"], nu: Float[np.ndarray, " m"]) -> Float[np.ndarray, "N N"]:
        """The symmetric matrix of t zᵀs − Σ_paired ν_j (s_j² − s_j x_jᵀu)."""
        C = self.lifting.matrix(z[self.paired], nu, np.zeros((self.forms, self.forms)))
        for (i, sign), cut in zip(self.decided, self.cuts, strict=True):
            if sign > 0:
                C[0, self.u] += 0.5 * z[i] * cut
        C[self.u, 0] = C[0, self.u]
        return C

    @cached_property
    def _spectrum(self) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, "N m"]]:
        """The eigenpairs of LᵀL but for the eigenvalue 2 that all of s outside of X's range has."""
        values, vectors = np.linalg.eigh(self.adjoint(self.apply(np.eye(self.core))))
        other = np.abs(values - 2.0) > 1e-9
        return values[other], vectors[:, other]

    def least_squares(self, rhs: Float[np.ndarray, "N N"]) -> Float[np.ndarray, "N N"]:
        """The symmetric M with M + LᵀL M LᵀL = rhs, in O(N² d): LᵀL is 2 but on a space of dimension 2d + 1."""
        g, Q = self._spectrum
        A = Q.T @ rhs
        inner = A @ Q
        mixed = (1.0 / (1.0 + 2.0 * g) - 0.2)[:, None] * (A - inner @ Q.T)
        half = (0.5 * (1.0 / (1.0 + np.outer(g, g)) - 0.2) * inner) @ Q.T + mixed
        correction = Q @ half
        return 0.2 * rhs + correction + correction.T


def positive_part(A: Float[np.ndarray, "N N"]) -> Float[np.ndarray, "N N"]:
    """The projection of a symmetric matrix on the positive semidefinite ones; few of its eigenvalues are positive."""
    values, vectors = scipy.linalg.eigh(A, subset_by_value=(0.0, np.inf), driver="evr", check_finite=False)
    half = vectors * np.sqrt(values)
    return half @ half.T


def lowest_level(
    C: Float[np.ndarray, "N N"], X: Float[np.ndarray, "n d"], shifts: Float[np.ndarray, " m"]
) -> tuple[float, float]:
    """(λ, δ): the smallest λ with λ(t² + ‖u‖²) − vᵀCv + δ Σ s_j (s_j − x_jᵀu) ⪰ 0 over the given δ, or (inf, 0).

    Σ s_j (s_j − x_jᵀu) = 0, so any δ may be added; a δ > 0 repairs a block of s that is not quite definite.
    """
    head = 1 + X.shape[1]
    best = (math.inf, 0.0)
    for shift in shifts:
        D = C.copy()
        D[head:, head:][np.diag_indices(len(X))] -= shift
        D[head:, 1:head] += 0.5 * shift * X
        found = eliminated(D[head:, :head], -D[head:, head:])
        if found is None:
            continue
        half = found[1]
        level = float(np.linalg.eigvalsh(D[:head, :head] + half.T @ half)[-1])
        if level < best[0]:
            best = (level, float(shift))
    return best
