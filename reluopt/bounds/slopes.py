r"""Affine slopes: multipliers of s_i ≥ x_iᵀu that are affine in u and nonnegative on the ball.

With W = RᵀR and c_i ≥ |η_i|‖Wx_i‖ the number m_i(u) = c_i + η_i x_iᵀWu is ≥ 0 for ‖u‖ ≤ 1, so that

.. math:: z_i s_i = (z_i + m_i) s_i − m_i s_i ≤ w_i s_i − m_i x_iᵀu,   w_i ≥ z_i + c_i + |η_i|‖Wx_i‖, w_i ≥ 0,

and −m_i x_iᵀu is quadratic in u. The bound is needed on the sphere alone, as zᵀ(Xu)_+ is homogeneous: any multiple of
1 − ‖u‖² may be added, the *tilt*. ``certificate/SPEC.md``, section 6. In rows with a free bias b̃ (section 11), whose
‖u‖ ≤ 1 and |b̃| ≤ ‖u‖, m_i = c_i + η_i (Wx_i)_uᵀu + θ_i b̃, and ‖(Wx_i)_u‖|η_i| + |θ_i| takes the place of |η_i|‖Wx_i‖.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reluopt.rigor import rounding
from reluopt.rigor.rounding import frobenius_upper as size_of


@dataclass(frozen=True, eq=False)
class Slopes:
    """The affine slopes of one sign of z over one region.

    Attributes
    ----------
    factor : R (k, d) with entries of at most 1 in size; W = RᵀR without rounding.
    eta : (n,) of either sign; zero for samples that are not free.
    tilt : δ of δ(1 − ‖u‖²).
    lean : (n,) θ, for rows whose last entry belongs to a free bias; None for others.
    """

    factor: Float[np.ndarray, "k d"]
    eta: Float[np.ndarray, " n"]
    tilt: float
    lean: Float[np.ndarray, " n"] | None = None

    def seen_through(self, Q: Float[np.ndarray, "d e"]) -> Slopes:
        """The slopes for XQ in the place of X: those of QᵀWQ."""
        factor = self.factor @ Q
        # a power of 2 keeps the entries below 1, and η makes up for it without rounding
        steps = max(0, int(np.frexp(np.abs(factor).max(initial=0.0))[1]))
        return Slopes(np.ldexp(factor, -steps), np.ldexp(self.eta, 2 * steps), self.tilt)

    @np.errstate(over="ignore", invalid="ignore")
    def swing(self, X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """≥ |η_i|‖Wx_i‖, the largest |η_i x_iᵀWu| for ‖u‖ ≤ 1; with θ ≥ |η_i|‖(Wx_i)_u‖ + |θ_i|."""
        biased = self.lean is not None
        product = np.abs(self.eta) * image_norms_upper(X, self.factor, biased=biased) * (1 + rounding.gamma(2))
        turn = np.where(self.eta == 0, 0.0, np.nextafter(product, np.inf))
        if self.lean is None:
            return turn
        return np.where(self.lean == 0, turn, np.nextafter(turn + np.abs(self.lean), np.inf))

    def allow(self, X: Float[np.ndarray, "n d"], c: Float[np.ndarray, " n"]) -> tuple[bool, Float[np.ndarray, " n"]]:
        """Whether |R| ≤ 1 (for underflow) and c_i ≥ |η_i|‖Wx_i‖; numbers ≥ c_i + |η_i|‖Wx_i‖, for w_i − z_i."""
        swing = self.swing(X)
        above = np.where(swing > 0, np.nextafter(c + swing, np.inf), c)
        small = (np.abs(self.factor) <= 1).all()
        return bool(small and (c >= swing).all()) and math.isfinite(self.tilt), above

    def matrix(self, X: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, "e e"], float]:
        """What is added to M, and a number ≥ the Frobenius norm of all its terms in absolute value.

        −½(HW + WH), H = Xᵀdiag(η)X, on u, and δ·diag(1, −I); it takes n + d + k operations.
        """
        on, size = self.eta != 0, 1 + X.shape[1]
        rows, eta, M = X[on], self.eta[on], np.zeros((size, size))
        images = rows @ self.factor.T @ self.factor
        signs = tilt_signs(size, biased=self.lean is not None)
        if self.lean is not None:
            images[:, -1] = 0.0
            M[1:, -1] = -(X.T @ self.lean)
        M[1:, 1:] -= (rows * eta[:, None]).T @ images
        M += self.tilt * np.diag(signs)
        reach = rounding.norm_upper(rows) if on.any() else np.zeros(0)
        terms = float((np.abs(eta) * reach * reach).sum()) * size_of(self.factor) ** 2 + abs(self.tilt) * math.sqrt(
            size
        )
        if self.lean is not None:
            terms += float(np.abs(self.lean) @ rounding.norm_upper(X))
        return 0.5 * (M + M.T), terms * (1 + rounding.gamma(len(X) + 8))


def tilt_signs(size: int, *, biased: bool) -> Float[np.ndarray, " e"]:
    """The diagonal of 1 − ‖u‖² on (1, u), or on (1, u, b̃) if ``biased``."""
    signs = np.where(np.arange(size) == 0, 1.0, -1.0)
    signs[-1] = 0.0 if biased else signs[-1]
    return signs


@np.errstate(over="ignore", invalid="ignore")
def image_norms_upper(
    X: Float[np.ndarray, "n d"], factor: Float[np.ndarray, "k d"], *, biased: bool = False
) -> Float[np.ndarray, " n"]:
    """≥ ‖RᵀR x_i‖ of every row, without its last entry if ``biased``; within a few units of rounding of ‖R‖²‖x_i‖."""
    images, sizes, whole = (X @ factor.T) @ factor, rounding.norm_upper(X), size_of(factor)
    lost = rounding.TINY * (sum(factor.shape) + 1) ** 2 * (1 + whole)
    # twice the rounding: the checker's own bound, which sums in another order, is then not above this one
    error = 2 * rounding.gamma(2 * sum(factor.shape) + 16) * whole * whole * sizes + lost
    return (rounding.norm_upper(images[:, :-1] if biased else images) + error) * (1 + rounding.gamma(4))
