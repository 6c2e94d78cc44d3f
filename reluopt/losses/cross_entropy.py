"""Cross-entropy of C classes: the loss that couples the outputs of a sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from reluopt.errors import DataError
from reluopt.losses.decimals import exp_above, log_above
from reluopt.losses.protocol import Array, Loss, is_one_hot, namespace

#: How far the sum of z may be from 0 in float64 before D counts it as outside of its domain.
ROUNDING = 1e-9
#: Newton steps of the proximal map, more than it needs.
STEPS = 60
#: Binary places of a z that is settled, below the size of its weight: sums of up to 2^12 outputs are exact.
PLACES = 40


@dataclass(frozen=True)
class CrossEntropy(Loss):
    r"""ℓ = log Σ_k e^{f_k} − f_c, D(z) = −Σ_k p_k log p_k for p = y − z in the simplex, y = e_c; f, y and z (n, C).

    Targets are the unit rows e_c, or class numbers 0 … C − 1. Their sum makes Σ_k z_k = 0 a part of the domain:
    :meth:`settled` makes it hold exactly. Values are one a sample, (n,).
    """

    name: ClassVar[str] = "cross_entropy"
    classes: ClassVar[bool] = True
    couples: ClassVar[bool] = True
    lipschitz: ClassVar[float] = 0.5

    def encoded(self, y: np.ndarray) -> np.ndarray:
        """Class numbers as unit rows (n, C); what is a matrix already stays as it is."""
        if y.ndim != 1:
            return y
        count = int(min(max(y.max(), 0.0), len(y))) + 1
        if not (np.isin(y, np.arange(count)).all() and len(np.unique(y)) == count and count >= 2):
            raise DataError(
                "The cross_entropy loss needs class numbers 0, 1, …, C − 1, each of them at least once.",
                "Number the classes so; or use the logistic loss for −1 and +1.",
            )
        return np.eye(count)[y.astype(np.int64)]

    def check_targets(self, y: np.ndarray) -> None:
        """Refuse targets that are not unit rows.

        Raises
        ------
        DataError : see :meth:`encoded`; a matrix whose rows are not zeros but for one 1.
        """
        y = self.encoded(y)
        if not (is_one_hot(y) and np.isin(y, (0.0, 1.0)).all()):
            raise DataError(
                "The cross_entropy loss needs one class a sample: rows of zeros with a single 1.",
                "Give class numbers 0 … C − 1; or the logistic loss where a sample may have several labels.",
            )

    def value(self, f: Array, y: Array) -> Array:
        """log Σ_k e^{f_k − f_c}, which overflows nowhere."""
        top = _largest(f)
        return (namespace(f).log(namespace(f).exp(f - top).sum(-1)) + top[..., 0]) - (f * y).sum(-1)

    def gradient(self, f: Array, y: Array) -> Array:
        """Softmax(f) − y."""
        return _softmax(f) - y

    def curvature(self, f: Array, y: Array) -> Array:
        """The diagonal p_k(1 − p_k) of diag(p) − ppᵀ."""
        p = _softmax(f)
        return p * (1.0 - p)

    def minimiser(self, y: Array) -> Array:
        """+∞ for the class, −∞ for the others: it has none."""
        return (2.0 * y - 1.0) * math.inf

    def prox(self, f: Array, y: Array, step: Array | float) -> Array:
        """F + step·(y − q), q = softmax of it: q_k = ω(log step + g_k − L)/step, g = f + step·y, with L by Newton."""
        from scipy.special import wrightomega  # takes a fifth of a second, which `--help` does not need

        if namespace(f) is not np:
            import torch

            at, targets = (part.detach().cpu().numpy() for part in (f, y))
            return torch.as_tensor(self.prox(at, targets, step)).to(f)
        g = f + step * y + np.log(step)
        L = g.max(-1, keepdims=True) - np.log(step) - step  # Σq ≥ 1 here, and it falls convexly
        for _ in range(STEPS):
            w = wrightomega(g - L)
            change = (w.sum(-1, keepdims=True) - step) / (w / (1.0 + w)).sum(-1, keepdims=True)
            L = L + change
            if not (np.abs(change) > 1e-15 * (1.0 + np.abs(L))).any():
                break
        return f + step * y - wrightomega(g - L)

    def domain(self, y: Array) -> tuple[Array, Array]:
        """From 0 to 1 for the class, from −1 to 0 for the others; also Σ_k z_k = 0."""
        return y - 1.0, 0.0 + y

    def dual(self, z: Array, y: Array) -> Array:
        """The entropy of p = y − z."""
        xp, p = namespace(z), y - z
        inside = (p >= -ROUNDING) & (abs(z.sum(-1)) <= ROUNDING)[..., None]
        s = xp.where(p > 0, p, 1.0)
        return xp.where(inside.all(-1), -(p * (p > 0) * xp.log(s)).sum(-1), -xp.inf)

    def dual_gradient(self, z: Array, y: Array) -> Array:
        """Log p, the f with Σ_k e^{f_k} = 1 (others differ by a constant); −∞ where p is 0."""
        xp, p = namespace(z), y - z
        return xp.where(p > 0, xp.log(xp.where(p > 0, p, 1.0)), -xp.inf)

    def dual_curvature(self, z: Array, y: Array) -> Array:
        """The diagonal 1/p."""
        return 1.0 / (y - z)

    def settled(self, z: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The z of other classes clipped to [−κ, 0] on a dyadic grid; that of the class is minus their sum, exactly."""
        unit = np.ldexp(1.0, np.frexp(weights)[1] - PLACES)[:, None]
        others = np.where(y > 0, 0.0, np.minimum(np.rint(z / unit), 0.0) * unit)
        total = -others.sum(-1, keepdims=True)
        # a sum above κ would leave the domain: then the row is shrunk, rounded towards 0
        share = np.where(total > weights[:, None], weights[:, None] / np.where(total > 0, total, 1.0), 1.0)
        others = np.where(share < 1, np.ceil(others * (share * (1 - 2.0**-40)) / unit) * unit, others)
        return np.where(y > 0, -others.sum(-1, keepdims=True), others)

    def dual_exact(self, z: Fraction, y: Fraction) -> Fraction | None:
        """Not of one output alone."""
        raise TypeError("cross_entropy couples its outputs: see dual_exact_row")

    def value_exact(self, f: Fraction, y: Fraction) -> Fraction:
        """Not of one output alone."""
        raise TypeError("cross_entropy couples its outputs: see value_exact_row")

    def dual_exact_row(self, z: Sequence[Fraction], y: Sequence[Fraction]) -> Fraction | None:
        """The entropy of p = y − z from below; None unless p ≥ 0 and Σz = 0 exactly."""
        p = [b - a for a, b in zip(z, y, strict=True)]
        if min(p) < 0 or sum(z, Fraction(0)) != 0:
            return None
        return -sum((q * log_above(q) for q in p if q > 0), Fraction(0))

    def value_exact_row(self, low: Sequence[Fraction], high: Sequence[Fraction], y: Sequence[Fraction]) -> Fraction:
        """log Σ_k e^{f_k − f_c} from above at its largest: f_c is lowest and all others are highest."""
        c = max(range(len(y)), key=y.__getitem__)
        margins = [Fraction(0) if k == c else top - low[c] for k, top in enumerate(high)]
        most = max(margins)
        return most + log_above(sum((exp_above(m - most) for m in margins), Fraction(0)))

    def score(self, f: Array, y: Array) -> tuple[str, float]:
        """("accuracy", share of samples whose class has the largest output)."""
        return "accuracy", float((f.argmax(-1) == y.argmax(-1)).sum()) / len(y)


def _largest(f: Array) -> Array:
    """The largest output of each sample, (n, 1)."""
    return f.amax(-1, keepdim=True) if namespace(f) is not np else f.max(-1, keepdims=True)


def _softmax(f: Array) -> Array:
    e = namespace(f).exp(f - _largest(f))
    return e / e.sum(-1)[..., None]
