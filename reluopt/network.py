r"""The two-layer ReLU network f(x) = Σ_j (xᵀu_j)_+ α_j as a torch module, and what can be done to its neurons.

``balance`` and ``merge`` keep the function on the given data and never raise the objective; ``prune`` drops
neurons that contribute nothing. A bias is a column of ones in X.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from reluopt import neurons
from reluopt.converted_biases import ConvertedBiases
from reluopt.errors import ConfigError, DataError
from reluopt.losses import Loss
from reluopt.losses.protocol import each_sample
from reluopt.problem import as_problem


class TwoLayerReLU(nn.Module):
    """f(X) = (X Uᵀ)_+ α with ``U`` (m, d) and ``alpha`` (m,), or (m, C) with C > 1 outputs.

    With an intercept f(X) = (X Uᵀ)_+ α + c, ``intercept`` () or (C,); else ``intercept`` is None. ``biases`` says, for
    a network that ``from_sequential`` made, where the biases of the model went.

    Parameters
    ----------
    d, width : input dimension and number of neurons m.
    outputs : C; with one the network's outputs are (n,), else (n, C).
    scale : standard deviation of the N(0, scale²) start (the paper's random start).
    intercept : whether f has an intercept c, which starts at 0.
    generator : the source of randomness; the global torch generator is never used.
    dtype, device : of the parameters.
    """

    def __init__(
        self,
        d: int,
        width: int,
        outputs: int = 1,
        *,
        scale: float = 1.0,
        intercept: bool = False,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.biases = ConvertedBiases()
        if d < 1 or width < 1 or outputs < 1:
            raise ConfigError(
                f"A network with d={d} inputs, width={width} and {outputs} outputs.", "Give at least one of each."
            )
        generator = generator if generator is not None else torch.Generator().manual_seed(0)
        # drawn in float64 on the generator's device, so that float32 and float64 runs start at the same point
        shape = (width, d + outputs)
        start = torch.randn(shape, generator=generator, dtype=torch.float64, device=generator.device) * scale
        outer = start[:, d] if outputs == 1 else start[:, d:]
        self.U = nn.Parameter(start[:, :d].to(dtype=dtype, device=device).contiguous())
        self.alpha = nn.Parameter(outer.to(dtype=dtype, device=device).contiguous())
        zero = torch.zeros(self.alpha.shape[1:], dtype=dtype, device=device)
        self.intercept = nn.Parameter(zero) if intercept else None

    @property
    def d(self) -> int:
        """Input dimension (the ones column of a bias included)."""
        return self.U.shape[1]

    @property
    def width(self) -> int:
        """Number of neurons m, zero ones included."""
        return self.U.shape[0]

    @property
    def outputs(self) -> int:
        """Number of outputs C."""
        return 1 if self.alpha.ndim == 1 else self.alpha.shape[1]

    def preactivations(self, X: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """X Uᵀ, whose signs are the activation patterns."""
        return X @ self.U.T

    def forward(self, X: Float[Tensor, "n d"]) -> Float[Tensor, "n ..."]:
        """f(X), shape (n,) or (n, C)."""
        return self.outputs_of(self.preactivations(X))

    def outputs_of(self, H: Float[Tensor, "n m"]) -> Float[Tensor, "n ..."]:
        """(H)_+ α + c, f of given preactivations."""
        f = torch.relu(H) @ self.alpha
        return f if self.intercept is None else f + self.intercept

    def objective(
        self, problem: Any, y: Any = None, beta: Any = None, *, loss: str | Loss = "squared", weights: Any = None
    ) -> Tensor:
        """L(U, α) of KP eq. (1) for the problem's loss and weights, differentiable by the network's parameters.

        Parameters
        ----------
        problem : a ``Problem``; or X, with y, β, and what else makes a ``Problem``.
        """
        problem = as_problem(problem, y, beta, loss=loss, weights=weights)
        X, targets, kappa = (torch.as_tensor(a).to(self.U) for a in (problem.X, problem.targets, problem.weights))
        values = problem.loss.value(self(X), targets)
        fit = (each_sample(kappa, values) * values).sum()
        c = 0.0 if self.intercept is None else self.intercept
        return fit + problem.weight_decay(self.U, self.alpha, c)

    # -- neurons -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def balance(self) -> TwoLayerReLU:
        """Scale every neuron to ‖u_j‖ = ‖α_j‖, in place: f stays, L falls to L_bal. Zero neurons become exact zeros."""
        U, alpha = neurons.balanced(self.U, self.alpha)
        self.U.copy_(U)
        self.alpha.copy_(alpha)
        return self

    @torch.no_grad()
    def active(self, tolerance: float = 0.0) -> Tensor:
        """Mask (m,) of neurons with ‖u_j‖‖α_j‖ > tolerance · max_k ‖u_k‖‖α_k‖."""
        return neurons.active(self.U, self.alpha, tolerance)

    def prune(self, tolerance: float = 0.0) -> TwoLayerReLU:
        """A copy without the neurons that contribute nothing; one zero neuron is kept if none contributes."""
        keep = self.active(tolerance)
        return self._like(self.U.detach()[keep], self.alpha.detach()[keep], self.biases)

    def merge(self, X: Float[Tensor, "n d"]) -> TwoLayerReLU:
        """A balanced copy in which the neurons of one activation pattern and one sign are a single neuron.

        With several outputs: of one pattern and one direction α_j/‖α_j‖. On the data f stays; Σ‖u_j‖‖α_j‖ does not
        rise (triangle inequality), so neither does L.
        """
        balanced = neurons.balanced(*self.weights()[:2])
        merged = neurons.merged(torch.as_tensor(X).detach().cpu().to(torch.float64).numpy(), *balanced)
        return self._like(
            torch.from_numpy(merged[0]), torch.from_numpy(merged[1]), ConvertedBiases(first=self.biases.first)
        )

    def _like(self, U: Tensor, alpha: Tensor, biases: ConvertedBiases) -> TwoLayerReLU:
        """A network of these neurons of this one's type; one zero neuron where there are none."""
        if not len(alpha):
            U, alpha = self.U.detach().new_zeros(1, self.d), torch.zeros_like(self.alpha.detach()[:1])
        made = from_weights(U.to(self.U), alpha.to(self.alpha), self.intercept)
        made.biases = biases
        return made

    # -- conversions ---------------------------------------------------------------------------------------------

    def weights(self) -> tuple[Any, ...]:
        """(U, α) as float64 numpy copies (exact for float32 networks), and c behind them where there is an intercept.

        What the convex side works on: ``problem.objective(*network.weights())``.
        """
        parts = (self.U, self.alpha) if self.intercept is None else (self.U, self.alpha, self.intercept)
        return tuple(part.detach().cpu().to(torch.float64, copy=True).numpy() for part in parts)

    def own_objectives(self, objective: float, beta: float) -> tuple[float, float] | None:
        """What a converted model costs in a training of its own, see ``ConvertedBiases.own_objectives``."""
        U, alpha, *_ = self.weights()
        return self.biases.own_objectives(U, alpha, objective, beta)

    def to_sequential(self, *, bias_column: bool = False) -> nn.Sequential:
        """``nn.Sequential(Linear(d, m), ReLU(), Linear(m, C, bias=False))`` with the same outputs, shape (n, C).

        An intercept is the bias of the last layer.

        With ``bias_column`` the last input (the ones column) becomes the bias of the first layer, so the
        sequential model takes the data without that column. L decays that bias like any weight: so does torch with
        ``weight_decay`` for all parameters.
        """
        inputs = self.d - 1 if bias_column else self.d
        if inputs < 1:
            raise ConfigError("A network with one input cannot give it up as a bias.", "Set bias_column=False.")
        first = nn.Linear(inputs, self.width, bias=bias_column, dtype=self.U.dtype, device=self.U.device)
        own = self.intercept is not None
        second = nn.Linear(self.width, self.outputs, bias=own, dtype=self.U.dtype, device=self.U.device)
        with torch.no_grad():
            first.weight.copy_(self.U[:, :inputs])
            if bias_column:
                first.bias.copy_(self.U[:, inputs])
            second.weight.copy_(self.alpha.reshape(self.width, -1).T)
            if self.intercept is not None:
                second.bias.copy_(self.intercept)
        return nn.Sequential(first, nn.ReLU(), second)


def from_weights(
    U: Tensor | np.ndarray, alpha: Tensor | np.ndarray, intercept: Tensor | np.ndarray | float | None = None
) -> TwoLayerReLU:
    """A network with the given weights, ``U`` (m, d) and ``alpha`` (m,) or (m, C), copied; (m, 1) counts as (m,).

    ``intercept`` : c, a number or (C,); None for a network without one.

    Raises
    ------
    DataError : shapes that do not fit, or non-finite weights.
    """
    U, alpha = torch.as_tensor(U), torch.as_tensor(alpha)
    if not (U.is_floating_point() and U.dtype == alpha.dtype):
        U, alpha = U.to(torch.float64), alpha.to(torch.float64)
    if alpha.ndim == 2 and alpha.shape[1] == 1:
        alpha = alpha[:, 0]
    if U.ndim != 2 or alpha.ndim not in (1, 2) or 0 in alpha.shape or U.shape[0] != alpha.shape[0]:
        raise DataError(
            f"Weights of shapes U {tuple(U.shape)} and alpha {tuple(alpha.shape)}.",
            "Give U (m, d) and alpha (m,), or (m, C) with C outputs.",
        )
    if not bool(torch.isfinite(U).all() and torch.isfinite(alpha).all()):
        raise DataError("The network has weights that are NaN or infinite.", "Train with a smaller step size.")
    outputs = 1 if alpha.ndim == 1 else alpha.shape[1]
    own = intercept is not None
    network = TwoLayerReLU(U.shape[1], U.shape[0], outputs, intercept=own, dtype=U.dtype, device=U.device)
    c = torch.as_tensor(intercept if own else 0.0).to(U)
    if own and (c.numel() != outputs or not bool(torch.isfinite(c).all())):
        raise DataError(f"The intercept has shape {tuple(c.shape)}.", "Give one finite number for each output.")
    with torch.no_grad():
        network.U.copy_(U)
        network.alpha.copy_(alpha)
        if network.intercept is not None:
            network.intercept.copy_(c.reshape(network.intercept.shape))
    return network
