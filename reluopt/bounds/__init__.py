"""Proved lower bounds on p*, the optimum of the training problem for networks of every width."""

from reluopt.bounds.affine_slopes import affine
from reluopt.bounds.all_cells import exact
from reluopt.bounds.branch_and_bound import pairwise, splitting
from reluopt.bounds.clique import neighbours
from reluopt.bounds.lower_bound import LowerBound
from reluopt.bounds.protocol import Bound, Start, best_of
from reluopt.bounds.registry import BOUNDS, race, tightened
from reluopt.bounds.second_moments import beta_max_upper, moment
from reluopt.bounds.small_rank import simplicial
from reluopt.bounds.spectral_norm import closed_form

__all__ = [
    "BOUNDS",
    "Bound",
    "LowerBound",
    "Start",
    "affine",
    "best_of",
    "beta_max_upper",
    "closed_form",
    "exact",
    "moment",
    "neighbours",
    "pairwise",
    "race",
    "simplicial",
    "splitting",
    "tightened",
]
