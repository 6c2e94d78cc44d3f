"""Proved lower bounds on p*, the optimum of the training problem for networks of every width."""

from reluopt.bounds.closed_form import closed_form
from reluopt.bounds.exact import exact
from reluopt.bounds.lower_bound import LowerBound
from reluopt.bounds.moment import beta_max_upper, moment
from reluopt.bounds.splitting import pairwise, splitting

__all__ = ["LowerBound", "beta_max_upper", "closed_form", "exact", "moment", "pairwise", "splitting"]
