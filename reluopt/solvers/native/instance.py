"""A pattern program as tensors in natural units: rows of X of about unit size, y of unit standard deviation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from reluopt.programs.cone_faces import ConeFaces
from reluopt.programs.convex import ConvexProgram


@dataclass(eq=False)
class Instance:
    """X/c_x, y/c_y and β/(c_x c_y): blocks are then in units of c_y/c_x, values in units of c_y².

    Blocks are flat here: block b belongs to pattern ``pattern_of[b]`` and side ``sign[b]``.
    """

    X: Float[Tensor, "n d"]
    y: Float[Tensor, " n"]
    masks: Float[Tensor, "P n"]
    pattern_of: Int[Tensor, " m"]
    sign: Float[Tensor, " m"]
    beta: float
    faces: ConeFaces | None
    shape: tuple[int, int, int]
    scale_x: float
    scale_y: float

    @classmethod
    def of(cls, program: ConvexProgram, dtype: torch.dtype, device: torch.device | str) -> Instance:
        """Move a program to the device."""
        k, count, d = program.shape
        scale_x = _or_one(float(np.linalg.norm(program.X)) / math.sqrt(d))
        scale_y = _or_one(float(np.linalg.norm(program.y)) / math.sqrt(len(program.y)))
        to = {"dtype": dtype, "device": device}
        X = torch.tensor(program.X / scale_x, **to)  # type: ignore[arg-type]
        masks = torch.tensor(np.ascontiguousarray(program.patterns.dense.T), **to)  # type: ignore[arg-type]
        pattern_of = torch.arange(count, device=device).repeat(k)
        faces = ConeFaces(X, 2.0 * masks - 1.0, pattern_of) if program.has_cones else None
        return cls(
            X=X,
            y=torch.tensor(program.y / scale_y, **to),  # type: ignore[arg-type]
            masks=masks,
            pattern_of=pattern_of,
            sign=torch.tensor(program.sides, **to).repeat_interleave(count),  # type: ignore[arg-type]
            beta=program.beta / (scale_x * scale_y),
            faces=faces,
            shape=(k, count, d),
            scale_x=scale_x,
            scale_y=scale_y,
        )

    def correlations(self, z: Float[Tensor, " n"]) -> Float[Tensor, "m d"]:
        """± XᵀD_i z of every block."""
        g = (self.masks * z) @ self.X
        return self.sign[:, None] * g.repeat(self.shape[0], 1)

    def columns(self, vectors: Float[Tensor, "b d"], blocks: Int[Tensor, " b"]) -> Float[Tensor, "n b"]:
        """± D_i X v for vectors v of the given blocks."""
        return (self.X @ vectors.T).mul_(self.masks[self.pattern_of[blocks]].T).mul_(self.sign[blocks])

    def fit(self, vectors: Float[Tensor, "b d"], blocks: Int[Tensor, " b"]) -> Float[Tensor, " n"]:
        """Σ ± D_i X u over the given blocks."""
        return self.columns(vectors, blocks).sum(dim=1)

    def flat(self, blocks: Float[np.ndarray, "k P d"]) -> Float[Tensor, "m d"]:
        """The program's blocks in natural units."""
        scaled = blocks.reshape(-1, self.shape[2]) * (self.scale_x / self.scale_y)
        return torch.tensor(scaled, dtype=self.X.dtype, device=self.X.device)

    def dual(self, z: Float[np.ndarray, " n"]) -> Float[Tensor, " n"]:
        """A dual point of the program in natural units."""
        return torch.tensor(z / self.scale_y, dtype=self.X.dtype, device=self.X.device)

    def blocks(self, flat: Float[Tensor, "m d"]) -> Float[np.ndarray, "k P d"]:
        """Back to the program's units."""
        return self.numpy(flat).reshape(self.shape) * (self.scale_y / self.scale_x)

    def cleaned(self, flat: Float[Tensor, "m d"]) -> Float[Tensor, "m d"]:
        """Blocks that are in their cones up to the rounding of σ-times larger points, projected once more."""
        if self.faces is None:
            return flat
        used = (flat != 0).any(dim=1).nonzero()[:, 0]
        own = ConeFaces(self.X, self.faces.signs, self.pattern_of[used])
        points, _ = own.project(flat[used], torch.arange(len(used), device=used.device))
        return flat.index_copy(0, used, points)

    @staticmethod
    def numpy(t: Tensor) -> np.ndarray:
        """A float64 copy on the CPU."""
        return t.detach().cpu().to(torch.float64, copy=True).numpy()


def _or_one(scale: float) -> float:
    """The scale, or 1 where it is zero."""
    return scale if scale > 0 else 1.0
