"""Everything about rounding, outside of the certificate checker: bounds in float64 that hold in real arithmetic.

``rounding`` has directed sums, norms, eigenvalues and the outputs of a network; ``linear_systems`` the signs of the
solutions of small systems. What a loss needs to be exact is with the losses (``losses/rationals.py``, which uses
these); decimal texts of proved numbers are in ``printing``.
"""
