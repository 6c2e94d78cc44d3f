r"""When training has converged: at a stationary point of L, and at none that only looks like one near zero.

The test ‖∇L‖·‖θ‖ ≤ ε L alone has a hole: near θ = 0 the gradient vanishes with the weights, whatever β is. What a
neuron near zero does next is told by the price of its direction: with z = −∂L/∂f (y − f for the squared loss),

.. math:: |zᵀ(Xu)_+| > β‖u‖   ⇒   the neuron (u, ±1), added with a small weight, lowers L.

So a network is stationary where the test holds and no neuron that is too small for it to see has a price above β. If
all directions of these neurons are cheap, a local search looks for another one (``reluopt.pricing``): a point with an
idle neuron and a direction of price above β is a saddle. At β ≥ β_max, where zero is the optimum, there is none.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from reluopt.beta_max import largest_price
from reluopt.losses.protocol import each_sample
from reluopt.neurons import sizes
from reluopt.pricing import price
from reluopt.training.callbacks import Callback, Record
from reluopt.training.state import TrainState

#: A price this much above β counts: pricing is exact to far less, and a trained network's neurons are priced at β.
DEAREST = 1e-3


class StopWhenStationary(Callback):
    """Ends training at a record where the network is stationary to ``tolerance``; 0 never ends it."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance, self._search_from = tolerance, 0

    def on_record(self, state: TrainState, record: Record) -> None:
        """Compare the relative residual with the tolerance, and price the neurons that it does not see."""
        if not (self.tolerance > 0 and record.relative_residual <= self.tolerance):
            return
        idle = _idle(state, record, self.tolerance)
        if not bool(idle.any()):
            state.stop(f"stationary to {self.tolerance:g}")
        elif _own_price(state, record, idle) <= 1 + DEAREST and state.epoch >= self._search_from:
            self._settle(state, record)

    def _settle(self, state: TrainState, record: Record) -> None:
        """The idle neurons do not grow by themselves: is there a direction in which they would?"""
        found = _best_price(state, record)
        zero = not any(bool(weights.any()) for weights in (state.network.U, state.network.alpha))
        if found <= 1 + DEAREST:
            state.stop("at the zero network, the optimum as β ≥ β_max" if zero else f"stationary to {self.tolerance:g}")
        elif zero:
            state.stop(f"at the zero network, which gradients cannot leave: a neuron of price {found:.4g} β lowers L")
        else:
            self._search_from = max(1, 2 * state.epoch)  # a search costs more than many epochs


def end_of_line_searches(state: TrainState, record: Record) -> str:
    """What is said where no line search lowers L: with weights near zero it rises and falls by less than rounding."""
    idle, said = _idle(state, record, DEAREST**2), "no line search lowers L any more"
    price_of_idle = _own_price(state, record, idle) if bool(idle.any()) else 0.0
    if price_of_idle <= 1 + DEAREST:
        return said
    return (
        f"{said}, but a neuron of price {price_of_idle:.4g} β would, with larger weights: begin with a larger "
        "init_scale, or go on with refine"
    )


def _sizes(state: TrainState) -> torch.Tensor:
    """‖θ_j‖² of every neuron, (m,)."""
    U, alpha = state.problem.decayed(state.network.U.detach()), state.network.alpha.detach()
    return (U * U).sum(dim=1) + sizes(alpha) ** 2


def _idle(state: TrainState, record: Record, tolerance: float) -> torch.Tensor:
    """Neurons so small that they could grow at rate δ = max(DEAREST, √ε) within ‖∇L‖·‖θ‖ ≤ ε L: β‖θ_j‖² ≤ ε L/δ."""
    seen = tolerance * record.scalars["train/objective"] / max(DEAREST, math.sqrt(tolerance))
    return state.beta * _sizes(state) <= seen


def _residual(state: TrainState, record: Record) -> torch.Tensor:
    """The vector z = −κ ∘ ∂ℓ/∂f of the rows of X, for the squared loss y − f; Aᵀz of pooled ones."""
    problem = state.problem
    fit = problem.pooled(state.network.outputs_of(record.preactivations).detach())
    z = -problem.loss.gradient(fit, state.y)
    z = z if state.weights is None else each_sample(state.weights, z) * z
    return z if problem.pooling is None else torch.as_tensor(problem.spread(z.cpu().numpy())).to(z)


def _own_price(state: TrainState, record: Record, idle: torch.Tensor) -> float:
    """max ‖zᵀ(Xu_j)_+‖ / (β‖u_j‖) over the idle neurons, 0 where all their u_j are zero."""
    U, H = state.problem.decayed(state.network.U.detach()[idle]), record.preactivations[:, idle]
    largest = U.abs().amax(dim=1)
    alive = largest > 0
    if not bool(alive.any()):
        return 0.0
    scale = largest[alive]  # divided out first: squares of tiny weights are zero
    norms = (U[alive] / scale[:, None]).norm(dim=1)
    values = sizes(torch.relu(H[:, alive] / scale).T @ _residual(state, record))
    return float((values / norms).max()) / state.beta


def _best_price(state: TrainState, record: Record) -> float:
    """The largest price that a local search finds, over β."""
    X, z = (array.detach().cpu().double().numpy() for array in (state.X, _residual(state, record)))
    rng, problem = np.random.default_rng(0), state.problem
    if problem.biases.first_free:
        return largest_price(problem, problem.settled(z), rng) / state.beta
    return price(X, z, rng).value / state.beta
