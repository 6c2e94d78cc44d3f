"""Train two-layer ReLU networks, watch their activation patterns drift, prove how far they are from the optimum."""

__version__ = "0.1.0"
