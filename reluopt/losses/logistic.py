"""The logistic loss (cross-entropy of two classes)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from reluopt.losses.decimals import exp_above, log_above
from reluopt.losses.protocol import Array, ClassLoss, namespace

#: Newton steps of the proximal map; it converges to the last digit in fewer from its start.
STEPS = 60


@dataclass(frozen=True)
class Logistic(ClassLoss):
    """ℓ = log(1 + e^{−yf}), D(z) = −t log t − (1 − t) log(1 − t) on 0 ≤ t ≤ 1, t = yz."""

    name: ClassVar[str] = "logistic"
    lipschitz: ClassVar[float] = 0.25

    def value(self, f: Array, y: Array) -> Array:
        """log(e^0 + e^{−yf}), which overflows nowhere."""
        margin = y * f
        return namespace(f).logaddexp(0.0 * margin, -margin)

    def gradient(self, f: Array, y: Array) -> Array:
        """−y/(1 + e^{yf})."""
        return -y * _sigmoid(-y * f)

    def curvature(self, f: Array, y: Array) -> Array:
        """σ(f)σ(−f)."""
        return _sigmoid(f) * _sigmoid(-f)

    def minimiser(self, y: Array) -> Array:
        """y·∞: it has none."""
        return y * math.inf

    def prox(self, f: Array, y: Array, step: Array | float) -> Array:
        """The root of p − f + step·ℓ'(p) in [f, f + step] (times y), by Newton kept inside of a shrinking bracket."""
        xp = namespace(f)
        # in the margin m = yp: m − yf = step·σ(−m)
        start = y * f
        low, high = start, start + step
        m = start + step * _sigmoid(-start) / (1.0 + step * _sigmoid(start) * _sigmoid(-start))
        before = high - low
        for _ in range(STEPS):
            excess = m - start - step * _sigmoid(-m)
            low, high = xp.where(excess <= 0, m, low), xp.where(excess >= 0, m, high)
            change = excess / (1.0 + step * _sigmoid(m) * _sigmoid(-m))
            # a step that is out of the bracket, or no shorter than half of the last, is a bisection
            following = m - change
            wild = (following < low) | (following > high) | (abs(change) > 0.5 * before)
            following = xp.where(wild, 0.5 * (low + high), following)
            before, m = abs(following - m), following
            if not bool((before > 1e-15 * (1.0 + abs(m))).any()):
                break
        return y * m

    def domain(self, y: Array) -> tuple[Array, Array]:
        """From 0 to y."""
        return y.clip(-1.0, 0.0), y.clip(0.0, 1.0)

    def dual(self, z: Array, y: Array) -> Array:
        """The entropy of t = yz."""
        xp, t = namespace(z), y * z
        inside = (t >= 0) & (t <= 1)
        s = xp.where(inside, t, 0.0)
        return xp.where(inside, _entropy(s) + _entropy(1.0 - s), -xp.inf)

    def dual_gradient(self, z: Array, y: Array) -> Array:
        """y·log((1 − t)/t); ±inf at the ends of the domain."""
        xp, t = namespace(z), y * z
        inside = (t > 0) & (t < 1)
        s = xp.where(inside, t, 0.5)
        return y * xp.where(inside, xp.log1p(-s) - xp.log(s), xp.where(t <= 0, xp.inf + 0.0 * t, -xp.inf))

    def dual_curvature(self, z: Array, y: Array) -> Array:
        """1/(t(1 − t))."""
        t = y * z
        return 1.0 / (t * (1.0 - t))

    def dual_exact(self, z: Fraction, y: Fraction) -> Fraction | None:
        """The entropy of t = yz from below, by logarithms that are rounded up."""
        t = y * z
        if not 0 <= t <= 1:
            return None
        return -sum((p * log_above(p) for p in (t, 1 - t) if p > 0), Fraction(0))

    def value_exact(self, f: Fraction, y: Fraction) -> Fraction:
        """log(1 + e^{−yf}) from above."""
        margin = y * f
        linear, power = (-margin, margin) if margin < 0 else (Fraction(0), -margin)
        return linear + log_above(1 + exp_above(power))


def _sigmoid(x: Array) -> Array:
    """1/(1 + e^{−x})."""
    xp = namespace(x)
    if xp.__name__ == "torch":
        return xp.sigmoid(x)
    e = xp.exp(-abs(x))
    return xp.where(x >= 0, 1.0, e) / (1.0 + e)


def _entropy(p: Array) -> Array:
    """−p log p, 0 at 0."""
    xp = namespace(p)
    return -p * xp.log(xp.where(p > 0, p, 1.0))
