r"""Projection on many cones K_i = {u : (2D_i − I)Xu ≥ 0} at once, warm-started: the kernel of the native solver.

All cones share the rows of X, so one product prices every row of every cone. Each cone keeps its *face*: the
active rows A (r, d), made unit vectors, their pseudo-inverse, and λ ≥ 0. The projection of g is found by the
active-set method for min_{λ≥0} ‖g + Aᵀλ‖ (Lawson & Hanson 1974), run for all cones side by side; a row enters or
leaves by a rank-one change of the pseudo-inverse (Greville 1960), so a step costs O(rd) a cone. When g moves a
little, most faces stay, and a projection costs four small matrix-vector products.

Whatever the rounding, λ ≥ 0, so ‖g + Aᵀλ‖ is an upper bound of sup{gᵀu : u ∈ K_i, ‖u‖ ≤ 1}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reluopt.programs.cone_batch import ConeBatch
from reluopt.programs.face_algebra import FaceState, Precision
from reluopt.programs.face_store import FaceStore, UnitRows

#: Numbers in the pseudo-inverses, or in the (cones, n) products, of one batch: about the cache of one core; elsewhere
#: what memory bears.
CACHED_NUMBERS, MOST_NUMBERS = 1 << 18, 1 << 26
#: A batch of a CPU has 32 cones at least, unless each of its arrays would have more numbers than this.
BATCH_NUMBERS = 1 << 22


class ConeFaces:
    """The faces of m cones, cone i that of pattern ``pattern_of[i]``, and the projections on them.

    Parameters
    ----------
    X : (n, d), or its unit rows where they are shared. ``signs`` : (P, n) entries ±1, the rows 2D_i − I.
    ``pattern_of`` : (m,) int64.

    Attributes
    ----------
    rows : (m, r) int64, the active samples; ``active`` : (m, r) mask of the slots in use.
    weights : (m, r) λ ≥ 0 for the *unit* rows, of the last projection.
    """

    def __init__(
        self, X: Float[Tensor, "n d"] | UnitRows, signs: Float[Tensor, "P n"], pattern_of: Int[Tensor, " m"]
    ) -> None:
        self.shared = X if isinstance(X, UnitRows) else UnitRows(X)
        self.unit, self.scale = self.shared.unit, self.shared.scale
        unit = self.unit
        n, d = unit.shape
        m, r = len(pattern_of), min(n, d)
        self.signs, self.pattern_of = signs, pattern_of
        self.rows = torch.zeros(m, r, dtype=torch.int64, device=unit.device)
        self.active = torch.zeros(m, r, dtype=torch.bool, device=unit.device)
        self.weights = unit.new_zeros(m, r)
        self._inverses = FaceStore(m, r, d, unit)
        cpu = unit.device.type == "cpu"
        at_once = max(CACHED_NUMBERS // (r * d), min(32, BATCH_NUMBERS // (r * d)), 4)
        self._batch = at_once if cpu else max(1, MOST_NUMBERS // max(n, r * d))
        self._view = Tensor.numpy if cpu else _same
        self._precision = Precision.of(torch.finfo(unit.dtype).eps)

    def project(
        self,
        g: Float[Tensor, "c d"],
        cones: Int[Tensor, " c"],
        *,
        enough: float = 0.0,
        stop: Callable[[], bool] = lambda: False,
    ) -> tuple[Float[Tensor, "c d"], Bool[Tensor, " c"]]:
        """(p, exact): the projections of g on the given cones, and which of them are exact.

        A cone is left as soon as its λ proves ‖proj(g)‖ ≤ ``enough``; its p = g + Aᵀλ then proves that and is no
        projection. ``stop()`` returning true ends the work the same way.
        """
        p, exact = torch.empty_like(g), torch.ones_like(cones, dtype=torch.bool)
        for at in torch.arange(len(cones), device=g.device).split(self._batch):
            if len(at) == 0:
                continue
            batch, keep = self._gather(g[at], cones[at])
            points, finished = batch.run(enough, stop, keep)
            self._view(p)[self._view(at)], self._view(exact)[self._view(at)] = points, finished
        return p, exact

    def _gather(self, g: Tensor, cones: Tensor) -> tuple[ConeBatch, Callable[[Any, FaceState, Any], None]]:
        """A batch with copies of the faces, and how to put them back."""
        view = self._view
        cones_, patterns = view(cones), view(self.pattern_of[cones])
        rows, active, weights = (view(t) for t in (self.rows, self.active, self.weights))
        faces = FaceState(rows[cones_], active[cones_], weights[cones_], view(self._take_inverses(cones)))

        def keep(place: Any, faces: FaceState, changed: Any) -> None:
            weights[cones_[place]] = faces.weights
            if changed.any():
                to = cones_[place][changed]
                rows[to], active[to] = faces.rows[changed], faces.active[changed]
                self._keep_inverses(to, faces.B[changed])

        return ConeBatch(view(self.unit), view(self.signs)[patterns], faces, view(g), self._precision), keep

    def _take_inverses(self, cones: Tensor) -> Tensor:
        """Copies of the pseudo-inverses; those that there was no room for are found again from their rows."""
        B = self._inverses.take(cones)
        for place in self._inverses.missing[cones].nonzero()[:, 0]:
            cone = cones[place]
            slots = self.active[cone].nonzero()[:, 0]
            rows = self.rows[cone, slots]
            A = self.unit[rows] * self.signs[self.pattern_of[cone], rows][:, None]
            q, r = torch.linalg.qr(A.T)
            B[place, slots] = torch.linalg.solve_triangular(r, q.T, upper=True)
        return B

    def _keep_inverses(self, cones: Any, B: Any) -> None:
        """Store pseudo-inverses; the slots behind the last one in use are zero."""
        cones = torch.as_tensor(cones)
        slots = torch.arange(1, self.active.shape[1] + 1, device=cones.device)
        self._inverses.put(cones, torch.as_tensor(B), (self.active[cones] * slots).amax(dim=1))

    def seed(self, cones: Int[Tensor, " c"], points: Float[Tensor, "c d"], tolerance: float = 1e-9) -> None:
        """Start the faces of the given cones at the rows active at ``points`` (of a warm start).

        The rows enter with λ = 0, which is always valid; a projection then finds the multipliers.
        """
        slack = (points @ self.unit.T).abs()
        near = slack <= tolerance * points.norm(dim=1, keepdim=True)
        for cone, wanted in zip(cones.tolist(), near, strict=True):
            rows = wanted.nonzero()[:, 0]
            # pivots of a QR decomposition choose independent ones
            A = (self.unit[rows] * self.signs[self.pattern_of[cone], rows][:, None]).cpu().numpy()
            _, r, pivots = scipy.linalg.qr(A.T, mode="economic", pivoting=True)
            sizes = np.abs(np.diag(r))
            chosen = pivots[: len(sizes)][sizes > self._precision.dependent][: self.active.shape[1] - 1]
            count = len(chosen)
            self.active[cone], self.weights[cone] = False, 0.0
            self.active[cone, :count] = True
            self.rows[cone, :count] = rows[torch.as_tensor(chosen, device=rows.device)]
            B = self.unit.new_zeros(1, *self.active.shape[1:], self.unit.shape[1])
            B[0, :count] = torch.as_tensor(np.linalg.pinv(A[chosen]).T).to(B)
            self._keep_inverses(torch.tensor([cone], device=rows.device), B)

    def multipliers(self, cones: Int[Tensor, " c"]) -> Float[Tensor, "c n"]:
        """λ of the given cones as dense (c, n) multipliers of the rows of X itself."""
        dense = self.weights.new_zeros(len(cones), len(self.unit))
        rows = self.rows[cones]
        return dense.scatter_add_(1, rows, self.weights[cones] * self.active[cones] / self.scale[rows])

    def rescale(self, cones: Int[Tensor, " c"], factors: Float[Tensor, " c"]) -> None:
        """Multiply λ of the given cones by positive factors, for points that are scaled."""
        self.weights[cones] *= factors[:, None]

    def null_basis(self, cones: Int[Tensor, " c"]) -> tuple[Float[Tensor, "b d"], Int[Tensor, " b"]]:
        """Orthonormal bases of the faces' linear spans {u : A u = 0}, stacked, and the place in ``cones`` of each."""
        q, rank = self._complete_bases(cones)
        owner, column = (torch.arange(q.shape[-1], device=q.device) >= rank).nonzero(as_tuple=True)
        return q[owner, :, column], owner

    def span_basis(self, cones: Int[Tensor, " c"]) -> tuple[Float[Tensor, "b d"], Int[Tensor, " b"]]:
        """Orthonormal bases of the spans of the active rows (the complements of ``null_basis``), stacked."""
        q, rank = self._complete_bases(cones)
        owner, column = (torch.arange(q.shape[-1], device=q.device) < rank).nonzero(as_tuple=True)
        return q[owner, :, column], owner

    def _complete_bases(self, cones: Tensor) -> tuple[Tensor, Tensor]:
        """Q (c, d, d) whose first ``rank`` (c, 1) columns span the active rows."""
        active = self.active[cones]
        order = active.to(torch.int8).argsort(dim=1, descending=True, stable=True)
        rows = self.rows[cones].gather(1, order)
        signs = self.signs[self.pattern_of[cones][:, None], rows] * active.gather(1, order)
        packed = self.unit[rows] * signs[:, :, None]
        return torch.linalg.qr(packed.mT, mode="complete").Q, active.sum(dim=1, keepdim=True)


def _same(t: Tensor) -> Tensor:
    """The tensor itself, where there is no numpy view of it."""
    return t
