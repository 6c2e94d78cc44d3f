r"""What a loss ℓ(f, y) is to reluopt: four places of the mathematics, each one method here.

The training problem is L = Σ_i κ_i ℓ(f_i, y_i) + (β/2) Σ_j (‖u_j‖² + α_j²) with weights κ_i ≥ 0, see
:mod:`reluopt.problem`.
A loss enters it by

- value and derivatives (descent, and the dual point z = −ℓ'(f)),
- curvature (Newton),
- the dual objective D(z) = −ℓ*(−z) with its domain, an interval of z for each sample,
- and the exact value of D and of ℓ in rational arithmetic, for proofs.

A new loss is one file with one class derived from :class:`Loss`, and its line in ``reluopt/losses/__init__.py``.
All array methods work elementwise on numpy arrays and on torch tensors alike. With C > 1 outputs f, y and z are
(n, C): a loss of one output is then summed over the outputs (several targets, several labels), and one that ``couples``
them has values of shape (n,).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from reluopt.errors import ConfigError, DataError

Array = Any  # numpy.ndarray or torch.Tensor, shape (n,), or (n, C) with several outputs


def namespace(array: Array) -> Any:
    """The module whose functions take this array: ``torch`` for tensors, ``numpy`` for everything else."""
    if type(array).__module__.startswith("torch"):
        import torch

        return torch
    return np


def each_sample(weights: Any, values: Array) -> Any:
    """κ (n,), or a number, in a shape that goes with ``values`` (n,) or (n, C)."""
    return weights[:, None] if getattr(weights, "ndim", 0) and values.ndim == 2 else weights


def is_one_hot(y: Array) -> bool:
    """Whether every row of y (n, C) names one class: one high entry, all others low, the same two everywhere."""
    if y.ndim != 2:
        return False
    low, high = y.min(), y.max()
    return bool((((y == low) | (y == high)).all()) & ((y == high).sum(-1) == 1).all()) and bool(low < high)


@dataclass(frozen=True)
class Loss(ABC):
    """A convex loss ℓ(f, y) of one output f, for one sample; f, y and results have shape (n,), or (n, C)."""

    #: What users call it.
    name: ClassVar[str]
    #: Whether targets are two classes, −1 and +1; else real numbers.
    classes: ClassVar[bool] = False
    #: Whether ℓ is a function of all outputs of a sample together, and not the sum of one of each.
    couples: ClassVar[bool] = False
    #: Whether ℓ has a derivative everywhere.
    smooth: ClassVar[bool] = True
    #: The constant c of ℓ'' ≤ c (``inf`` for a loss with kinks).
    lipschitz: ClassVar[float] = 1.0

    @property
    def spec(self) -> str:
        """The name with its parameter, as ``make_loss`` reads it: "huber:1.5"."""
        return self.name

    # -- the primal side ---------------------------------------------------------------------------------------------

    @abstractmethod
    def value(self, f: Array, y: Array) -> Array:
        """ℓ(f, y)."""

    @abstractmethod
    def gradient(self, f: Array, y: Array) -> Array:
        """∂ℓ/∂f; at a kink one of its subgradients."""

    @abstractmethod
    def curvature(self, f: Array, y: Array) -> Array:
        """∂²ℓ/∂f²; at a jump of ∂ℓ/∂f the limit from one side."""

    @abstractmethod
    def minimiser(self, y: Array) -> Array:
        """An f that minimises ℓ(f, y), ±inf where none does. Over an interval ℓ is least at it, clipped."""

    @abstractmethod
    def prox(self, f: Array, y: Array, step: Array | float) -> Array:
        """argmin_p ℓ(p, y) + (p − f)²/(2·step)."""

    # -- the dual side -----------------------------------------------------------------------------------------------

    @abstractmethod
    def domain(self, y: Array) -> tuple[Array, Array]:
        """(low, high): D(z) is finite for low ≤ z ≤ high."""

    @abstractmethod
    def dual(self, z: Array, y: Array) -> Array:
        """D(z) = −ℓ*(−z) inside of the domain; −inf outside of it."""

    @abstractmethod
    def dual_gradient(self, z: Array, y: Array) -> Array:
        """D'(z): the f whose dual point is z, −ℓ'(f) = z (±inf at an end of a domain that ℓ' does not reach)."""

    @abstractmethod
    def dual_curvature(self, z: Array, y: Array) -> Array:
        """−D''(z) ≥ 0; 0 where D is linear."""

    def prox_dual(self, z: Array, y: Array, step: Array | float) -> Array:
        """argmax_p D(p) − (p − z)²/(2·step), inside of the domain: z + step·prox(−z/step) by Moreau's identity."""
        return z + step * self.prox(-z / step, y, 1.0 / step)

    # -- exact arithmetic --------------------------------------------------------------------------------------------

    @abstractmethod
    def dual_exact(self, z: Fraction, y: Fraction) -> Fraction | None:
        """A rational number ≤ D(z), None outside of the domain: exact for every loss of rational value."""

    @abstractmethod
    def value_exact(self, f: Fraction, y: Fraction) -> Fraction:
        """A rational number ≥ ℓ(f, y): exact for every loss of rational value."""

    def dual_exact_row(self, z: Sequence[Fraction], y: Sequence[Fraction]) -> Fraction | None:
        """``dual_exact`` of all outputs of a sample."""
        parts = [self.dual_exact(a, b) for a, b in zip(z, y, strict=True)]
        return None if None in parts else sum((part for part in parts if part is not None), Fraction(0))

    def value_exact_row(self, low: Sequence[Fraction], high: Sequence[Fraction], y: Sequence[Fraction]) -> Fraction:
        """≥ ℓ(f, y) for all low ≤ f ≤ high, of all outputs of a sample: ℓ is convex, so that the ends bound it."""
        ends = zip(low, high, y, strict=True)
        return sum((max(self.value_exact(a, t), self.value_exact(b, t)) for a, b, t in ends), Fraction(0))

    def settled(self, z: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """z moved by rounding alone so that equalities of the domain hold exactly; z itself where there are none."""
        return z

    # -- units and people --------------------------------------------------------------------------------------------

    def rescaled(self, unit: float) -> tuple[Loss, float]:
        """(ℓ', s) with ℓ(unit·f, unit·y) = s·ℓ'(f, y). Losses of classes know one unit only.

        Raises
        ------
        ConfigError : a loss of classes and a unit other than 1.
        """
        if unit != 1.0:
            raise ConfigError(f"The {self.name} loss has no units.", "Keep its outputs as they are (unit 1).")
        return self, 1.0

    def smoothed(self, step: float) -> Loss:
        """The loss itself where it is smooth, else its Moreau envelope, at most ½·step·(largest |z|)² below it."""
        from reluopt.losses.envelope import Envelope  # an envelope is a loss itself

        return self if self.smooth else Envelope(self, step)

    def encoded(self, y: np.ndarray) -> np.ndarray:
        """Targets as people have them, as ℓ takes them: labels 0 and 1 of several outputs become −1 and +1."""
        if self.classes and y.ndim == 2 and np.isin(y, (0.0, 1.0)).all():
            return 2.0 * y - 1.0
        return y

    def check_targets(self, y: np.ndarray) -> None:
        """Refuse targets that the loss cannot take.

        Raises
        ------
        DataError : a loss of classes whose targets are not all −1 or +1.
        """
        if self.classes and not (np.abs(y) == 1.0).all():
            bad = y[np.abs(y) != 1.0][0]
            raise DataError(
                f"The {self.name} loss needs two classes, −1 and +1; a target is {bad:g}.",
                'Make two classes of two labels with task="classification" (Dataset.from_arrays, --task), of more with '
                "positive=LABEL (--positive), or choose a loss for numbers, such as squared.",
            )

    def score(self, f: Array, y: Array) -> tuple[str, float]:
        """("accuracy", share of f with the sign of y) for classes, else ("R2", 1 − Σ(f − y)²/Σ(y − ȳ)²).

        With several outputs, where every target names one class: the share of samples whose class has the largest.
        """
        if is_one_hot(y):
            return "accuracy", float((f.argmax(-1) == y.argmax(-1)).sum()) / len(y)
        if self.classes:
            return "accuracy", float(((f > 0) == (y > 0)).sum()) / (len(y) if y.ndim == 1 else y.shape[0] * y.shape[1])
        spread = float(((y - (y.mean() if y.ndim == 1 else y.mean(0))) ** 2).sum())
        return "R2", 1.0 - float(((f - y) ** 2).sum()) / spread if spread > 0 else math.nan


class RealLoss(Loss):
    """Losses of the difference f − y of real numbers: least at f = y."""

    def minimiser(self, y: Array) -> Array:
        """F = y."""
        return y


class ClassLoss(Loss):
    """Losses of the margin yf of two classes y = ±1."""

    classes: ClassVar[bool] = True
