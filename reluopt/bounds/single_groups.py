"""Groups of one sample each, all at once: what ``region_forms.group_bound`` says of them one by one, added up."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from reluopt.rigor import rounding

Blocks = tuple[Float[np.ndarray, "m e e"], Float[np.ndarray, "m e"], Float[np.ndarray, " m"]]


def singles_bound(
    X: Float[np.ndarray, "m d"],
    F: Float[np.ndarray, "f e"],
    z: Float[np.ndarray, " m"],
    nu: Float[np.ndarray, " m"],
    r: Float[np.ndarray, "m a a"],
    steps: int,
    ball: tuple[Float[np.ndarray, "m a d"], Float[np.ndarray, "m a d"], int] | None = None,
) -> tuple[Float[np.ndarray, "e e"], float, float]:
    """(Σ(H + yyᵀ), Σe, Σδ) of the groups: as of ``group_bound``, with L = √A and y = B/√A.

    ``steps`` : additions that there are, those of these sums among them.

    Raises ``LinAlgError`` where an A is not positive.
    """
    r, e = 0.5 * (r + r.transpose(0, 2, 1)), F.shape[1]
    k, k_size, terms = (None, None, 0) if ball is None else (ball[0], -ball[1], ball[2])
    H, B, A = _blocks(X, F, z, nu, r, k)
    if not (A > 0).all():
        raise np.linalg.LinAlgError("a group is not definite")
    L = np.sqrt(A)
    Y = B / L[:, None]
    # one sign for all that is added up: sums of absolute values
    on_H, on_B, on_A = _blocks(-np.abs(X), np.abs(F), np.abs(z), -np.abs(nu), r, k_size)
    reach, on_s, on_a = (rounding.norm_upper(part) for part in (X, L[:, None], Y))
    share = rounding.gamma(2 * r.shape[1] + terms + steps + 16) * 1.01
    largest = 1.0 + max(
        float(np.abs(part).max(initial=0.0)) for part in (X, F, r, *([] if k_size is None else [k_size]))
    )
    tiny = rounding.TINY * (r.shape[1] + e + terms) ** 4 * np.square(largest)
    off = share * (rounding.norm_upper(on_H.reshape(len(X), -1)) + on_a * on_a) + tiny
    once = 1 + rounding.gamma(1)
    by_B = rounding.norm_upper(B - L[:, None] * Y) * once + share * (rounding.norm_upper(on_B) + on_s * on_a) + tiny
    by_A = (
        rounding.norm_upper((A - L * L)[:, None]) * once
        + share * (rounding.norm_upper(on_A[:, None]) + on_s * on_s)
        + tiny
    )
    slack = (3.0 * reach * by_B + reach * (reach * by_A)) * (1 + rounding.gamma(8)) + rounding.TINY
    return H.sum(0) + Y.T @ Y, float(off.sum()), float(slack.sum())


def _blocks(
    X: Float[np.ndarray, "m d"],
    F: Float[np.ndarray, "f e"],
    z: Float[np.ndarray, " m"],
    nu: Float[np.ndarray, " m"],
    r: Float[np.ndarray, "m a a"],
    k: Float[np.ndarray, "m a d"] | None,
) -> Blocks:
    """(H, B, A) of each group, as ``lifting.Lifting.blocks`` has them; r is symmetric."""
    f = len(F)
    s, p = f, f + 1
    cross = r[:, s, p] + r[:, p, p]
    A = nu - (r[:, s, s] + r[:, p, s] + cross)
    B = (r[:, :f, s] + r[:, :f, p]) @ F
    B[:, 0] += 0.5 * z
    B[:, 1:] += 0.5 * nu[:, None] * X - cross[:, None] * X
    H = F.T @ r[:, :f, :f] @ F
    H[:, 1:, 1:] += r[:, p, p, None, None] * (X[:, :, None] * X[:, None])
    mixed = F.T @ (r[:, :f, p, None] * X[:, None])
    if k is not None:
        B[:, 1:] -= 0.5 * (k[:, s] + k[:, p])
        both = X[:, :, None] * k[:, p, None]
        H[:, 1:, 1:] += 0.5 * (both + both.transpose(0, 2, 1))
        mixed = mixed + 0.5 * F.T @ k[:, :f]
    H[:, :, 1:] -= mixed
    H[:, 1:] -= mixed.transpose(0, 2, 1)
    return H, B, A
