"""Certify a network: what its patterns allow, what any width allows, and how each is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

import reluopt
from reluopt.bounds import LowerBound
from reluopt.bounds.plugins import installed_bounds, require_bound
from reluopt.certificate import checker
from reluopt.certificate.bounds_above import checked_weights, network_estimates, own_objectives
from reluopt.certificate.bounds_below import lower_bounds, whole_seconds
from reluopt.certificate.case import Case
from reluopt.certificate.certificate import Certificate
from reluopt.certificate.config import CertifyConfig
from reluopt.certificate.context import pricing_of, theory_of
from reluopt.certificate.estimates import Estimate, Pricing, TheoryFacts
from reluopt.certificate.file import is_checkable
from reluopt.certificate.own_patterns import comparisons, own_estimates, stationarity
from reluopt.certificate.verdict_text import verdict
from reluopt.clock import Clock
from reluopt.interrupts import exit_code
from reluopt.losses import Loss
from reluopt.machine import usable_device
from reluopt.network import TwoLayerReLU
from reluopt.problem import as_problem
from reluopt.theory.kernel import log_factor
from reluopt.threads import one_thread_if_small

#: About as many columns the products with X have (patterns, starts of the pricing search).
PRODUCT_COLUMNS = 256


class CertifyInterrupted(KeyboardInterrupt):
    """Certifying was interrupted; ``certificate`` holds what was proved by then, ``signum`` the signal."""

    def __init__(self, certificate: Certificate, stop: KeyboardInterrupt) -> None:
        super().__init__("Interrupted: the certificate holds what was proved by then.")
        self.certificate, self.signum = certificate, exit_code(stop) - 128


def certify(
    network: TwoLayerReLU,
    X: Any,
    y: Any = None,
    beta: Any = None,
    config: CertifyConfig | None = None,
    *,
    loss: str | Loss = "squared",
    weights: Any = None,
    bound: LowerBound | None = None,
    extra_bounds: Sequence[Any] = (),
    initial_U: Float[np.ndarray, "m d"] | None = None,
    data: dict[str, Any] | None = None,
    drift: dict[str, Any] | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> Certificate:
    """The certificate of one network for a training problem: how far L(θ) is from the best that any width can do.

    The cheap proofs come first; when the time is over, what was proved by then stands.

    Parameters
    ----------
    network : any two-layer ReLU network of input dimension d; its weights are taken as exact float64.
    X, y, beta, loss, weights : a :class:`~reluopt.Problem` in the place of X; or what makes one: X (n, d), y (n,), β.
    bound : a lower bound of this problem that is known already; it is proved again, and no other is searched.
    extra_bounds : bounds of your own, beside those of installed packages (see ``reluopt.bounds.plugins``); what they
        find is proved again.
    initial_U : (m, d) first-layer weights at the start of training, for S_kept (KP Thm 2.5).
    data, drift : plain records put into the certificate as they are (name, fingerprint; last drift record).
    say : receives a line on each step (for a progress display).

    Raises
    ------
    DataError, ConfigError : see :class:`~reluopt.Problem`; a device that cannot be used.
    CertificateError : a network whose dimension is not that of the data, ``initial_U`` of another shape, weights or an
        objective that are not finite.
    CertifyInterrupted : a KeyboardInterrupt, with the certificate of what was proved by then.
    """
    problem, config = as_problem(X, y, beta, loss=loss, weights=weights), config or CertifyConfig()
    usable_device(config.device)
    foreign = [*map(require_bound, extra_bounds), *installed_bounds()]
    U, alpha, intercept = checked_weights(network, problem, initial_U)
    case = Case(problem, U, alpha, config, Clock(whole_seconds(problem, config)), say, intercept)
    if not is_checkable(problem.loss.name):
        case.notes.append(
            f"The independent checker does not know the {problem.loss.name} loss: there is no proof file, and what is "
            "proved rests on the conjugate that the loss states."
        )
    with one_thread_if_small(PRODUCT_COLUMNS * problem.X.size):
        top = network_estimates(case)
        objective = top[-1].value
        own_gap = stationarity(case, objective)
        bound, below = lower_bounds(case, objective, bound, foreign)
        pricing = case.unless_stopped(lambda: pricing_of(case), Pricing(math.nan, math.nan))
        theory = case.unless_stopped(lambda: theory_of(case), TheoryFacts(math.nan, math.nan, log_factor(problem.n)))
        own_gap, own = own_estimates(case, own_gap, objective)
        nothing: tuple[int | None, list[Estimate]] = (None, [])
        kept, others = case.unless_stopped(lambda: comparisons(case, initial_U), nothing)
    biases = own_objectives(case, network, objective)
    estimates = (*below, *own, *top, *others)
    name = problem.loss.name
    condition = "" if is_checkable(name) else f"If the {name} loss states its conjugate rightly: "
    certificate = Certificate(
        verdict=condition + verdict(estimates, pricing, biases),
        estimates=estimates,
        stationarity=own_gap,
        pricing=pricing,
        theory=theory,
        biases=biases,
        kept_patterns=kept,
        drift=drift,
        data={"n": problem.n, "d": problem.d, "outputs": problem.outputs, **(data or {})},
        settings={
            "loss": problem.loss.spec, "beta": problem.beta, **config.to_mapping(), "reluopt": reluopt.__version__,
            **({"output_bias": problem.biases.output, "first_bias": problem.biases.first} if problem.biases else {}),
        },
        network={
            "width": network.width, "dtype": str(network.U.dtype).removeprefix("torch."),
            "fingerprint": checker.fingerprint(*network.weights()),
        },
        seconds=case.clock.spent,
        notes=tuple(case.notes),
        bound=bound,
    )  # fmt: skip
    if case.stopped is not None:
        raise CertifyInterrupted(certificate, case.stopped) from case.stopped
    return certificate
