"""The native solver: its bracket holds the optimum, its blocks are in their cones, its status is the truth."""

import json

import numpy as np
import pytest
import torch
from counts import tries

from reluopt.errors import ConfigError, SolverError
from reluopt.patterns.pattern_set import PatternSet
from reluopt.patterns.sampling import sample_patterns
from reluopt.programs.dual import block_norms
from reluopt.programs.gated import GatedProgram
from reluopt.programs.mapping import active_patterns, blocks_from_network
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.programs.ridge import RidgeProgram
from reluopt.solvers import CvxpySolver, Status
from reluopt.solvers.native import NativeSolver, blocks_for, regularization_path

KINDS = [RelaxedProgram, GatedProgram]


def planted(seed, n=30, d=4, draws=20, kind=RelaxedProgram, ratio=0.05):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.maximum(X @ rng.standard_normal((d, 3)), 0) @ rng.standard_normal(3) + 0.1 * rng.standard_normal(n)
    return at_ratio(kind(X, y, sample_patterns(X, draws, rng), 1.0), ratio)


def at_ratio(program, ratio):
    top = block_norms(program, program.y).max()
    return program.with_beta(ratio * top if top > 1e-9 else 0.1)


def check_bracket(program, solution, tolerance):
    """Everything recomputed here from the program."""
    assert solution.status is Status.CONVERGED
    assert solution.cone_violation <= 1e-12 * max(1.0, float(np.abs(solution.blocks).max()))
    assert np.isclose(solution.value, program.value(solution.blocks), rtol=1e-13)
    assert solution.gap >= -1e-12 * abs(solution.value)
    assert solution.relative_gap <= tolerance
    tz = solution.dual.scale * solution.z
    assert block_norms(program, tz).max() <= program.beta * (1 + 1e-9)
    assert solution.dual.value <= program.y @ tz - 0.5 * tz @ tz + 1e-12 * abs(solution.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [0.9, 0.1, 0.001])
def test_the_bracket_is_narrow_and_valid(kind, ratio):
    program = planted(0, kind=kind, ratio=ratio)
    check_bracket(program, NativeSolver(tolerance=1e-8).solve(program), 1e-8)


def random_instance(seed):
    """Four of six seeds degenerate in one way, both programs, with β from tiny to large."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 25)), int(rng.integers(1, 7))
    X = rng.standard_normal((n, d))
    flaw = ["none", "none", "duplicate rows", "zero column", "collinear", "integers"][seed % 6]
    if flaw == "duplicate rows":
        X[n // 2 :] = X[: n - n // 2]
    elif flaw == "zero column":
        X[:, 0] = 0.0
    elif flaw == "collinear":
        X = np.outer(rng.standard_normal(n), rng.standard_normal(d))
    elif flaw == "integers":
        X = np.round(2 * X)
    y = np.round(2 * rng.standard_normal(n)) + 0.5
    patterns = sample_patterns(X, int(rng.integers(1, 12)), rng)
    kind = KINDS[seed // 6 % 2]
    return at_ratio(kind(X, y, patterns, 1.0), float(10.0 ** rng.uniform(-3.5, 0.1)))


@pytest.mark.parametrize("seed", range(tries(24, 120)))
def test_agrees_with_clarabel(seed):
    program = random_instance(seed)
    ours = NativeSolver(tolerance=1e-8).solve(program)
    check_bracket(program, ours, 1e-8)
    theirs = CvxpySolver(tolerance=1e-9, lazy=False).solve(program)
    assert np.isclose(ours.value, theirs.value, rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_reference_values(shared, kind):
    values = json.loads((shared / "reference" / "values.json").read_text())
    key = "relaxed" if kind is RelaxedProgram else "gated_same_patterns"
    for name, entry in values.items():
        data = np.load(shared / "reference" / f"{name}.npz")
        program = kind(data["X"], data["y"], PatternSet.from_gates(data["X"], data["gates"]), float(data["beta"]))
        solution = NativeSolver(tolerance=1e-8).solve(program)
        check_bracket(program, solution, 1e-8)
        assert np.isclose(solution.value, entry[key], rtol=1e-7), name


@pytest.mark.parametrize("instance", ["a", "b"])
@pytest.mark.parametrize("kind", KINDS)
def test_benchmark_optima(shared, instance, kind):
    reference = json.loads((shared / "bench" / "optima.json").read_text())
    data = np.load(shared / "bench" / f"{instance}.npz")
    X, y, gates = (data[key].astype(float) for key in ("X", "y", "G"))
    entry = reference[f"{instance}_0.1"]
    program = kind(X, y, PatternSet.from_gates(X, gates), entry["beta"])
    solution = NativeSolver(tolerance=1e-6).solve(program)
    check_bracket(program, solution, 1e-6)
    key = "relu" if kind is RelaxedProgram else "gated"
    assert solution.dual.value <= entry[key] * (1 + 1e-12)
    assert solution.value >= entry[f"{key}_lb"] * (1 - 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_above_beta_max_the_solution_is_exactly_zero(kind):
    program = planted(1, kind=kind, ratio=1.001)
    solution = NativeSolver().solve(program)
    assert solution.status is Status.CONVERGED
    assert not solution.blocks.any()
    assert solution.value == pytest.approx(0.5 * program.y @ program.y)


@pytest.mark.parametrize("kind", KINDS)
def test_a_time_limit_returns_a_valid_bracket(kind):
    program = planted(2, n=200, d=10, draws=100, kind=kind, ratio=0.01)
    optimum = NativeSolver(tolerance=1e-8).solve(program)
    for limit in (1e-9, 0.01):
        stopped = NativeSolver(tolerance=1e-12, time_limit=limit).solve(program)
        assert stopped.status is Status.TIME_LIMIT or limit > 1e-9  # a fast machine may be done
        assert stopped.dual.value <= optimum.value * (1 + 1e-12)
        assert stopped.value >= optimum.dual.value * (1 - 1e-12)
        assert stopped.cone_violation <= 1e-10


def test_an_iteration_limit_says_so():
    solution = NativeSolver(max_iterations=2).solve(planted(3))
    assert solution.status is Status.ITERATION_LIMIT
    assert solution.relative_gap > 1e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_do_not_matter(kind, factor):
    program = planted(4, kind=kind)
    scaled = kind(program.X * factor, program.y, program.patterns, program.beta * factor)
    ours, other = NativeSolver(tolerance=1e-8).solve(program), NativeSolver(tolerance=1e-8).solve(scaled)
    check_bracket(scaled, other, 1e-8)
    assert np.isclose(ours.value, other.value, rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_warm_starts_reach_the_same_optimum_in_fewer_steps(kind):
    program = planted(5, n=100, d=6, draws=60, kind=kind)
    cold = NativeSolver(tolerance=1e-8).solve(program)
    for start in (cold, cold.blocks):
        warm = NativeSolver(tolerance=1e-8).solve(program, start)
        check_bracket(program, warm, 1e-8)
        assert warm.iterations < cold.iterations


def test_warm_start_from_a_smaller_pattern_set():
    program = planted(6, n=60, d=5, draws=40)
    some = program.patterns.select(np.arange(10))
    smaller = program.with_patterns(some)
    blocks = blocks_for(program.patterns, NativeSolver().solve(smaller).blocks, some)
    check_bracket(program, NativeSolver().solve(program, blocks), 1e-6)
    with pytest.raises(ConfigError, match="blocks_for"):
        NativeSolver().solve(program, np.zeros((2, 10, 5)))


def test_warm_start_from_a_network():
    program = planted(9, n=60, d=5, draws=30)
    rng = np.random.default_rng(0)
    U, alpha = rng.standard_normal((8, 5)), rng.standard_normal(8)
    own = active_patterns(program.X, U, alpha)
    larger = program.with_patterns(program.patterns.union(own))
    solution = NativeSolver().solve(larger, blocks_from_network(larger, U, alpha))
    check_bracket(larger, solution, 1e-6)
    assert np.isclose(solution.value, NativeSolver().solve(larger).value, rtol=1e-5)


def test_other_programs_are_refused():
    program = planted(10)
    with pytest.raises(SolverError, match="ridge"):
        NativeSolver().solve(RidgeProgram(program.X, program.y, program.patterns, 1.0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_gpu(kind):
    program = planted(11, n=200, d=10, draws=100, kind=kind)
    check_bracket(program, NativeSolver(device="cuda").solve(program), 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_path_agrees_with_single_solves(kind):
    program = planted(7, kind=kind)
    betas = program.beta * np.array([4.0, 1.0, 0.2])
    for beta, solution in zip(betas, regularization_path(program, betas.tolist()), strict=True):
        here = program.with_beta(beta)
        check_bracket(here, solution, 1e-6)
        assert np.isclose(solution.value, NativeSolver().solve(here).value, rtol=1e-6)


def degenerate(case):
    rng = np.random.default_rng(11)
    X = rng.standard_normal((20, 4))
    if case == "duplicate rows":
        X = np.vstack([X[:10], X[:10]])
    elif case == "zero columns and rows":
        X[:, 2] = 0.0
        X[3] = 0.0
    elif case == "fewer samples than features":
        X = rng.standard_normal((6, 9))
    elif case == "collinear":
        X = np.outer(rng.standard_normal(20), rng.standard_normal(4))
    y = rng.standard_normal(len(X))
    if case == "one pattern, all active":
        return X, y, PatternSet.from_dense(np.ones((len(X), 1), dtype=bool))
    if case == "one pattern, none active":
        return X, y, PatternSet.from_dense(np.zeros((len(X), 1), dtype=bool))
    return X, y, sample_patterns(X, 10, rng)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "case",
    [
        "duplicate rows",
        "zero columns and rows",
        "fewer samples than features",
        "collinear",
        "one pattern, all active",
        "one pattern, none active",
    ],
)
@pytest.mark.parametrize("ratio", [0.3, 1e-4])
def test_degenerate_instances(kind, case, ratio):
    X, y, patterns = degenerate(case)
    program = at_ratio(kind(X, y, patterns, 1.0), ratio)
    ours = NativeSolver(tolerance=1e-7).solve(program)
    check_bracket(program, ours, 1e-7)
    theirs = CvxpySolver(tolerance=1e-8).solve(program)
    assert ours.dual.value <= theirs.value * (1 + 1e-9) + 1e-12
    assert theirs.dual.value <= ours.value * (1 + 1e-9) + 1e-12


def test_float32_iteration_tells_its_true_gap():
    program = planted(8)
    solution = NativeSolver(tolerance=1e-3, dtype=torch.float32).solve(program)
    exact = NativeSolver(tolerance=1e-9).solve(program)
    assert solution.dual.value <= exact.value <= solution.value * (1 + 1e-9)


@pytest.mark.parametrize(
    "bad",
    [{"tolerance": 0.0}, {"max_iterations": 0}, {"time_limit": -1.0}, {"dtype": torch.int32}, {"device": "nowhere"}],
)
def test_bad_settings_are_named(bad):
    with pytest.raises(ConfigError, match=next(iter(bad)).replace("_", ".")):
        NativeSolver(**bad)
