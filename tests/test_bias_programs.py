"""Convex programs of problems with biases that are not decayed: their optimum, their dual, their networks."""

import bias_problems as cases
import numpy as np
import pytest
from counts import tries
from test_bias_search import at, optimum

from reluopt.biases import Biases, with_zero_sums
from reluopt.bounds import race
from reluopt.certificate.certifying import certify
from reluopt.certificate.config import CertifyConfig
from reluopt.clock import Clock
from reluopt.errors import ConfigError, SolverError
from reluopt.patterns.arrangement import all_patterns
from reluopt.patterns.sampling import sample_patterns
from reluopt.programs.dual import dual_bound
from reluopt.programs.equality import EqualityProgram
from reluopt.programs.gated import GatedProgram
from reluopt.programs.mapping import active_patterns, blocks_from_network, network_from_blocks
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.programs.ridge import RidgeProgram
from reluopt.search.refinement import refine
from reluopt.solvers import CvxpySolver, NativeSolver, solve

BOTH = Biases("free", "free")


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("biases", cases.KINDS)
def test_over_all_patterns_it_is_the_optimum(biases: Biases, loss: str) -> None:
    """Value, proved dual value, mapped network and formulas meet."""
    for seed in range(tries(1, 6)):
        made = at(0.2, cases.problem(seed, biases, loss, n=5, d=1 if biases.first_free else 2, weighted=seed % 2 == 1))
        program = RelaxedProgram(made, all_patterns(made.X))
        found = solve(program)
        assert found.solver.startswith("cvxpy") and found.value == pytest.approx(optimum(made), rel=1e-6)
        assert found.dual.value <= found.value <= found.dual.value * (1 + 1e-5) and found.cone_violation < 1e-9
        network = network_from_blocks(found.blocks, program=program)
        assert made.objective(*network.weights()) == pytest.approx(found.value, rel=1e-9)
        assert (network.intercept is not None) == biases.intercept


@pytest.mark.parametrize("biases", cases.KINDS)
def test_gradient_and_blocks_of_networks(biases: Biases) -> None:
    """The program's value at a network's blocks is at most L, its gradient that of differences."""
    made = cases.problem(2, biases, n=8)
    U, alpha, *c = cases.network(1, made)
    program = RelaxedProgram(made, active_patterns(made.X, U, alpha))
    blocks = blocks_from_network(program, U, alpha)
    assert program.value(blocks) <= made.objective(U, alpha, *c) and program.cone_violation(blocks) < 1e-12
    gradient, side, i = program.gradient(blocks), *np.argwhere(np.abs(blocks).max(axis=-1) > 0)[0]
    for k in range(made.d):
        step = np.zeros_like(blocks)
        step[side, i, k] = 1e-6
        difference = (program.value(blocks + step) - program.value(blocks - step)) / 2e-6
        assert difference == pytest.approx(gradient[side, i, k], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("outside", [0.0, 1e5])
def test_no_neuron_in_the_cones_exceeds_the_dual_norm(outside: float) -> None:
    """B ≥ ± zᵀ(Xv + b)_+ of every neuron of these patterns with ‖v‖ = 1, whatever its bias; also far from 0."""
    for seed in range(tries(5, 60)):
        rng = np.random.default_rng(seed)
        made = cases.problem(seed, BOTH, n=7, d=1 + seed % 3)
        made._set(X=made.X + outside * np.append(np.ones(made.d - 1), 0.0))
        z = with_zero_sums(rng.standard_normal(7))
        V = rng.standard_normal((200, made.d - 1))
        V /= np.linalg.norm(V, axis=1)[:, None]
        kinks = -(V @ made.X[:, :-1].T)
        inside = np.sort(kinks, axis=1)[np.arange(200), rng.integers(0, 7, 200)]
        U = np.hstack([V, (inside + rng.choice([-3.0, 1e-3, 5.0], 200))[:, None]])
        patterns = active_patterns(made.X, U, np.ones(200))
        bound = dual_bound(RelaxedProgram(made, patterns), z)
        assert bound.bound >= np.abs(np.maximum(made.X @ U.T, 0).T @ bound.z).max() * (1 - 1e-12)
        assert bound.bound <= 1.5 * np.abs(made.X[:, :-1] - made.X[:, :-1].mean(axis=0)).sum() * np.abs(z).max()


@pytest.mark.parametrize("biases", cases.KINDS)
def test_a_settled_network_is_proved_optimal_over_its_patterns(biases: Biases) -> None:
    made = at(0.2, cases.problem(6, biases, n=9, d=1 if biases.first_free else 2))
    end = refine(made, tolerance=1e-7)
    known = next(race(made, clock=Clock(0.1), names=["moment"]))
    found = certify(end.network, made, config=CertifyConfig(gaussian_patterns=3), bound=known)
    own = {one.name: one.value for one in found.estimates}
    assert own["own_dual"] <= end.objective * (1 + 1e-12) and own["own_dual"] >= end.objective * (1 - 1e-3)
    assert found.stationarity.relative_gap_after_program < 1e-3
    assert own["gaussian"] >= found.lower_bound


def test_what_is_another_program_with_them_is_refused() -> None:
    free, own, several = cases.problem(0, BOTH), cases.problem(0, Biases("free")), cases.problem(0, BOTH, outputs=2)
    for program, made in (
        (GatedProgram, free),
        (GatedProgram, several),
        (RidgeProgram, own),
        (EqualityProgram, own),
    ):
        with pytest.raises(ConfigError, match="bias"):
            program(made, sample_patterns(made.X, 4, np.random.default_rng(0)))
    program = RelaxedProgram(own, sample_patterns(own.X, 4, np.random.default_rng(0)))
    with pytest.raises(ConfigError, match="other biases"):
        program.with_problem(free.select(np.arange(own.n)))
    with pytest.raises(SolverError):
        NativeSolver().solve(program)
    gated = solve(GatedProgram(own, all_patterns(own.X)))
    assert gated.relative_gap <= 1e-5 and gated.value <= solve(RelaxedProgram(own, all_patterns(own.X))).value * (
        1 + 1e-6
    )
    whole = CvxpySolver(lazy=False).solve(program)
    assert whole.value == pytest.approx(solve(program).value, rel=1e-5)
