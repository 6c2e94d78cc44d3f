"""The affine bound: the moment bound with lower slopes that are affine in u, which its read-off proves by a tilt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from reluopt.bounds.affine_search import AffineSearch
from reluopt.bounds.moment_search import MomentSearch
from reluopt.bounds.second_moments import SecondMoments


@dataclass(frozen=True)
class AffineSlopes(SecondMoments):
    """Tighter than the moment bound at about twice its cost a step; see :mod:`reluopt.bounds.affine_search`."""

    name: ClassVar[str] = "affine"
    search: ClassVar[type[MomentSearch]] = AffineSearch
