r"""Theorem B over low-rank factors: the convex program behind the moment bound, for any loss.

.. math:: \min_{Y^± ⪰ 0} Σ_i κ_i \min_f ℓ(f, y_i) + (β/2)(tr Y⁺ + tr Y⁻),  f ∈ [lo⁺_i − hi⁻_i, hi⁺_i − lo⁻_i]

With an output intercept c the interval moves by c, over which it is minimised too, at ½·decay·c². With f° the minimiser
of ℓ, ℓ over the interval is ℓ(min(high, f°)) + ℓ(max(low, f°)) − ℓ(f°), and z = −κℓ' of the end that counts. A loss
with kinks is replaced by its Moreau envelope, whose z are in the same domain.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reluopt import neurons
from reluopt.biases import decreasing_root
from reluopt.bounds.evidence import Evidence, unsplit
from reluopt.bounds.factors import ROWS, SMOOTHING, Moments, minimised, moments, multipliers, random_factors
from reluopt.bounds.region_forms import Geometry
from reluopt.bounds.row_space import RowSpace, in_rows_of
from reluopt.errors import DataError
from reluopt.losses import Loss
from reluopt.problem import Problem

#: A direction is worth adding where it lowers the objective by more than this fraction of its penalty.
WORTH = 1e-5
#: The random part of a start from a network, as a fraction of a random start.
JITTER = 0.1
#: In place of a minimiser at infinity: the logistic loss is exactly 0 there.
FAR = 1e9


class MomentSearch:
    """Theorem B's objective over the factors R (2, k, d + 1), in scaled units.

    Parameters
    ----------
    device : where the factors are multiplied. ``seed`` : of their random start. ``rows`` : k.
    envelope : steps of the Moreau envelopes of losses with kinks, in units of lo's smoothing.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        device: str | torch.device = "cpu",
        seed: int = 0,
        rows: int = ROWS,
        envelope: float = 1.0,
    ) -> None:
        self.problem = problem
        scaled, self.units = problem.scaled()
        tensor = partial(torch.as_tensor, dtype=torch.float64, device=device)
        self.X, self.y, self.kappa = tensor(scaled.X), tensor(scaled.y), tensor(scaled.weights)
        self.beta, self.loss, self.envelope = scaled.beta, scaled.loss, envelope
        self.nearest = self.loss.minimiser(self.y).clamp(-FAR, FAR)
        self.decay = scaled.intercept_decay
        #: The output intercept, in scaled units; the objective is at this one, and leaves its slope by it in ``by_c``.
        self.c, self.by_c = float(scaled.constant[0]), 0.0
        self.R = random_factors(rows, problem.d, seed)
        self.z = np.zeros(problem.n)  # the samples' dual point of the last evidence

    @property
    def factors(self) -> Float[np.ndarray, "2 k e"]:
        """R in the data's units."""
        return self.R * self.units.weight

    def start_from(self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, " m"]) -> None:
        """Start at Y^± = Σ_j (|α_j|, u_j)(|α_j|, u_j)ᵀ over the balanced neurons of each sign, plus something random.

        Only the directions that matter most fit into the rows of R. A network that is worse than a random start is
        left aside.

        Raises
        ------
        DataError : weights that are not finite, or not of the data's dimension.
        """
        start = JITTER * self.R
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            U, sizes = neurons.balanced(U, alpha)
        heads = np.hstack([np.abs(sizes)[:, None], U]) / self.units.weight
        if heads.shape[1] != start.shape[2] or not np.isfinite(heads).all():
            raise DataError(
                f"A network with weights {U.shape} cannot start the bound: not the data's, or not finite.",
                "Give U (m, d) and α (m,) of a network for these data.",
            )
        for side, mask in enumerate((alpha > 0, alpha < 0)):
            _, lengths, rows = np.linalg.svd(heads[mask], full_matrices=False)
            kept = (lengths[:, None] * rows)[: len(start[side])]
            start[side, : len(kept)] += kept
        if self.objective(start, SMOOTHING[0])[0] < self.objective(self.R, SMOOTHING[0])[0]:
            self.R = start

    def _moments(self, R: Float[np.ndarray, "2 k e"], epsilon: float) -> Moments:
        return moments(self.X, torch.as_tensor(R, device=self.X.device), epsilon)

    def _smoothed(self, epsilon: float) -> Loss:
        return self.loss.smoothed(self.envelope * epsilon)

    def _ends(self, m: Moments, c: float) -> Float[Tensor, "2 n"]:
        """min(high, f°) and max(low, f°)."""
        high, low = self._pooled(m.hi[0] - m.lo[1] + c, m.lo[0] - m.hi[1] + c)
        return torch.stack([torch.minimum(high, self.nearest), torch.maximum(low, self.nearest)])

    def _pooled(self, high: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
        """The ends of A s for s in [low, high]: A₊high − A₋low and A₊low − A₋high."""
        if self.problem.pooling is None:
            return high, low
        up, down = self.problem.pooling.parts
        tops, bottoms = high.cpu().numpy(), low.cpu().numpy()
        ends = (up @ tops - down @ bottoms, up @ bottoms - down @ tops)
        return torch.as_tensor(ends[0], device=high.device), torch.as_tensor(ends[1], device=high.device)

    def _on_rows(self, pulls: Float[Tensor, "2 n"]) -> Float[Tensor, "2 N"]:
        """The pulls on the ends of the rows: A₊ᵀ of those of the samples, and A₋ᵀ of those on the other end."""
        if self.problem.pooling is None:
            return pulls
        up, down = self.problem.pooling.parts
        of = pulls.cpu().numpy()
        return torch.as_tensor(np.stack([up.T @ a + down.T @ b for a, b in (of, of[::-1])]), device=pulls.device)

    def _pulls(self, ends: Float[Tensor, "2 n"], loss: Loss) -> Float[Tensor, "2 n"]:
        """How hard ℓ pulls f up (row 0, −κℓ' ≥ 0) and down (row 1, κℓ' ≥ 0)."""
        slopes = self.kappa * loss.gradient(ends, self.y)
        return torch.stack([-slopes[0], slopes[1]]).clamp_(min=0)

    def objective(self, R: Float[np.ndarray, "2 k e"], epsilon: float) -> tuple[float, Float[np.ndarray, "2 k e"]]:
        """Theorem B's smoothed objective and its gradient."""
        m, loss = self._moments(R, epsilon), self._smoothed(epsilon)
        ends = self._ends(m, self.c)
        value = loss.value(ends, self.y).sum(0) - loss.value(self.nearest, self.y)
        pulls = self._pulls(ends, loss)
        pulls = self._on_rows(pulls)
        by_R = m.pull_back(self.X, -pulls, pulls.flip(0))
        paid = 0.5 * self.beta * float((R * R).sum())
        if self.decay is not None:
            self.by_c = float((pulls[1] - pulls[0]).sum()) + self.decay * self.c
            paid += 0.5 * self.decay * self.c**2
        return float(self.kappa @ value) + paid, by_R.cpu().numpy() + self.beta * R

    def descend(self, epsilon: float, iterations: int, seconds: float) -> None:
        """One L-BFGS run at one smoothing."""
        if self.decay is None:
            self.R = minimised(lambda R: self.objective(R, epsilon), self.R, iterations=iterations, seconds=seconds)
            return

        def of_both(theta: Float[np.ndarray, " p"]) -> tuple[float, Float[np.ndarray, " p"]]:
            self.c = float(theta[-1])
            value, by_R = self.objective(theta[:-1].reshape(self.R.shape), epsilon)
            return value, np.append(by_R, self.by_c)

        theta = minimised(of_both, np.append(self.R, self.c), iterations=iterations, seconds=seconds)
        self.R, self.c = theta[:-1].reshape(self.R.shape), float(theta[-1])

    def _dual_point(self, m: Moments, epsilon: float) -> Float[np.ndarray, " n"]:
        """z = −κℓ' in the data's units; with an intercept at the best one for these moments, and settled."""
        loss = self._smoothed(epsilon)
        if self.decay is None:
            pulls = self._pulls(self._ends(m, 0.0), loss)
            return self.units.z * (pulls[0] - pulls[1]).cpu().numpy()
        decay = self.decay

        def slope(c: float) -> float:
            pulls = self._pulls(self._ends(m, c), loss)
            return float((pulls[0] - pulls[1]).sum()) - decay * c

        self.c = decreasing_root(slope, self.c, 1.0)
        pulls = self._pulls(self._ends(m, self.c), loss)
        return self.problem.settled(self.units.z * (pulls[0] - pulls[1]).cpu().numpy())

    def evidence(self, epsilon: float) -> Evidence:
        """z = −κℓ' and Theorem A's multipliers, in the data's own units."""
        m = self._moments(self.R, epsilon)
        self.z = self._dual_point(m, epsilon)
        v = self.problem.spread(self.z)
        return unsplit(v, self.problem.d, *multipliers(m, v, self.units.x))

    def escape(self, evidence: Evidence) -> None:
        """Put the top eigenvector of C into the emptiest row of R where it lowers the objective: λmax(C) > β/2."""
        for side, (excess, directions) in enumerate(self._rising(evidence, WORTH)):
            if not len(excess):
                continue
            # the same Y = RᵀR with its rows sorted by size
            _, sizes, rows = np.linalg.svd(self.R[side], full_matrices=False)
            sorted_rows = np.zeros_like(self.R[side])
            sorted_rows[: len(sizes)] = sizes[:, None] * rows
            sorted_rows[-1] = 0.1 * max(float(sizes[0]), 0.1) * directions[0]
            self.R[side] = sorted_rows

    def _rising(
        self, evidence: Evidence, worth: float
    ) -> list[tuple[Float[np.ndarray, " _"], Float[np.ndarray, "_ e"]]]:
        """(2λ/β − 1, eigenvectors of C) above ``worth`` for each sign, the largest first: R gains by them."""
        region, space, X = evidence.regions[0], RowSpace.of(self.problem.X), self.problem.X
        if space is not None:
            X, region = space.L, in_rows_of(space, region)
        geometry, found = Geometry.of(X, region.cuts, region.groups), []
        for z, m in ((evidence.z, region.positive), (-evidence.z, region.negative)):
            C, _, _ = geometry.matrix(z, m)
            if not math.isfinite(float(np.abs(C).sum())):
                found.append((np.zeros(0), np.zeros((0, 1 + self.problem.d))))
                continue
            values, vectors = np.linalg.eigh(C)
            with np.errstate(over="ignore"):
                excess = 2 * values / self.problem.beta - 1
            top = vectors[:, excess > worth].T[::-1]
            whole = top if space is None else np.hstack([top[:, :1], top[:, 1:] @ space.Q.T])
            found.append((excess[excess > worth][::-1], whole))
        return found
