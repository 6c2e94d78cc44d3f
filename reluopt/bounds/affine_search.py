r"""Theorem B with affine slopes over low-rank factors: the search behind the affine bound, for any loss.

The moment bound allows E[α(xᵀu)_+] down to (a)_+, a = xᵀYu. Where tr Yuu = Y00, as for balanced neurons, it is at least

.. math:: lo_i = ½(a_i + max(|a_i|, ‖Yuu x_i‖)),

because (xᵀu)_+ ≥ τ xᵀu for every slope τ in [0, 1], also one that is affine in u: its best choice leads to ‖Yuu x‖.
The maximum is smoothed from below, so that lo ≤ hi at any smoothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from reluopt.bounds.evidence import Evidence, Multipliers, theorem_a, unsplit
from reluopt.bounds.factors import FLOOR, Moments, moments, random_factors, through_rows
from reluopt.bounds.moment_search import WORTH, MomentSearch
from reluopt.bounds.region_forms import Geometry
from reluopt.bounds.row_space import in_row_space
from reluopt.bounds.slopes import Slopes, image_norms_upper

#: How much smaller η is made than what is exact, so that its conditions hold in spite of rounding.
SAFETY = 1e-9
#: η is not made larger than by an image Wx of this share of ‖R‖²‖x‖ (where R is orthogonal to x all of the image is
#: rounding, which η would blow up to the size of the bound), nor than by one of this norm.
ORTHOGONAL, SMALLEST = 1e-6, 1e-60
#: Rows of R this much smaller than the largest are taken off, at most so many are added at a time.
NEGLIGIBLE, MOST = 1e-2, 8
#: From this excess 2λ/β − 1 on a new row has its full length.
WHOLE = 0.1
#: The random part of a start from other factors, as a fraction of their largest entry.
NOISE = 1e-2
#: Of the objective without smoothing.
SHARP = 1e-6
#: Halvings of the interval of the tilt δ.
HALVINGS = 24


@dataclass(frozen=True)
class AffineMoments(Moments):
    """Moments with R_u (2, k, d), KG with K = R_uR_uᵀ, ‖Yuu x_i‖, and the weights of a, −a, ‖Yuu x‖ in the maximum."""

    Ru: Float[Tensor, "2 k d"]
    KG: Float[Tensor, "2 k n"]
    norms: Float[Tensor, "2 n"]
    weights: Float[Tensor, "3 2 n"]

    def pull_back(
        self, X: Float[Tensor, "n d"], on_hi: Float[Tensor, "2 n"], on_lo: Float[Tensor, "2 n"]
    ) -> Float[Tensor, "2 k e"]:
        """The gradient by R of Σ on_hi·hi + on_lo·lo; ‖Yuu x‖² = gᵀKg for the columns g of G."""
        by_r0, by_G = self._by_products(on_hi, on_lo)
        share = (0.5 * on_lo * self.weights[2] / self.norms)[:, None]
        by_K = torch.bmm(share * self.G, self.G.mT)
        by_u = through_rows(by_G.addcmul_(share, self.KG), X) + torch.bmm(by_K, self.Ru)
        return torch.cat([by_r0[:, :, None], by_u], dim=2)


def affine_moments(X: Float[Tensor, "n d"], R: Float[Tensor, "2 k e"], epsilon: float) -> AffineMoments:
    """The moments of factors with ‖r_0‖ = ‖R_u‖ on the data, with the maximum smoothed by ``epsilon``."""
    Ru, m = R[:, :, 1:], moments(X, R, epsilon)
    KG = torch.bmm(torch.bmm(Ru, Ru.mT), m.G)
    norms = ((m.G * KG).sum(1).clamp_(min=0) + FLOOR).sqrt()
    a = 2 * m.hi - m.reach
    candidates = torch.stack([a, -a, norms]) / epsilon
    soft = torch.logsumexp(candidates, 0)
    weights = torch.exp(candidates - soft)
    slope, top = 0.5 * (1.0 + weights[0] - weights[1]), epsilon * (soft - math.log(3.0))
    return AffineMoments(m.G, m.r0, m.B, m.T, m.reach, slope, 0.5 * (a + top), m.hi, Ru, KG, norms, weights)


class AffineSearch(MomentSearch):
    """Theorem B's objective with affine slopes over R (2, k, d + 1), whose R_u is scaled to ‖R_u‖ = ‖r_0‖ first."""

    #: Where R_u is among the columns of what is searched.
    on_u: ClassVar[slice] = slice(1, None)

    def _normalised(
        self, R: Float[np.ndarray, "2 k e"]
    ) -> tuple[Float[np.ndarray, "2 k e"], Float[np.ndarray, "2 1 1"]]:
        """R with tr Yuu = Y00, and what R_u was multiplied by."""
        sizes, scaled = np.sqrt((R * R).sum(axis=1, keepdims=True)), R.copy()
        factor = sizes[:, :, :1] / np.maximum(np.linalg.norm(sizes[:, :, self.on_u], axis=2, keepdims=True), 1e-150)
        scaled[:, :, self.on_u] *= factor
        return scaled, factor

    def _moments(self, R: Float[np.ndarray, "2 k e"], epsilon: float) -> AffineMoments:
        return affine_moments(self.X, torch.as_tensor(R, device=self.X.device), epsilon)

    def objective(self, R: Float[np.ndarray, "2 k e"], epsilon: float) -> tuple[float, Float[np.ndarray, "2 k e"]]:
        """The smoothed objective at the scaled factors, and its gradient by R."""
        (scaled, factor), u = self._normalised(R), self.on_u
        value, by = self._at_scaled(scaled, epsilon)
        radial = (by[:, :, u] * scaled[:, :, u]).sum(axis=(1, 2), keepdims=True)
        size = (R[:, :, :1] ** 2).sum(axis=1, keepdims=True) + FLOOR
        whole = (R[:, :, u] ** 2).sum(axis=(1, 2), keepdims=True) + FLOOR
        by = by.copy()
        by[:, :, :1] += radial * R[:, :, :1] / size
        by[:, :, u] = factor * by[:, :, u] - radial * R[:, :, u] / whole
        return value, by

    def _at_scaled(self, R: Float[np.ndarray, "2 k e"], epsilon: float) -> tuple[float, Float[np.ndarray, "2 k e"]]:
        """The objective at factors that are scaled, and its gradient by them."""
        return super().objective(R, epsilon)

    @property
    def factors(self) -> Float[np.ndarray, "2 k e"]:
        """R with ‖R_u‖ = ‖r_0‖, in the data's units."""
        return self._normalised(self.R)[0] * self.units.weight

    def start_at(self, factors: Float[np.ndarray, "2 k e"]) -> None:
        """Start at factors in the data's units, and a little off: a row of zeros would stay one."""
        R = factors / self.units.weight
        self.R = R + NOISE * np.abs(R).max() * random_factors(R.shape[1], self.problem.d, 0)

    def objective_without_smoothing(self) -> float:
        """At the current factors, in the data's units: what this relaxation can prove is not above it."""
        return self.units.value * self.objective(self.R, SHARP)[0]

    def escape(self, evidence: Evidence, worth: float = WORTH) -> bool:  # type: ignore[override]
        """Take negligible rows off R, add the directions in which the objective still falls; whether there are any."""
        rising = self._rising(evidence, worth)
        self.R = self._with_rows(self.R, rising)
        return any(len(excess) for excess, _ in rising)

    @staticmethod
    def _with_rows(
        factors: Float[np.ndarray, "2 k e"],
        rising: list[tuple[Float[np.ndarray, " _"], Float[np.ndarray, "_ e"]]],
    ) -> Float[np.ndarray, "2 l e"]:
        """The factors without negligible rows, and with short ones in the rising directions."""
        top, sides = max(0.1, *(float(np.linalg.norm(R, 2)) for R in factors)), []
        for R, (excess, directions) in zip(factors, rising, strict=True):
            _, sizes, rows = np.linalg.svd(R, full_matrices=False)
            kept = (sizes[:, None] * rows)[sizes > NEGLIGIBLE * sizes[0]]
            # what a direction of length a gains is a² times its excess, but for terms of higher order
            lengths = 0.1 * top * np.sqrt(np.minimum(1.0, excess[:MOST] / WHOLE))
            sides.append(np.vstack([kept, lengths[:, None] * directions[:MOST]]))
        most = max(map(len, sides))
        return np.stack([np.pad(rows, ((0, most - len(rows)), (0, 0))) for rows in sides])

    def evidence(self, epsilon: float) -> Evidence:
        """z = −κℓ' (Aᵀz) and the multipliers with affine slopes, in the data's own units; the tilt is optimised."""
        m = self._moments(self._normalised(self.R)[0], epsilon)
        self.z = self._dual_point(m, epsilon)
        v = self.problem.spread(self.z)
        sides = [self._multipliers(m, side, signed) for side, signed in enumerate((v, -v))]
        return tilted(self.problem.X, unsplit(v, self.problem.d, *sides))

    def _multipliers(self, m: AffineMoments, side: int, z: Float[np.ndarray, " n"]) -> Multipliers:
        """Theorem A's ν, with c and η read off the weights of the smoothed maximum."""
        below = np.maximum(-z, 0.0)
        up, _, slanted = (weights.cpu().numpy() for weights in m.weights[:, side])
        factor = m.Ru[side].cpu().numpy()
        factor = np.ldexp(factor, -int(np.frexp(np.abs(factor).max())[1]))
        share = below * slanted / 2
        images, reach = image_norms_upper(self.problem.X, factor), np.linalg.norm(self.problem.X, axis=1)
        images = np.maximum(images, ORTHOGONAL * np.linalg.norm(factor) ** 2 * reach)
        eta = (1 - SAFETY) * share / np.maximum(images, SMALLEST)
        ratio = (m.T[side] / m.B[side]).sqrt().cpu().numpy() / self.units.x
        plain = theorem_a(z, below * up + share, np.maximum(z, 0.0) * ratio)
        # w = max(z + c + |η|‖Wx‖, 0) is 0 where z < 0, in spite of rounding: the three weights add up to one
        w = np.where(z > 0, plain.w, 0.0)
        c = np.maximum(
            np.minimum(plain.c, np.maximum(below * (1 - SAFETY) - share, 0.0)), np.where(eta > 0, share, 0.0)
        )
        return Multipliers(w, c, plain.nu, (), Slopes(factor, eta, 0.0))


def tilted(X: Float[np.ndarray, "n d"], evidence: Evidence) -> Evidence:
    """The evidence of one region without cuts with the best tilt for each sign."""
    (whole,) = evidence.regions
    rows, own = in_row_space(X, whole)
    geometry = Geometry.of(rows, own.cuts, own.groups)
    best = [best_tilt(geometry, z, m) for z, m in ((evidence.z, own.positive), (-evidence.z, own.negative))]
    return unsplit(evidence.z, X.shape[1], whole.positive.with_tilt(best[0]), whole.negative.with_tilt(best[1]))


def best_tilt(geometry: Geometry, z: Float[np.ndarray, " n"], m: Multipliers) -> float:
    """The δ of least λmax(M + δ·diag(1, −I)): convex in δ, by halving on the sign of its slope."""
    assert m.slopes is not None
    M, _, _ = geometry.matrix(z, m.with_tilt(0.0))
    if not np.isfinite(M).all():
        return 0.0
    end, signs = len(M) - 1, np.where(np.arange(len(M)) == 0, 1.0, -1.0)
    size = float(np.linalg.norm(M))
    low, high = -size, size
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        _, vectors = scipy.linalg.eigh(M + middle * np.diag(signs), subset_by_index=(end, end), check_finite=False)
        rising = float(signs @ vectors[:, 0] ** 2) > 0
        low, high = (low, middle) if rising else (middle, high)
    return 0.5 * (low + high)
