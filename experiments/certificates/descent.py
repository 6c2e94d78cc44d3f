"""A network of small objective for any loss: Adam with a decaying step, kinks of the loss smoothed less and less."""

from __future__ import annotations

import math

import torch

from reluopt.problem import Problem

WIDTH, STEP, LAST_STEP = 60, 2e-2, 1e-5
#: Steps of the Moreau envelope of a loss with kinks, at first and at last, in units of its targets.
ENVELOPES = (0.1, 1e-3)


def descend(problem: Problem, epochs: int, seed: int) -> float:
    """L_bal of the network after ``epochs`` full-batch steps: an upper bound of p*."""
    rng = torch.Generator().manual_seed(seed)
    X, y, kappa = (torch.as_tensor(part) for part in (problem.X, problem.y, problem.weights))
    U = 0.3 / math.sqrt(problem.d) * torch.randn(WIDTH, problem.d, generator=rng, dtype=torch.float64)
    alpha = 0.3 * torch.randn(WIDTH, generator=rng, dtype=torch.float64)
    parameters = [U.requires_grad_(), alpha.requires_grad_()]
    optimiser = torch.optim.Adam(parameters, lr=STEP)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs, LAST_STEP)
    for epoch in range(epochs):
        loss = problem.loss.smoothed(max(ENVELOPES[1], ENVELOPES[0] * (1 - epoch / epochs)))
        optimiser.zero_grad()
        decay = 0.5 * problem.beta * sum(part.square().sum() for part in parameters)
        (kappa @ loss.value(torch.relu(X @ U.T) @ alpha, y) + decay).backward()
        optimiser.step()
        schedule.step()
    return problem.balanced_objective(U.detach().numpy(), alpha.detach().numpy())
