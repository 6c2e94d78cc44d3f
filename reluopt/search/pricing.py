"""Pricing under the name of its room; it stands in :mod:`reluopt.pricing`, because training asks for prices too."""

from reluopt.beta_max import beta_max_estimate
from reluopt.pricing import Maximisers, Price, kink_flips, price

__all__ = ["Maximisers", "Price", "beta_max_estimate", "kink_flips", "price"]
