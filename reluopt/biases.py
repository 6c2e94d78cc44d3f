r"""Biases that weight decay leaves alone: a part of the training problem, and what they ask of its dual.

.. math:: f_i = Σ_j (x_iᵀu_j + b_j)_+ α_j + c

- An *output intercept* c, free or decayed with (β/2)c². Minimising Σκℓ + vᵀ1·c over c turns its freedom into
  Σ_i z_i = 0 (for each output), and its decay into −(Σ_i z_i)²/2β beside the dual objective.
- *First-layer biases* b_j, the weights on the last column of X, which is all ones, free of decay. With z fixed and
  ‖u‖ ≤ 1, zᵀ(Xu + b)_+ is bounded over b only if Σ_i z_i = 0: then it is constant in b beyond its outermost kinks. A
  neuron with u = 0 is an intercept whose cost goes to 0 with α, so that free first-layer biases bring a free intercept.

A sum of floating point numbers is 0 *exactly* where they are multiples of one power of two and their integers add up to
0: ``with_zero_sums`` makes it so, moving z towards 0 only, which no domain of a dual objective forbids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float

from reluopt.errors import ConfigError

#: Binary places of the largest entry of a z that sums to 0.
PLACES = 48
#: An intercept is not searched further away than this many units of the targets.
FAR = 1e9

OUTPUT, FIRST = ("none", "free", "decayed"), ("none", "free")


@dataclass(frozen=True)
class Biases:
    """Which biases the network has that are no weights of X's columns, and whether they are decayed.

    Attributes
    ----------
    output : the intercept c of every output: "none", "free" (it costs nothing), "decayed" (it costs (β/2)c²).
    first : "free" if the last column of X is all ones and its weights b cost nothing, else "none".

    Raises
    ------
    ConfigError : another word.
    """

    output: str = "none"
    first: str = "none"

    def __post_init__(self) -> None:
        for name, value, allowed in (("output", self.output, OUTPUT), ("first", self.first, FIRST)):
            if value not in allowed:
                raise ConfigError(f"The {name} bias is {value!r}.", f"Choose one of: {', '.join(allowed)}.")

    def __bool__(self) -> bool:
        return self.intercept or self.first_free

    @property
    def intercept(self) -> bool:
        """Whether the network has an intercept c."""
        return self.output != "none"

    @property
    def first_free(self) -> bool:
        """Whether the weights on the last column of X are not decayed."""
        return self.first == "free"

    @property
    def zero_sum(self) -> bool:
        """Whether the dual asks for Σ_i z_i = 0."""
        return self.first_free or self.output == "free"

    @property
    def words(self) -> str:
        """For a line about the problem: "free output bias, free first-layer biases"; empty without any."""
        parts = [f"{self.output} output bias"] if self.intercept else []
        parts += [f"{self.first} first-layer biases"] if self.first_free else []
        return ", ".join(parts)


NO_BIASES = Biases()


def sums(z: Float[np.ndarray, "n ..."]) -> list[Fraction]:
    """Σ_i z_i of every output, exactly."""
    return [sum(map(Fraction, column), Fraction(0)) for column in z.reshape(len(z), -1).T.tolist()]


def with_zero_sums(
    z: Float[np.ndarray, "n ..."], weights: Float[np.ndarray, " n"] | None = None
) -> Float[np.ndarray, "n ..."]:
    """z moved a little, so that Σ_i z_i = 0 exactly for every output; entries only shrink.

    With ``weights`` κ the outputs are coupled as by the cross-entropy: z = κy − p, p ≥ 0, and the rows of z (n, C) sum
    to 0 exactly too. Then z must be there but for rounding already; where it is not, the result is 0.
    """
    if not np.isfinite(z).all() or not z.any():
        return z
    if _grid(z) == 0.0:  # subnormal numbers: too small for a grid below them
        return np.zeros_like(z)
    if weights is not None:
        return _with_zero_margins(z, weights)
    columns = [_with_zero_sum(column) for column in z.reshape(len(z), -1).T]
    return np.stack(columns, axis=1).reshape(z.shape)


def _grid(z: Float[np.ndarray, ...]) -> float:
    """The unit of a grid on which all entries are integers below 2^PLACES."""
    return float(np.ldexp(1.0, int(np.frexp(np.abs(z).max())[1]) - PLACES))


def _with_zero_sum(z: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The larger of the positive and the negative part is shrunk to the sum of the other one."""
    up, down = float(np.maximum(z, 0.0).sum()), float(np.maximum(-z, 0.0).sum())
    if not (up > 0 and down > 0):
        return np.zeros_like(z)
    z = np.where(z > 0, z * min(1.0, down / up), z * min(1.0, up / down))
    unit = _grid(z)
    if unit == 0.0:
        return np.zeros_like(z)
    whole = np.trunc(z / unit)
    rest = sum(map(int, whole.tolist()))
    for i in np.argsort(-whole if rest > 0 else whole, kind="stable"):  # the largest of the side that is too large
        size = abs(int(whole[i]))
        part = max(-size, min(size, rest))
        whole[i] -= part
        rest -= part
        if rest == 0:
            break
    return whole * unit


def _with_zero_margins(z: Float[np.ndarray, "n C"], weights: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n C"]:
    """The entry of its class takes up a row's sum, and one sample, the one with the most room, those of the columns."""
    unit, at, own = _grid(z), np.arange(len(z)), z.argmax(axis=1)
    whole = np.minimum(np.trunc(z / unit), 0.0).astype(np.int64)
    whole[at, own] = 0
    whole[at, own] = -whole.sum(axis=1)
    rest = [sum(column) for column in whole.T.tolist()]
    if max(map(abs, rest)) >= 2**PLACES:
        return np.zeros_like(z)
    # p = κy − z changes by +rest in that sample: what falls must not fall below 0
    shares = -whole
    with np.errstate(over="ignore"):  # far more than is needed is enough
        shares[at, own] += np.minimum(weights / unit, 2.0**62).astype(np.int64)
    room = (shares + np.minimum(rest, 0)).min(axis=1)
    best = int(room.argmax())
    if room[best] < 0:
        return np.zeros_like(z)
    whole[best] -= np.array(rest)
    return whole * unit


def decreasing_root(slope: Callable[[float], float], near: float, size: float) -> float:
    """c where ``slope``, which decreases, is 0; the end of the range where it is not within FAR·size of ``near``."""
    from scipy.optimize import brentq  # settings know the biases, and `--help` needs no scipy

    here, step = slope(near), size
    if here == 0:
        return near
    way, last = (1.0 if here > 0 else -1.0), near
    while way * slope(far := last + way * step) > 0:
        last, step = far, 4.0 * step
        if step > FAR * size:
            return far
    return float(brentq(slope, min(last, far), max(last, far), xtol=1e-15 * size, rtol=1e-15))
