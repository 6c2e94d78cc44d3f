"""Build the ladder of a network: what its patterns allow, what any width allows, and how each is known."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

import reluopt
from reluopt import objective as scaling
from reluopt import printing, rounding
from reluopt.bounds import LowerBound, closed_form, moment, tightened
from reluopt.certificate.config import CertifyConfig
from reluopt.certificate.ladder import Certificate, Kind, Rung
from reluopt.certificate.stationarity import (
    NeuronPatterns,
    active_mask,
    clarke_residual,
    kept_patterns,
    neuron_patterns,
)
from reluopt.certificate.verdict import verdict
from reluopt.errors import CertificateError
from reluopt.interrupts import exit_code
from reluopt.network import TwoLayerReLU
from reluopt.patterns.pattern_set import PatternSet
from reluopt.patterns.sampling import sample_patterns
from reluopt.programs.dual import dual_bound
from reluopt.programs.mapping import blocks_from_network
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.search.pricing import price
from reluopt.solvers import CvxpySolver, NativeSolver, Solution, Solver, Status, solve
from reluopt.theory.kernel import kappa as theory_kappa
from reluopt.theory.kernel import log_factor
from reluopt.threads import one_thread_if_small

#: κ needs all eigenvalues of an n×n matrix; above this many samples it is left out, and the certificate says so.
KAPPA_SAMPLES = 3000

#: Each of the three values d_S(z) gets at most this long; then what is proved by then stands.
PROOF_SECONDS = 20.0

#: How long the lower bound may be tightened.
EFFORT_SECONDS = {"fast": 0.0, "standard": 15.0, "thorough": 120.0}
#: Products XᵀX of more than LARGE multiplications get more time, as their root, at most MORE times as much.
LARGE, MORE = 3e8, 4.0

#: The facts of these two steps, where they were interrupted.
PRICES = ("largest_price_over_beta", "beta_over_beta_max_estimate")
THEORY = ("kappa", "instance_factor", "sqrt_log_2n")

T = TypeVar("T")

#: About as many columns the products with X have (patterns, starts of the pricing search).
PRODUCT_COLUMNS = 256


class CertifyInterrupted(KeyboardInterrupt):
    """Certifying was interrupted; ``certificate`` holds what was proved by then, ``signum`` the signal."""

    def __init__(self, certificate: Certificate, stop: KeyboardInterrupt) -> None:
        super().__init__("Interrupted: the certificate holds what was proved by then.")
        self.certificate, self.signum = certificate, exit_code(stop) - 128


@dataclass
class _Case:
    """One network on one data set, and the clock of its certificate."""

    X: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, " n"]
    beta: float
    U: Float[np.ndarray, "m d"]
    alpha: Float[np.ndarray, " m"]
    config: CertifyConfig
    say: Callable[[str], None]
    start: float = field(default_factory=time.perf_counter)
    notes: list[str] = field(default_factory=list)
    solving: float = 0.0  # seconds spent on programs so far
    stopped: KeyboardInterrupt | None = None

    def unless_stopped(self, step: Callable[[], T], otherwise: T) -> T:
        """What the step gives; ``otherwise`` where it is interrupted, or an earlier one was."""
        if self.stopped is not None:
            return otherwise
        try:
            return step()
        except KeyboardInterrupt as stop:
            self.stopped = stop
            self.notes.append("It was interrupted: what was proved by then stands, the rest is missing.")
            return otherwise

    def seconds(self) -> float:
        return time.perf_counter() - self.start

    def program(self, patterns: PatternSet) -> RelaxedProgram:
        return RelaxedProgram(self.X, self.y, patterns, self.beta)


def certify(
    network: TwoLayerReLU,
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    beta: float,
    config: CertifyConfig | None = None,
    *,
    initial_U: Float[np.ndarray, "m d"] | None = None,
    data: dict[str, Any] | None = None,
    drift: dict[str, Any] | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> Certificate:
    """The certificate of one network for the training problem L on (X, y) with weight decay β.

    Parameters
    ----------
    network : any two-layer ReLU network of input dimension d; its weights are taken as exact float64.
    X, y, beta : the data (n, d), (n,), float64, and the weight decay in the scaling of ``reluopt.objective``.
    initial_U : (m, d) first-layer weights at the start of training, for S_kept (KP Thm 2.5).
    data, drift : plain records put into the certificate as they are (name, fingerprint; last drift record).
    say : receives a line on each step (for a progress display).

    Raises
    ------
    CertificateError : a network whose dimension is not that of the data, or ``initial_U`` of another shape.
    CertifyInterrupted : a KeyboardInterrupt, with the certificate of what was proved by then.
    """
    config = config or CertifyConfig()
    if network.d != X.shape[1]:
        raise CertificateError(
            f"The network takes {network.d} inputs, the data have {X.shape[1]} columns.",
            "Use the data the network was trained on (with the ones column of a bias).",
        )
    U, alpha = network.weights()
    if initial_U is not None and initial_U.shape != U.shape:
        raise CertificateError(
            f"The initial weights have shape {initial_U.shape}, the network's {U.shape}.", "Give those of the same run."
        )
    if not (np.isfinite(U).all() and np.isfinite(alpha).all()):
        raise CertificateError("The network has weights that are NaN or infinite.", "Train with a smaller step size.")
    # evidence may hold X or y itself, and a file of tensors keeps memory, not strides
    case = _Case(np.ascontiguousarray(X), np.ascontiguousarray(y), beta, U, alpha, config, say)
    with one_thread_if_small(PRODUCT_COLUMNS * X.size):
        bound, rungs, facts = _climb(case, initial_U, drift)
    facts["biases"] = _biases(case, network, rungs)
    certificate = Certificate(
        verdict=verdict(rungs, facts),
        rungs=tuple(rungs),
        facts=facts,
        data={"n": len(X), "d": X.shape[1], **(data or {})},
        settings={"beta": beta, **config.to_mapping(), "reluopt": reluopt.__version__},
        network={"width": network.width, "dtype": str(network.U.dtype).removeprefix("torch.")},
        seconds=case.seconds(),
        notes=tuple(case.notes),
        bound=bound,
    )
    if case.stopped is not None:
        raise CertifyInterrupted(certificate, case.stopped) from case.stopped
    return certificate


def _climb(
    case: _Case, initial_U: Float[np.ndarray, "m d"] | None, drift: dict[str, Any] | None
) -> tuple[LowerBound, list[Rung], dict[str, Any]]:
    """The best lower bound, all rungs, all facts; the cheap proofs first so that they stand whatever the budget is."""
    top = _network_rungs(case)
    case.say("reading the network's patterns")
    sets = neuron_patterns(
        case.X, case.U, case.alpha, kink_tolerance=case.config.kink_tolerance, kink_cap=case.config.kink_cap
    )
    case.say("proving stationarity from the network's own residual")
    facts: dict[str, Any] = {"stationarity": _stationarity(case, sets, top[-1].value)}
    case.say("bounding the global optimum from below")
    bound, below = _lower_rungs(case, top[-1].value)
    facts["pricing"] = case.unless_stopped(lambda: _pricing(case), dict.fromkeys(PRICES, math.nan))
    facts["theory"] = case.unless_stopped(lambda: _theory(case), dict.fromkeys(THEORY, math.nan))
    own = _own_rungs(case, sets, facts["stationarity"])
    gap, relative = _gap(top[-1].value, own[0].value)
    facts["stationarity"] |= {"gap_after_program": gap, "relative_gap_after_program": relative}
    others: list[Rung] = case.unless_stopped(lambda: _comparison_rungs(case, initial_U, sets, facts), [])
    facts["drift"] = drift
    return bound, [*below, *own, *top, *others], facts


def _biases(case: _Case, network: TwoLayerReLU, rungs: list[Rung]) -> dict[str, float] | None:
    """The own objectives of a converted model, beside L; None where its biases make no difference."""
    objective = next(rung.value for rung in rungs if rung.key == "objective")
    own = network.own_objectives(objective, case.beta)
    if own is None:
        return None
    case.notes.append(
        f"the model has biases, which L (here {printing.above(objective)}) charges like weights. Its own objective is "
        f"{printing.nearest(own[0])} if its training decays all biases and {printing.nearest(own[1])} if it decays "
        "none. The bounds are on L: they hold for the model's own objective only where that is L."
    )
    return {"all_decayed": own[0], "none_decayed": own[1]}


@np.errstate(over="ignore", invalid="ignore")
def _network_rungs(case: _Case) -> list[Rung]:
    """L_bal ≤ L(θ), both rounded up."""
    norms = np.sqrt(np.linalg.norm(case.U, axis=1) * np.abs(case.alpha))
    size = np.linalg.norm(case.U, axis=1)
    balanced_U = case.U * (norms / np.where(size > 0, size, 1.0))[:, None]
    upper = rounding.objective_upper(case.X, case.y, case.U, case.alpha, case.beta)
    balanced = rounding.objective_upper(case.X, case.y, balanced_U, np.sign(case.alpha) * norms, case.beta)
    if not (math.isfinite(upper) and math.isfinite(balanced)):
        raise CertificateError(
            "The objective of this network overflows.", "Standardise X, or train with smaller steps."
        )
    return [
        Rung(
            "balanced", "L_bal, neurons balanced", min(balanced, upper), Kind.PROVED, "above",
            "the same function with every neuron scaled to ‖u‖ = |α|",
        ),
        Rung("objective", "L(θ), the network", upper, Kind.PROVED, "above", "the network as it is"),
    ]  # fmt: skip


def _lower_rungs(case: _Case, objective: float) -> tuple[LowerBound, list[Rung]]:
    """The best lower bound on p*, and the rungs of all: no network of any width has a smaller objective."""
    found = [("closed_form", "closed-form lower bound", "KP Prop. 3.6", closed_form(case.X, case.y, case.beta))]
    moments = case.unless_stopped(lambda: moment(case.X, case.y, case.beta, network=(case.U, case.alpha)), None)
    if moments is not None:
        found.append(("moment", "moment lower bound", "second moments, started at the network's", moments))
    n, d = case.X.shape
    seconds = EFFORT_SECONDS[case.config.effort] * min(MORE, max(1.0, math.sqrt(n * d * d / LARGE)))
    if seconds:
        case.say(f"tightening the lower bound for up to {seconds:.0f} s")
        bound = case.unless_stopped(
            lambda: tightened(case.X, case.y, case.beta, time_limit=seconds, stop_at=objective * (1 - 1e-6)), None
        )
        if bound is not None:
            found.append(("tightened", "tightened lower bound", bound.method, bound))
    rungs = [
        Rung(key, label, bound.value, Kind.PROVED, "below", f"no network of any width is below this ({how})")
        for key, label, how, bound in found
    ]
    return max((bound for *_, bound in found), key=lambda bound: bound.value), rungs


def _stationarity(case: _Case, sets: NeuronPatterns, objective: float) -> dict[str, Any]:
    """L(θ) − d_S(z) for the three pattern sets, without solving any program, and the Clarke residual."""
    z = scaling.SQUARED.dual_point(scaling.predict(case.X, case.U, case.alpha), case.y)
    gaps = {}
    named = (("active", sets.active), ("with_kinks", sets.with_kinks), ("with_inactive", sets.with_inactive))
    for name, patterns in named:
        bound = _bound_over(case, patterns, z)
        gap, relative = _gap(objective, bound)
        gaps[name] = {"patterns": len(patterns), "dual_value": bound, "gap": gap, "relative_gap": relative}
    residual = clarke_residual(case.X, case.y, case.U, case.alpha, case.beta, kink_tolerance=case.config.kink_tolerance)
    return {
        "gap_to_own_patterns": gaps,
        "clarke_residual": residual.value,
        "clarke_residual_relative": residual.relative,
        "gradient_norm": residual.plain,
        "active_neurons": sets.active_neurons,
        "kinks": sets.kink_count,
        "kink_cap_met": sets.kinks_capped,
    }


def _gap(upper: float, lower: float) -> tuple[float, float]:
    """upper − lower and its share of upper, both rounded up; NaN where a bound is not finite."""
    if not (math.isfinite(upper) and math.isfinite(lower)):
        return math.nan, math.nan
    gap = Fraction(upper) - Fraction(lower)
    return rounding.round_up(gap), rounding.round_up(gap / Fraction(upper)) if upper > 0 else 0.0


def _bound_over(case: _Case, patterns: PatternSet, z: Float[np.ndarray, " n"]) -> float:
    """d_S(z), rounded down; over no pattern at all the only network is zero, with ½‖y‖²."""
    if len(patterns) == 0:
        return rounding.dual_value_lower(case.y, case.y, 1.0)
    end = case.seconds() + PROOF_SECONDS
    bound = dual_bound(case.program(patterns), z, stop=lambda: case.seconds() > end)
    if case.seconds() > end:
        case.notes.append(
            f"d_S(z) over {len(patterns)} patterns was cut off after {PROOF_SECONDS} s: valid, but loose."
        )
    return bound.value


def _pricing(case: _Case) -> dict[str, Any]:
    """Is there a neuron whose addition lowers L? A price above β shows one; finding none proves nothing."""
    z = scaling.SQUARED.dual_point(scaling.predict(case.X, case.U, case.alpha), case.y)
    rng = np.random.default_rng(case.config.seed)
    found = price(case.X, z, rng)
    largest = price(case.X, case.y, rng).value
    return {"largest_price_over_beta": found.value / case.beta, "beta_over_beta_max_estimate": case.beta / largest}


def _theory(case: _Case) -> dict[str, Any]:
    n = len(case.X)
    if n > KAPPA_SAMPLES:
        case.notes.append(f"κ was left out: n = {n} exceeds {KAPPA_SAMPLES} (it needs an n×n eigenvalue problem).")
        kappa = math.nan
    else:
        kappa = theory_kappa(case.X)
    return {
        "kappa": kappa,
        "instance_factor": 2 * math.sqrt(2) * math.sqrt(kappa),
        "sqrt_log_2n": log_factor(n),
    }


def _own_rungs(case: _Case, sets: NeuronPatterns, stationarity: dict[str, Any]) -> list[Rung]:
    """p̃(S(θ)): the optimum over the network's own active patterns, bracketed within the budget."""
    dual = stationarity["gap_to_own_patterns"]["active"]["dual_value"]
    primal, status = math.nan, "no program was solved (time budget 0)"
    if len(sets.active) == 0:
        primal, status = scaling.SQUARED.value(np.zeros_like(case.y), case.y), "the network is zero"
    elif case.config.time_budget > 0:
        program = case.program(sets.active)
        own = _own_blocks(program, case)
        # the network itself is a feasible point: a solve that was cut short may not have come so far
        primal, status = program.value(own), "the program was not solved: interrupted"
        solution = case.unless_stopped(lambda: _solve(case, program, 0.6, own), None)
        if solution is not None:
            primal = min(primal, solution.value)
            dual, status = max(dual, solution.dual.value), solution.status.value
    stationarity["program_status"] = status
    return [
        Rung(
            "own_dual", "p̃(S(θ)) from below", dual, Kind.PROVED, "above",
            "no network with these activation patterns is below this",
        ),
        Rung(
            "own_primal", "p̃(S(θ)) from above", float(primal), Kind.MEASURED, "above",
            f"the best found with these patterns ({status})",
        ),
    ]  # fmt: skip


def _comparison_rungs(
    case: _Case, initial_U: Float[np.ndarray, "m d"] | None, sets: NeuronPatterns, facts: dict[str, Any]
) -> list[Rung]:
    """p̃ over Gaussian patterns and over the patterns kept since initialisation (KP Thm 2.1, 2.5)."""
    rungs = []
    if case.config.gaussian_patterns and case.config.time_budget > 0:
        rng = np.random.default_rng(case.config.seed)
        gaussian = sample_patterns(case.X, case.config.gaussian_patterns, rng)
        text = "the relaxation over random patterns"
        rungs.append(_solved_rung(case, "gaussian", f"p̃(Gaussian, P={len(gaussian)})", gaussian, text, 0.7))
    if initial_U is not None:
        kept = kept_patterns(case.X, initial_U, case.U)
        facts["kept_patterns"] = len(kept)
        text = f"over the {len(kept)} patterns unchanged since the start"
        if len(kept) == 0:
            zero = float(scaling.SQUARED.value(np.zeros_like(case.y), case.y))
            rungs.append(Rung("kept", "p̃(S_kept)", zero, Kind.MEASURED, "above", f"{text}: the zero network"))
        elif case.config.time_budget > 0:
            rungs.append(_solved_rung(case, "kept", f"p̃(S_kept), {len(kept)} patterns", kept, text, 1.0))
    return rungs


def _solved_rung(case: _Case, key: str, label: str, patterns: PatternSet, text: str, share: float) -> Rung:
    solution = _solve(case, case.program(patterns), share)
    how = solution.status.value
    if solution.status is not Status.CONVERGED:
        how += f", its optimum is in [{printing.below(solution.dual.value)}, {printing.above(solution.value)}]"
    return Rung(key, label, solution.value, Kind.MEASURED, "above", f"{text} ({how})")


def _solve(
    case: _Case, program: RelaxedProgram, share: float, warm_start: Float[np.ndarray, "2 P d"] | None = None
) -> Solution:
    """Solve within ``share`` of what is left of the budget (at least a moment, to start at all)."""
    case.say(f"solving the convex program over {len(program.patterns)} patterns")
    limit, tolerance = max(0.1, share * (case.config.time_budget - case.solving)), case.config.tolerance
    solver: Solver = NativeSolver(tolerance=tolerance, time_limit=limit)
    if case.config.solver != "native":
        solver = CvxpySolver(backend=case.config.solver, tolerance=tolerance, time_limit=limit)
    solution = solve(program, solver, warm_start=warm_start)
    case.solving += solution.seconds
    return solution


def _own_blocks(program: RelaxedProgram, case: _Case) -> Float[np.ndarray, "2 P d"]:
    """The network's active neurons as blocks of the program over their own patterns."""
    mask = active_mask(case.U, case.alpha)
    return blocks_from_network(program, case.U[mask], case.alpha[mask])
