"""A convex program as tensors in natural units: rows of X of about unit size, real targets of mean square one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from reluopt.losses import Loss
from reluopt.problem import Problem
from reluopt.programs.cone_faces import ConeFaces
from reluopt.programs.convex import ConvexProgram
from reluopt.solvers.native.box import conjugate_of
from reluopt.solvers.native.conjugate import Conjugate
from reluopt.units import Units


@dataclass(eq=False)
class Instance:
    """X and the targets in ``units``; blocks are then in units of f/x.

    Blocks are flat here: block b belongs to pattern ``pattern_of[b]`` and side ``sign[b]``.
    """

    X: Float[Tensor, "n d"]
    conjugate: Conjugate
    masks: Float[Tensor, "P n"]
    pattern_of: Int[Tensor, " m"]
    sign: Float[Tensor, " m"]
    beta: float
    faces: ConeFaces | None
    shape: tuple[int, int, int]
    units: Units

    @classmethod
    def of(cls, program: ConvexProgram, dtype: torch.dtype, device: torch.device | str) -> Instance:
        """Move a program to the device."""
        k, count, d = program.shape
        units, loss = _units(program.problem)
        to = {"dtype": dtype, "device": device}
        X = torch.tensor(program.X / units.x, **to)  # type: ignore[arg-type]
        y = torch.tensor(program.y / units.f, **to)  # type: ignore[arg-type]
        kappa = torch.tensor(program.problem.weights, **to) if program.problem.is_weighted else None  # type: ignore[arg-type]
        masks = torch.tensor(np.ascontiguousarray(program.patterns.dense.T), **to)  # type: ignore[arg-type]
        pattern_of = torch.arange(count, device=device).repeat(k)
        return cls(
            X=X,
            conjugate=conjugate_of(loss, y, kappa),
            masks=masks,
            pattern_of=pattern_of,
            sign=torch.tensor(program.sides, **to).repeat_interleave(count),  # type: ignore[arg-type]
            beta=program.beta * units.weight**2 / units.value,
            faces=ConeFaces(X, 2.0 * masks - 1.0, pattern_of) if program.has_cones else None,
            shape=(k, count, d),
            units=units,
        )

    def set_beta(self, beta: float) -> None:
        """To another β, in the program's units."""
        self.beta = beta * self.units.weight**2 / self.units.value

    def correlations(self, z: Float[Tensor, " n"]) -> Float[Tensor, "m d"]:
        """± XᵀD_i z of every block."""
        g = (self.masks * z) @ self.X
        return g if self.shape[0] == 1 else self.sign[:, None] * g.repeat(self.shape[0], 1)

    def columns(self, vectors: Float[Tensor, "b d"], blocks: Int[Tensor, " b"]) -> Float[Tensor, "n b"]:
        """± D_i X v for vectors v of the given blocks."""
        if self.shape[0] == 1:
            return (self.X @ vectors.T).mul_(self.masks[blocks].T)
        return (self.X @ vectors.T).mul_(self.masks[self.pattern_of[blocks]].T).mul_(self.sign[blocks])

    def fit(self, vectors: Float[Tensor, "b d"], blocks: Int[Tensor, " b"]) -> Float[Tensor, " n"]:
        """Σ ± D_i X u over the given blocks."""
        return self.columns(vectors, blocks).sum(dim=1)

    def flat(self, blocks: Float[np.ndarray, "k P d"]) -> Float[Tensor, "m d"]:
        """The program's blocks in natural units."""
        scaled = blocks.reshape(-1, self.shape[2]) / self.units.weight**2
        return torch.tensor(scaled, dtype=self.X.dtype, device=self.X.device)

    def dual(self, z: Float[np.ndarray, " n"]) -> Float[Tensor, " n"]:
        """A dual point of the program in natural units."""
        return torch.tensor(z / self.units.z, dtype=self.X.dtype, device=self.X.device)

    def blocks(self, flat: Float[Tensor, "m d"]) -> Float[np.ndarray, "k P d"]:
        """Back to the program's units."""
        return self.numpy(flat).reshape(self.shape) * self.units.weight**2

    def cleaned(self, flat: Float[Tensor, "m d"]) -> Float[Tensor, "m d"]:
        """Blocks that are in their cones up to the rounding of σ-times larger points, projected once more."""
        if self.faces is None:
            return flat
        used = (flat != 0).any(dim=1).nonzero()[:, 0]
        own = ConeFaces(self.faces.shared, self.faces.signs, self.pattern_of[used])
        points, _ = own.project(flat[used], torch.arange(len(used), device=used.device))
        return flat.index_copy(0, used, points)

    @staticmethod
    def numpy(t: Tensor) -> np.ndarray:
        """A float64 copy on the CPU."""
        return t.detach().cpu().to(torch.float64, copy=True).numpy()


def _units(problem: Problem) -> tuple[Units, Loss]:
    """Units where ‖X‖_F = √d and, where targets are numbers, ‖y‖ = √n; the loss in them."""
    x = float(np.linalg.norm(problem.X)) / math.sqrt(problem.d) or 1.0
    f = 1.0 if problem.loss.classes else float(np.linalg.norm(problem.y)) / math.sqrt(problem.n) or 1.0
    loss, value = problem.loss.rescaled(f)
    return Units(x, f, value), loss
