"""Certify a network: what its patterns allow, what any width allows, and how each is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

import reluopt
from reluopt import neurons, printing
from reluopt.bounds import LowerBound
from reluopt.bounds.plugins import installed_bounds, require_bound
from reluopt.bounds.protocol import Bound, Start
from reluopt.bounds.registry import BOUNDS, race
from reluopt.certificate.case import Case
from reluopt.certificate.certificate import Certificate
from reluopt.certificate.config import CertifyConfig
from reluopt.certificate.estimates import Biases, Estimate, Pricing, Quantity, Relation, Status, TheoryFacts
from reluopt.certificate.own_patterns import comparisons, own_estimates, stationarity
from reluopt.certificate.reading import proved_again
from reluopt.certificate.verdict import verdict
from reluopt.clock import Clock
from reluopt.errors import CertificateError
from reluopt.interrupts import exit_code
from reluopt.losses import Loss
from reluopt.network import TwoLayerReLU
from reluopt.problem import Problem, as_problem
from reluopt.search.pricing import price
from reluopt.theory.kernel import kappa as theory_kappa
from reluopt.theory.kernel import log_factor
from reluopt.threads import one_thread_if_small

#: κ needs all eigenvalues of an n×n matrix; above this many samples it is left out, and the certificate says so.
KAPPA_SAMPLES = 3000

#: How long the lower bound may be tightened after the quick ones, and the whole certificate may take.
TIGHTENING_SECONDS = {"fast": 0.0, "standard": 15.0, "thorough": 120.0}
WHOLE_SECONDS = {"fast": 60.0, "standard": 90.0, "thorough": 240.0}
#: Products XᵀX of more than LARGE multiplications get more time, as their root, at most MORE times as much.
LARGE, MORE = 3e8, 4.0
#: The share of the clock that the quick bounds may take.
FIRST_SHARE = 0.4
#: The tightening stops where it has come this near to the network.
CLOSED = 1e-6

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
    DataError, ConfigError : see :class:`~reluopt.Problem`.
    CertificateError : a network whose dimension is not that of the data, ``initial_U`` of another shape, weights or an
        objective that are not finite.
    CertifyInterrupted : a KeyboardInterrupt, with the certificate of what was proved by then.
    """
    problem, config = as_problem(X, y, beta, loss=loss, weights=weights), config or CertifyConfig()
    foreign = [*map(require_bound, extra_bounds), *installed_bounds()]
    U, alpha = _checked(network, problem, initial_U)
    case = Case(problem, U, alpha, config, Clock(_limit(problem, config)), say)
    with one_thread_if_small(PRODUCT_COLUMNS * problem.X.size):
        top = _network_estimates(case)
        objective = top[-1].value
        own_gap = stationarity(case, objective)
        bound, below = _lower_bounds(case, objective, bound, foreign)
        pricing = case.unless_stopped(lambda: _pricing(case), Pricing(math.nan, math.nan))
        theory = case.unless_stopped(lambda: _theory(case), TheoryFacts(math.nan, math.nan, log_factor(problem.n)))
        own_gap, own = own_estimates(case, own_gap, objective)
        nothing: tuple[int | None, list[Estimate]] = (None, [])
        kept, others = case.unless_stopped(lambda: comparisons(case, initial_U), nothing)
    biases = _biases(case, network, objective)
    estimates = (*below, *own, *top, *others)
    certificate = Certificate(
        verdict=verdict(estimates, pricing, biases),
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
        },
        network={"width": network.width, "dtype": str(network.U.dtype).removeprefix("torch.")},
        seconds=case.clock.spent,
        notes=tuple(case.notes),
        bound=bound,
    )  # fmt: skip
    if case.stopped is not None:
        raise CertifyInterrupted(certificate, case.stopped) from case.stopped
    return certificate


def _checked(
    network: TwoLayerReLU, problem: Problem, initial_U: Float[np.ndarray, "m d"] | None
) -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, "m ..."]]:
    """(U, α) of a network that fits the problem."""
    if network.d != problem.d:
        raise CertificateError(
            f"The network takes {network.d} inputs, the data have {problem.d} columns.",
            "Use the data the network was trained on (with the ones column of a bias).",
        )
    if network.outputs != problem.outputs:
        raise CertificateError(
            f"The network has {network.outputs} outputs, the targets have {problem.outputs}.",
            "Use the targets the network was trained on.",
        )
    U, alpha = network.weights()
    if initial_U is not None and initial_U.shape != U.shape:
        raise CertificateError(
            f"The initial weights have shape {initial_U.shape}, the network's {U.shape}.", "Give those of the same run."
        )
    if not (np.isfinite(U).all() and np.isfinite(alpha).all()):
        raise CertificateError("The network has weights that are NaN or infinite.", "Train with a smaller step size.")
    return U, alpha


def _larger(problem: Problem) -> float:
    """How much more time large data get."""
    return min(MORE, max(1.0, math.sqrt(problem.n * problem.d**2 / LARGE)))


def _limit(problem: Problem, config: CertifyConfig) -> float:
    """Seconds for the whole certificate."""
    if config.time_limit is not None:
        return config.time_limit
    return WHOLE_SECONDS[config.effort] * (1.0 if config.effort == "fast" else _larger(problem))


def _network_estimates(case: Case) -> list[Estimate]:
    """L_bal ≤ L(θ), both rounded up."""
    with np.errstate(over="ignore", invalid="ignore"):
        upper = case.problem.objective_upper(case.U, case.alpha)
        balanced = case.problem.objective_upper(*neurons.balanced(case.U, case.alpha))
    if not (math.isfinite(upper) and math.isfinite(balanced)):
        raise CertificateError(
            "The objective of this network overflows.", "Standardise X, or train with smaller steps."
        )
    return [
        Estimate(
            "balanced", "L_bal, neurons balanced", Quantity.BALANCED, Relation.AT_MOST, min(balanced, upper),
            Status.PROVED, "network", "the same function with every neuron scaled to ‖u‖ = |α|",
        ),
        Estimate(
            "objective", "L(θ), the network", Quantity.OBJECTIVE, Relation.AT_MOST, upper, Status.PROVED, "network",
            "the network as it is",
        ),
    ]  # fmt: skip


def _lower_bounds(
    case: Case, objective: float, known: LowerBound | None, foreign: Sequence[Bound] = ()
) -> tuple[LowerBound, list[Estimate]]:
    """The best lower bound on p*, and the best of every method: no network of any width has a smaller objective."""
    if known is not None:
        known = replace(proved_again(case.problem, known, known.method), seconds=known.seconds)
        return known, [_estimate("tightened", known)]
    case.say("bounding the global optimum from below")
    start, found = Start(network=(case.U, case.alpha)), dict[str, LowerBound]()
    for name in (name for name, bound in BOUNDS.items() if bound.quick and bound.takes(case.problem)):
        if case.stopped is None:
            start = _raced(case, [name], start, case.clock.part(FIRST_SHARE), objective, found)
    if not found:
        assert case.stopped is not None
        raise case.stopped  # nothing is proved yet
    seconds = TIGHTENING_SECONDS[case.config.effort] * _larger(case.problem)
    able = {name: bound for name, bound in BOUNDS.items() if bound.takes(case.problem)}
    slow = [name for name, bound in able.items() if not bound.quick and bound.suits(case.problem)][:1]
    if seconds and slow and case.stopped is None and not case.clock.over:
        case.say(f"tightening the lower bound for up to {min(seconds, case.clock.left):.0f} s")
        tightened = dict[str, LowerBound]()
        _raced(case, slow, start, case.clock.part(0.8, seconds), objective, tightened)
        if tightened:
            found["tightened"] = tightened[slow[0]]
    for bound in (bound for bound in foreign if bound.takes(case.problem)):
        if case.stopped is None and not case.clock.over:
            _from_outside(case, bound, start, found)
    return max(found.values(), key=lambda bound: bound.value), [_estimate(name, b) for name, b in found.items()]


def _from_outside(case: Case, bound: Bound, start: Start, found: dict[str, LowerBound]) -> None:
    """Run a bound of another package; its best goes into ``found``, under its name. What breaks it is a note."""
    name = bound.name if bound.name not in found else f"{bound.name} (extra)"
    case.say(f"bounding by {name}")
    clock = case.clock.part(FIRST_SHARE)
    try:
        for claimed in bound.run(case.problem, start, clock, "cpu"):
            one = proved_again(case.problem, claimed, bound.name)
            if name not in found or one.value >= found[name].value:
                found[name] = one
            if clock.over:
                return
    except KeyboardInterrupt as stop:
        case.stop(stop)
    except Exception as error:
        case.notes.append(f"the bound '{name}' of another package ended with an error: {error}")


def _raced(
    case: Case, names: list[str], start: Start, clock: Clock, objective: float, found: dict[str, LowerBound]
) -> Start:
    """Run some bounds; the best of each goes into ``found``. Ctrl-C ends them and keeps what they proved."""
    try:
        for bound in race(case.problem, start, clock, names=names, stop_at=objective * (1 - CLOSED)):
            name = names[0]
            if name not in found or bound.value >= found[name].value:
                found[name] = bound
            start = start.after(bound)
    except KeyboardInterrupt as stop:
        case.stop(stop)
    return start


def _estimate(name: str, bound: LowerBound) -> Estimate:
    label = {"closed form": "closed-form lower bound"}.get(name, f"{name} lower bound")
    meaning = f"no network of any width is below this ({bound.method})"
    short = name.replace(" ", "_")
    return Estimate(
        short, label, Quantity.OPTIMUM, Relation.AT_LEAST, bound.value, Status.PROVED, bound.method, meaning
    )


def _pricing(case: Case) -> Pricing:
    """Is there a neuron whose addition lowers L? A price above β shows one; finding none proves nothing."""
    rng = np.random.default_rng(case.config.seed)
    found = price(case.problem.X, case.z, rng, clock=case.clock)
    largest = price(case.problem.X, case.problem.zero_dual_point, rng, clock=case.clock).value
    beta = case.problem.beta
    return Pricing(found.value / beta, beta / largest if largest > 0 else math.inf)


def _theory(case: Case) -> TheoryFacts:
    problem, n = case.problem, case.problem.n
    if n > KAPPA_SAMPLES:
        case.notes.append(f"κ was left out: n = {n} exceeds {KAPPA_SAMPLES} (it needs an n×n eigenvalue problem).")
        kappa = math.nan
    else:
        kappa = theory_kappa(problem.X)
    speaks = problem.loss.name == "squared" and not problem.is_weighted
    return TheoryFacts(kappa, 2 * math.sqrt(2) * math.sqrt(kappa) if speaks else math.nan, log_factor(n))


def _biases(case: Case, network: TwoLayerReLU, objective: float) -> Biases | None:
    """The own objectives of a converted model, beside L; None where its biases make no difference."""
    own = network.own_objectives(objective, case.problem.beta)
    if own is None:
        return None
    case.notes.append(
        f"the model has biases, which L (here {printing.above(objective)}) charges like weights. Its own objective is "
        f"{printing.nearest(own[0])} if its training decays all biases and {printing.nearest(own[1])} if it decays "
        "none. The bounds are on L: they hold for the model's own objective only where that is L."
    )
    return Biases(*own)
