r"""What groups of samples add to the matrix M of a bound: their s eliminated, with the rounding of it.

A group's form is hᵀHh + 2sᵀBh − sᵀAs on its head h and its s (``lifting.py``). With A ≈ LLᵀ and B ≈ LY it is at most
hᵀ(H + YᵀY)h + δ, as 2sᵀ(B − LY)h − sᵀ(A − LLᵀ)s ≤ δ for ‖h‖ ≤ √2 and ‖s‖ ≤ ‖X‖_F. Groups of one size are bounded at
once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from reluopt.bounds.ball import Ball
from reluopt.bounds.lifting import Lifting, eliminated
from reluopt.rigor import rounding
from reluopt.rigor.rounding import frobenius_upper as size_of

#: Numbers of the products of the groups that are bounded at once, unless one group has more.
AT_ONCE = 2**18
#: Of the groups together: (Σ (H + YᵀY), e, δ); e bounds the rounding of the matrix.
Bounded = tuple[Float[np.ndarray, "e e"], float, float]


def groups_bound(
    X: Float[np.ndarray, "n d"],
    F: Float[np.ndarray, "f e"],
    groups: Sequence[Int[np.ndarray, " _"]],
    z: Float[np.ndarray, "n ..."],
    nu: Float[np.ndarray, " n"],
    r: Sequence[Float[np.ndarray, "_ _"]],
    ball: Ball | None = None,
) -> Bounded:
    """The sum of the bounds of all groups.

    Parameters
    ----------
    F : forms of the head. ``groups`` : samples of each. ``r`` : of each the multipliers of the products of its forms.

    Raises ``LinAlgError`` where an A is not definite.
    """
    M, error, slack = np.zeros((F.shape[1], F.shape[1])), 0.0, 0.0
    for numbers in _alike(groups, len(F)):
        at = np.stack([groups[number] for number in numbers])
        own, products = None, np.stack([r[number] for number in numbers])
        if ball is not None:
            omega = np.stack([ball.omega[number] for number in numbers])
            own = omega @ ball.span, np.abs(omega) @ np.abs(ball.span), len(ball.span)
        part, off, more = _bound(X[at], F, z[at], nu[at], products, len(groups), own)
        M, error, slack = M + part, error + off, slack + more
    spare = 1 + rounding.gamma(len(groups))
    return M, error * spare, slack * spare


def _alike(groups: Sequence[Int[np.ndarray, " _"]], f: int) -> Iterator[list[int]]:
    """The numbers of groups of one size, some at a time."""
    for size in sorted({len(group) for group in groups}):
        numbers = [number for number, group in enumerate(groups) if len(group) == size]
        most = max(1, AT_ONCE // (f + 2 * size) ** 2)
        yield from (numbers[start : start + most] for start in range(0, len(numbers), most))


def _bound(
    X: Float[np.ndarray, "m p d"],
    F: Float[np.ndarray, "f e"],
    z: Float[np.ndarray, "m p ..."],
    nu: Float[np.ndarray, "m p"],
    r: Float[np.ndarray, "m a a"],
    steps: int,
    ball: tuple[Float[np.ndarray, "m a d"], Float[np.ndarray, "m a d"], int] | None,
) -> Bounded:
    """Of m groups of one size.

    ``steps`` additions will follow; ``ball`` has the rows k of ball products as computed, the sizes of what was added
    up in them, and how many terms that were.
    """
    lifting, r, ((m, p, _), a) = Lifting(X, F), 0.5 * (r + r.transpose(0, 2, 1)), (X.shape, r.shape[1])
    k, k_size, terms = (None, None, 0) if ball is None else (ball[0], -ball[1], ball[2])
    H, B, A = lifting.blocks(z, nu, lifting.summed(r), k)
    found = eliminated(B, A)
    if found is None:
        raise np.linalg.LinAlgError("a group is not definite")
    L, Y = found
    # one sign for all that is added up: sums of absolute values
    above = Lifting(-np.abs(X), np.abs(F))
    on_H, on_B, on_A = above.blocks(np.abs(z), -np.abs(nu), above.summed(r), k_size)
    reach, on_s, on_h = _sizes(X), _sizes(L), _sizes(Y)
    # H and YᵀY add up m p products, and what each group has of its own
    share = rounding.gamma(m * (p + 1) + 2 * a + terms + steps + 16) * 1.01
    tiny = rounding.TINY * (m + a + F.shape[1] + terms) ** 4 * np.square(rounding.largest_entry(X, F, r, k_size))
    once, later = 1 + rounding.gamma(1), 1 + rounding.gamma(m + 8)
    off = share * (size_of(on_H) + float(np.square(on_h).sum())) * later + tiny
    by_B = _sizes(B - L @ Y) * once + share * (_sizes(on_B) + on_s * on_h) + tiny
    by_A = _sizes(A - L @ np.swapaxes(L, -1, -2)) * once + share * (_sizes(on_A) + on_s * on_s) + tiny
    slack = float((3.0 * reach * by_B + reach * (reach * by_A)).sum()) * later + rounding.TINY
    flat = Y.reshape(m * p, F.shape[1])
    return H + flat.T @ flat, off, slack


def _sizes(part: Float[np.ndarray, "m p q"]) -> Float[np.ndarray, " m"]:
    """≥ the Frobenius norm of each."""
    return rounding.norm_upper(part.reshape(len(part), part.shape[1] * part.shape[2]))
