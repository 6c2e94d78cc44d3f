"""Section 9 of SPEC.md: several outputs. One matrix on (a, u), no signs and no regions."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from .biases import MORE_STEPS, levels, lifted, read_lift
from .certificate import Certificate
from .leaf import BLOCK, eliminated, residual
from .numbers import SMALLEST_NU, UNDERFLOW, Array, finite, gamma, norm, row_norms
from .refusal import Refused, require


def support_upper(c: Certificate, X: Array, z: Array) -> Fraction:
    """B ≥ ‖zᵀ(Xu)_+‖ for all ‖u‖ ≤ 1, z (n, C)."""
    nu, groups, r, level = read_multipliers(c)
    lift = c.problem.biases.first_free
    X = lifted(X, *read_lift(c)) if lift else X
    free = np.ones(len(X), dtype=bool)
    for group in groups:
        free[group] = False
    require(level >= 0, "the level is negative")
    require((nu[free] >= 0).all() and all((part >= 0).all() for part in r), "r or nu has a negative entry")
    require((nu[free & (nu != 0)] >= SMALLEST_NU).all(), "nu has an entry between 0 and 2^-256")
    require((z[free & (nu == 0)] == 0).all(), "nu is 0 where a row of z is not")
    steps = len(groups) + (MORE_STEPS if lift else 0)
    M, error = head(X, z, np.where(free, nu, 0.0), steps)
    F, slack = np.zeros((0, z.shape[1] + X.shape[1])), Fraction(0)
    for number, (group, square) in enumerate(zip(groups, r, strict=True)):
        try:
            part, off, delta = eliminated(X[group], z[group], F, nu[group], square, steps)
        except np.linalg.LinAlgError as problem:
            raise Refused(f"group {number} is not definite") from problem
        M, error, slack = finite(M + part, "the matrix M"), error + off, slack + delta
    if lift:
        gap = residual(M, levels(level, float(c.tensor("spread", 1)[0]), z.shape[1], X.shape[1]))
        return max(Fraction(0), 2 * Fraction(level) + 3 * (error + gap) + 2 * slack)
    return max(Fraction(0), 2 * Fraction(level) + 2 * (error + residual(M, level)) + slack)


def read_multipliers(c: Certificate) -> tuple[Array, Sequence[Array], Sequence[Array], float]:
    """(ν, the groups, one matrix r a group, λ), of the right types and shapes."""
    nu, level = c.tensor("nu", c.problem.n), float(c.tensor("level", 1)[0])
    groups, squares = read_groups(c.tensor("groups", None), c.tensor("paired", None), c.problem.n)
    flat = c.tensor("r", squares[-1].stop if squares else 0)
    r = [flat[at].reshape(2 * len(group), 2 * len(group)) for group, at in zip(groups, squares, strict=True)]
    return nu, groups, r, level


def read_groups(sizes: Array, paired: Array, n: int) -> tuple[Sequence[Array], Sequence[slice]]:
    """The samples of each group, and where its numbers lie in r; sizes are checked before anything of them is made."""
    require(((sizes >= 0) & (sizes <= n)).all(), "a group has a size outside of 0 ... n")
    require(sum(map(int, sizes)) == len(paired), "'paired' has another length than the groups together")
    require(((paired >= 0) & (paired < n)).all(), "a group names a sample that does not exist")
    require(len(np.unique(paired)) == len(paired), "a sample is twice in the groups")
    groups, squares, sample, square = [], [], 0, 0
    for size in map(int, sizes):
        groups.append(paired[sample : sample + size])
        squares.append(slice(square, square + (2 * size) ** 2))
        require((groups[-1][1:] > groups[-1][:-1]).all(), "the samples of a group are not in rising order")
        sample, square = sample + size, squares[-1].stop
    return groups, squares


def head(X: Array, z: Array, nu: Array, steps: int) -> tuple[Array, Fraction]:
    """(M₀, E₀): what free samples add on (a, u), and E₀ ≥ the Frobenius norm of its rounding.

    ``nu`` is 0 but for free samples; ``steps`` matrices follow.
    """
    n, width = len(X), z.shape[1] + X.shape[1]
    M, size = np.zeros((width, width)), Fraction(0)
    for start in range(0, n, BLOCK):
        on = np.flatnonzero(nu[start : start + BLOCK] > 0) + start
        root = np.sqrt(nu[on])
        half = finite(0.5 * np.hstack([z[on] / root[:, None], root[:, None] * X[on]]), "half")
        M += half.T @ half
        size += Fraction(norm(0.5 * row_norms(z[on]) / root + 0.5 * root * row_norms(X[on]))) ** 2
    share = Fraction(gamma(n + steps + 32))
    return finite(0.5 * (M + M.T), "the matrix M"), share * size + Fraction(UNDERFLOW)
