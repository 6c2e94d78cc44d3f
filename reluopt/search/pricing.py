"""Pricing under the name of its room; it stands in :mod:`reluopt.pricing`, because training asks for prices too."""

from reluopt.pricing import Price, beta_max_estimate, price

__all__ = ["Price", "beta_max_estimate", "price"]
