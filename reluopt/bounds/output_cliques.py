r"""The clique bound of several outputs: products of activations inside of cliques, with the head (a, u).

As in ``clique.py`` with M = E[vvᵀ], v = (a, u, s), of all neurons, and no two signs:

.. math:: \min Σ_i κ_i ℓ(f_i, y_i) + (β/2) tr_{(a,u)} M,\quad f = E[s aᵀ],

with E[F_a F_b] ≥ 0 for the forms F = (s_g, s_g − X_g u) of every clique g, and E[s_i (s_i − x_iᵀu)] = 0. Forms of a
have no sign and are left out, and so are products with the ball: they need a form that is at least ‖u‖.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reluopt.bounds.augmented import AugmentedLagrangian
from reluopt.bounds.bias_forms import LiftedEvidence
from reluopt.bounds.clique_search import CliqueSearch, inner_of
from reluopt.bounds.lower_bound import LowerBound
from reluopt.bounds.output_forms import OutputEvidence
from reluopt.bounds.schur import Elimination

#: Keeps divisions away from 0/0.
TINY = 1e-100


class OutputCliqueSearch(CliqueSearch):
    """Cliques for C > 1 outputs, started at Theorem C's factors and multipliers."""

    def _core(self, factors: Float[np.ndarray, "q k e"], moments: LowerBound, groups: int) -> AugmentedLagrangian:
        """s_i is where in its ball, of diameter [0, Ux_i], z_i asks for it."""
        C, units, (rows, norms) = self.problem.outputs, self.units, self._rows()
        evidence = inner_of(moments)
        assert isinstance(evidence, OutputEvidence)
        head = torch.as_tensor(factors, device=self.device).mT
        pull = self._spread(evidence.z / units.z) @ head[0, :C]
        G = rows @ head[0, C:]
        S = 0.5 * (G + G.norm(dim=1, keepdim=True) * pull / (pull.norm(dim=1, keepdim=True) + TINY))
        nu = self._spread(evidence.nu * norms**2 / units.nu)[None]
        return self._lagrangian(head, S[None], len(S) // groups, (nu.new_zeros(1, 0, 2 * len(S)), nu), moments)

    def _moment_multipliers(self, z: Float[Tensor, "N C"], head: Float[Tensor, "e k"]) -> tuple[Tensor, Tensor]:
        """(0, ν) of Theorem C at this z, read off the factors."""
        C, core = self.problem.outputs, self.core
        nu = (z @ head[:C]).norm(dim=1) / ((core.X @ head[C:]).norm(dim=1) + TINY)
        return torch.zeros_like(core.products(0)), nu

    def evidence(self, sides: list[Elimination]) -> OutputEvidence | LiftedEvidence:  # type: ignore[override]
        """The rows' dual point and the multipliers in the data's units."""
        places, (side,) = self.places(), sides
        z, nu = self.v, np.zeros(len(self.v))
        nu[places.samples] = self.units.nu * places.nu(side)
        nu[self.idle] = self.settings.idle * np.linalg.norm(z[self.idle], axis=1)
        r = tuple(self.units.z / self.units.x * part for part in places.products(side))
        found = OutputEvidence(z, nu, places.groups, r)
        return found if self.lift is None else LiftedEvidence(found, self.lift)
