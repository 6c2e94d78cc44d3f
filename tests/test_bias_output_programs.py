"""Programs of several outputs with biases that are not decayed, and the polynomial-time algorithm with biases."""

import bias_problems as cases
import numpy as np
import pytest
from commands import reluopt
from counts import tries
from test_bias_search import at

from reluopt.bias_side import CONSTANT_COST
from reluopt.biases import Biases, with_zero_sums
from reluopt.bounds import race
from reluopt.certificate.certifying import certify
from reluopt.certificate.config import CertifyConfig
from reluopt.clock import Clock
from reluopt.network import from_weights
from reluopt.patterns.arrangement import all_patterns
from reluopt.patterns.pattern_set import PatternSet
from reluopt.programs.dual import dual_bound
from reluopt.programs.gated import GatedProgram
from reluopt.programs.gates import problem_patterns
from reluopt.programs.mapping import active_patterns, blocks_from_network, network_from_blocks
from reluopt.programs.outputs import relaxed_support
from reluopt.programs.pruning import caratheodory
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.search.polynomial import relax
from reluopt.search.refinement import refine
from reluopt.solvers import VectorSolver, solve

BOTH = Biases("free", "free")
QUICK = VectorSolver(tolerance=1e-2, max_iterations=6)


def of_outputs(seed, biases, loss, n=6, e=1):
    """A problem of e columns beside the ones, whose neurons live in the plane at least."""
    made = cases.problem(
        seed, biases, loss, outputs=3 if loss == "cross_entropy" else 2, n=n, d=max(e, 2 - biases.first_free)
    )
    return at(0.2, made)


def largest_in_the_cone(Z, pattern, z, directions):
    """max ‖zᵀD(Zv + b)‖ over unit directions v and the b of the pattern's cone, at whose ends it is largest."""
    H = Z @ directions.T
    low = np.where(pattern[:, None], -H, -np.inf).max(axis=0)
    high = np.where(pattern[:, None], np.inf, -H).min(axis=0)
    ends = [np.where(np.isfinite(b), b, 0.0) for b in (low, high)]
    sizes = [np.linalg.norm((z * pattern[:, None]).T @ (H + b), axis=0) for b in ends]
    return float(np.where(low <= high, np.max(sizes, axis=0), 0.0).max(initial=0.0))


def test_the_dual_norm_with_a_free_bias_is_met_from_both_sides():
    """Over a fine grid of directions and the ends of the interval of b; wherever the data lie."""
    angles = np.linspace(0, 2 * np.pi, 2001)
    for seed in range(tries(8, 100)):
        rng, e = np.random.default_rng(seed), 1 + seed % 2
        directions = np.array([[1.0], [-1.0]]) if e == 1 else np.column_stack([np.cos(angles), np.sin(angles)])
        Z = rng.standard_normal((8, e)) + (1e4 if seed % 4 == 3 else 0.0)
        X, z = np.hstack([Z, np.ones((8, 1))]), with_zero_sums(rng.standard_normal((8, 1 + seed % 3)))
        D = problem_patterns(cases.problem(0, BOTH)._with(X=X), 5, rng).dense
        for i in range(D.shape[1]):
            true, found = largest_in_the_cone(Z, D[:, i], z, directions), relaxed_support(X, D[:, [i]], z, free=True)
            assert true * (1 - 1e-9) <= found <= true * 1.1 + 1e-3


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
@pytest.mark.parametrize("biases", cases.KINDS)
def test_over_all_patterns_the_program_meets_the_search(biases, loss):
    """d_S(z) ≤ p* ≤ the network of its blocks, and the search of networks lies between, for every kind of biases."""
    made = of_outputs(1, biases, loss)
    program = RelaxedProgram(made, all_patterns(made.X))
    found = solve(program, QUICK)
    network = network_from_blocks(found.blocks, made.outputs, program=program)
    best = refine(made, tolerance=1e-3, most_rounds=10).objective
    assert made.objective(*network.weights()) == pytest.approx(found.value, rel=1e-9)
    assert (network.intercept is not None) == biases.intercept and found.cone_violation <= 1e-10
    assert found.dual.value <= best and found.value <= best * (1 + 2e-2)
    assert found.dual.value >= 0.97 * found.value
    below = next(race(made, clock=Clock(0.1), names=["vector moment"]))
    assert below.value <= found.value


@pytest.mark.parametrize("biases", cases.KINDS)
def test_values_and_gradients_are_those_of_networks(biases):
    made = of_outputs(2, biases, "squared", n=8, e=2)
    U, alpha, *_ = cases.network(1, made)
    program = RelaxedProgram(made, active_patterns(made.X, U, alpha))
    blocks = blocks_from_network(program, U, alpha)
    c = made.best_intercept(made.predict(U, alpha))
    decay = 0.5 * (made.intercept_decay or 0.0) * float(c @ c)
    plain = made.loss_value(made.predict(U, alpha) + c) + made.beta * float(made.strength(U, alpha).sum()) + decay
    assert program.value(blocks) == pytest.approx(plain) and program.cone_violation(blocks) <= 1e-12
    rng, gradient = np.random.default_rng(0), program.gradient(blocks)
    for _ in range(3):
        step = 1e-6 * rng.standard_normal(blocks.shape) * (blocks != 0)
        difference = program.value(blocks + step) - program.value(blocks - step)
        assert difference == pytest.approx(2 * float((gradient * step).sum()), rel=1e-4)


def test_any_multiple_of_any_point_is_below_any_network():
    """Weak duality for random networks and random z, free first-layer biases and an intercept."""
    for seed in range(tries(4, 60)):
        made = of_outputs(seed, BOTH, ["squared", "logistic"][seed % 2], n=7, e=2)
        U, alpha, *_ = cases.network(seed, made)
        program = RelaxedProgram(made, PatternSet.from_gates(made.X, U.T))
        z = np.random.default_rng(seed).standard_normal((7, 2))
        least = solve(program, VectorSolver(max_iterations=2), warm_start=blocks_from_network(program, U, alpha))
        assert dual_bound(program, np.clip(z, *made.dual_domain())).value <= least.value
        assert least.value <= made.balanced_objective(U, alpha, made.best_intercept(made.predict(U, alpha))) * (
            1 + 1e-9
        )


def test_gated_programs_take_an_intercept():
    made = of_outputs(3, Biases("free"), "squared")
    patterns = all_patterns(made.X)
    gated = solve(GatedProgram(made, patterns))
    assert gated.relative_gap <= 1e-3 and gated.dual.value <= solve(RelaxedProgram(made, patterns), QUICK).value


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
@pytest.mark.parametrize("biases", cases.KINDS)
def test_relax_gives_a_network_below_its_program(biases, loss):
    for outputs in (1, 2):
        if outputs == 1 and loss == "cross_entropy":
            continue
        made = at(0.2, cases.problem(4, biases, loss, outputs=3 if loss == "cross_entropy" else outputs, n=8, d=2))
        found = relax(made, patterns=4, solver=QUICK if outputs > 1 else None)
        own = found.network.weights()
        slack = 2 * CONSTANT_COST * made.zero_value
        assert found.objective == made.objective(*own) <= found.solution.value * (1 + 1e-9) + slack < made.zero_value
        assert (found.network.intercept is not None) == biases.intercept


def test_gates_do_not_depend_on_where_the_data_lie():
    made = cases.problem(0, BOTH, n=12, d=2)
    moved = made._with(X=made.X + np.array([2.0**20, -(2.0**20), 0.0]))
    here, there = (problem_patterns(one, 30, np.random.default_rng(0)) for one in (made, moved))
    assert len(here) > 10 and len(set(here) & set(there)) >= 0.9 * len(here)
    assert (here.dense == (made.X @ here.gates >= 0)).all()


def test_pruning_keeps_an_intercept_and_leaves_biases_undecayed():
    made = cases.problem(1, BOTH, n=5, d=2)
    U, alpha, c = cases.network(0, made, m=20)
    U[0, :-1] = 0.0
    pruned = caratheodory(made.X, from_weights(U, alpha, c), free=1)
    few, outer, own = pruned.weights()
    assert len(few) <= 5 and own == c
    assert np.allclose(made.predict(few, outer), made.predict(U[1:], alpha[1:]))
    assert made.strength(few, outer).sum() <= made.strength(U, alpha).sum() * (1 + 1e-9)


def test_certify_brackets_programs_of_several_outputs():
    made = of_outputs(5, BOTH, "squared", n=8, e=2)
    end = refine(made, tolerance=1e-3)
    known = next(race(made, clock=Clock(0.1), names=["vector moment"]))
    found = certify(end.network, made, config=CertifyConfig(gaussian_patterns=2, tolerance=1e-2), bound=known)
    own = {one.name: one.value for one in found.estimates}
    assert end.objective * 0.98 <= own["own_dual"] <= end.objective * (1 + 1e-12)
    assert own["gaussian"] >= found.lower_bound


def test_the_command_relaxes_with_biases(tmp_path):
    """`relax`, then `certify` and `verify` of its run; the words of the theorem are not claimed of biases."""
    small = ("planted", "--n", 20, "--d", 2, "--patterns", 4, "--out", "run")
    done = reluopt("relax", *small, "--first-bias", "free", "--output-bias", "decayed", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "free first-layer biases" in done.stdout and "high probability" not in done.stdout
    done = reluopt("certify", "run", "--time-budget", 2, "--gaussian-patterns", 0, "--effort", "fast", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = reluopt("verify", "run", cwd=tmp_path)
    assert done.returncode == 0 and "free first-layer biases" in done.stdout
