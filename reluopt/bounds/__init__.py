"""Proved lower bounds on p*, the optimum of the training problem for networks of every width."""

from reluopt.bounds.closed_form import closed_form
from reluopt.bounds.exact import exact
from reluopt.bounds.lower_bound import LowerBound
from reluopt.bounds.moment import beta_max_upper, moment
from reluopt.bounds.neighbours import neighbours
from reluopt.bounds.splitting import pairwise, splitting
from reluopt.bounds.tightened import tightened

__all__ = [
    "LowerBound",
    "beta_max_upper",
    "closed_form",
    "exact",
    "moment",
    "neighbours",
    "pairwise",
    "splitting",
    "tightened",
]
