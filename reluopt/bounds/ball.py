r"""Products with the ball: for a form F ≥ 0 of a leaf and κ ≥ ‖k‖, F·(κ − kᵀu) ≥ 0 for ‖u‖ ≤ 1.

κ is the multiplier of F·1 that a group has anyway, the sum of two entries of its r. The rows k of a leaf lie in the
span of few directions, k = Vᵀω. ``certificate/SPEC.md``, section 6. In rows with a free bias b̃ (section 11) κ has to be
at least ‖k_u‖ + |k_b|.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from reluopt.rigor import rounding
from reluopt.rigor.rounding import frobenius_upper as size_of

#: ω is made so much smaller than what is exact, so that the conditions hold in spite of rounding.
SAFETY = 1e-9


@dataclass(frozen=True, eq=False)
class Ball:
    """The ball products of one sign of z over one region.

    Attributes
    ----------
    span : V (i, d) with entries of at most 1 in size.
    omega : for each group with φ forms (φ, i), zero for the form 1; k of form f is Vᵀω_f.
    biased : whether the last entry of a row belongs to a free bias.
    """

    span: Float[np.ndarray, "i d"]
    omega: tuple[Float[np.ndarray, "_ i"], ...]
    biased: bool = False

    def scaled(self, factor: float) -> Ball:
        """All k multiplied by a factor."""
        return replace(self, omega=tuple(factor * part for part in self.omega))

    def seen_through(self, Q: Float[np.ndarray, "d e"]) -> Ball:
        """The products for XQ in the place of X: those of Qᵀk, with entries of V below 1 by a power of 2."""
        span = self.span @ Q
        steps = max(0, int(np.frexp(np.abs(span).max(initial=0.0))[1]))
        return Ball(np.ldexp(span, -steps), tuple(np.ldexp(part, steps) for part in self.omega))

    def rows(self, group: int) -> Float[np.ndarray, "f d"]:
        """k of every form of a group, as computed."""
        return self.omega[group] @ self.span

    def sizes(self, group: int) -> Float[np.ndarray, "f d"]:
        """What is added up in ``rows``, in absolute values."""
        return np.abs(self.omega[group]) @ np.abs(self.span)

    @np.errstate(over="ignore", invalid="ignore")
    def allows(self, r: tuple[Float[np.ndarray, "_ _"], ...]) -> bool:
        """Whether |V| ≤ 1 (for underflow), no row belongs to the form 1, and r_1f + r_f1 ≥ ‖k_f‖ for all forms."""
        if not ((np.abs(self.span) <= 1).all() and len(r) == len(self.omega)):
            return False
        if any(omega.shape != (len(part), len(self.span)) for omega, part in zip(self.omega, r, strict=True)):
            return False
        sizes = {len(part) for part in r}
        numbers = ([number for number, part in enumerate(r) if len(part) == size] for size in sizes)
        return all(
            self._groups_allow(np.stack([self.omega[i] for i in alike]), np.stack([r[i] for i in alike]))
            for alike in numbers
        )

    def _groups_allow(self, omega: Float[np.ndarray, "m f i"], r: Float[np.ndarray, "m f f"]) -> bool:
        """Those of groups with equally many forms."""
        if omega[:, 0].any():
            return False
        count = sum(self.span.shape)
        error = 2 * rounding.gamma(2 * count + 16) * size_of(self.span) * rounding.norm_upper(omega)
        k, tiny = omega @ self.span, rounding.TINY * count**2
        reach = rounding.norm_upper(k[..., :-1]) + np.abs(k[..., -1]) if self.biased else rounding.norm_upper(k)
        norms = (reach + (1.5 if self.biased else 1.0) * (error + tiny)) * (1 + rounding.gamma(8))
        enough = np.nextafter(r[:, 0] + r[:, :, 0], 0.0)[:, 1:] >= np.where(omega.any(axis=2), norms, 0.0)[:, 1:]
        return bool(enough.all())
