"""Runs as one HTML page that needs nothing else: verdict, ladder, drift, descent, neurons, data, and how to check."""

from reluopt.report.collected import RunView, collect
from reluopt.report.page import render

__all__ = ["RunView", "collect", "render"]
