"""The products with the ball in section 6 of SPEC.md: F_f (r_1f + r_f1 − k_fᵀu) ≥ 0 for ‖u‖ ≤ 1, k = Vᵀω."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .numbers import UNDERFLOW, Array, finite, gamma, norm, row_norms
from .refusal import require


@dataclass(frozen=True)
class Ball:
    """V (I, d) of one leaf and sign, and ω (φ, I) of one of its groups."""

    span: Array
    omega: Array
    biased: bool = False  # whether the last entry of a row belongs to a free bias (section 11)

    @property
    def terms(self) -> int:
        """How many terms an entry of k has."""
        return len(self.span)

    def rows(self) -> Array:
        """k of every form, as computed."""
        return finite(self.omega @ self.span, "a row of ball products")

    def sizes(self) -> Array:
        """‖V‖‖ω_f‖, above ‖k_f‖ and all that is added up in it."""
        return finite(norm(self.span) * row_norms(self.omega) * (1.0 + gamma(8)), "the size of a ball product")


def check_ball(ball: Ball, r: Array) -> None:
    """Require |V| ≤ 1, no row for the form 1, and r_1f + r_f1 ≥ ‖k_f‖, or ‖(k_f)_u‖ + |(k_f)_b|, for all others."""
    require((np.abs(ball.span) <= 1).all(), "an entry of span is larger than 1")
    require((ball.omega[0] == 0).all(), "a ball product of the form 1")
    off = gamma(sum(ball.span.shape) + 8) * ball.sizes() + UNDERFLOW
    k, size = ball.rows(), row_norms(ball.rows())
    if ball.biased:
        size, off = row_norms(k[:, :-1]) + np.abs(k[:, -1]), 2.0 * off
    reach = finite((size + off) * (1.0 + gamma(8)), "the norm of a ball product")
    have = np.nextafter(finite(r[0] + r[:, 0], "r"), 0.0)
    require((have >= np.where((ball.omega == 0).all(axis=1), 0.0, reach)).all(), "r is below |k| of a ball product")
