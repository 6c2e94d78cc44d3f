"""The paper's quantities against Monte Carlo and brute force, and its inequalities where all patterns are at hand."""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reluopt
from reluopt.errors import ConfigError
from reluopt.losses import make_loss
from reluopt.patterns.pattern_set import PatternSet
from reluopt.patterns.sampling import sample_patterns
from reluopt.problem import Problem
from reluopt.programs.decomposition import gated_twin
from reluopt.programs.exact import ExactProgram
from reluopt.programs.gated import GatedProgram
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.programs.ridge import RidgeProgram
from reluopt.solvers import CvxpySolver, solve
from reluopt.theory import counts_3_2_and_3_3 as counts
from reluopt.theory import maxcut
from reluopt.theory import sharpness_4_1_to_4_5 as sharpness
from reluopt.theory import theorems_2 as section_2
from reluopt.theory import theorems_3_4_to_3_9 as values
from reluopt.theory.kernel import expected_gram, instance_factor, kappa, log_factor, smallest_eigenvalue
from reluopt.theory.statements import Hypothesis
from reluopt.theory.summary import THEOREMS, TheoryConfig, report

SOLVER = CvxpySolver(tolerance=1e-8)


@dataclass(frozen=True)
class Solved:
    """A small instance with its sampled and exact optima."""

    X: np.ndarray
    y: np.ndarray
    beta: float
    some: PatternSet
    exact: float
    relaxed: float
    gated_all: float
    gated_some: float
    gated_blocks: np.ndarray

    @property
    def problem(self) -> Problem:
        return Problem(self.X, self.y, beta=self.beta)


@cache
def solved(seed: int) -> Solved:
    rng = np.random.default_rng(seed)
    X, y, beta = rng.standard_normal((9, 3)), rng.standard_normal(9), 0.3
    some = sample_patterns(X, 12, rng)
    exact, relaxed = ExactProgram.of(X, y, beta), RelaxedProgram(X, y, some, beta)
    gated = solve(gated_twin(relaxed), SOLVER)
    return Solved(
        X, y, beta, some, solve(exact, SOLVER).value, solve(relaxed, SOLVER).value,
        solve(gated_twin(exact), SOLVER).value, gated.value, gated.blocks,
    )  # fmt: skip


SEEDS = pytest.mark.parametrize("seed", range(2))

# -- the kernel --------------------------------------------------------------------------------------------------


def test_m_against_monte_carlo() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6, 3))
    X[3], X[4], X[5] = 0.0, 2 * X[0], -X[1]
    draws = 400_000
    active = (X @ rng.standard_normal((3, draws)) >= 0).astype(np.float64)
    sampled = (X @ X.T) * (active @ active.T) / draws
    # an entry is x_iᵀx_j times a frequency, whose standard error is at most ½/√draws
    bound = 5 * 0.5 / math.sqrt(draws) * np.abs(X @ X.T) + 1e-15
    assert (np.abs(expected_gram(X) - sampled) <= bound).all()


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_m_is_between_zero_and_half_the_gram(seed: int, n: int, d: int) -> None:
    """M ⪰ 0 and λmin(M) ≤ M_ii = ‖x_i‖²/2 ≤ λmax(XXᵀ)/2, so κ ≥ 2."""
    X = np.random.default_rng(seed).standard_normal((n, d))
    M = expected_gram(X)
    assert np.linalg.eigvalsh(M)[0] >= -1e-12
    np.testing.assert_allclose(np.diag(M), 0.5 * (X * X).sum(axis=1))
    assert kappa(X) >= 2 - 1e-9
    assert instance_factor(X) == pytest.approx(math.sqrt(8 * kappa(X)))


def test_kappa_of_degenerate_rows_is_infinite_and_opposite_rows_are_fine() -> None:
    x = np.array([1.0, 2.0, -1.0])
    assert kappa(np.vstack([x, 3 * x])) == math.inf
    assert kappa(np.vstack([x, 0 * x])) == math.inf
    assert kappa(np.vstack([x, -x])) == pytest.approx(4.0)  # M = ½‖x‖² I, λmax(XXᵀ) = 2‖x‖²


def test_angles_of_nearly_parallel_rows_keep_their_digits() -> None:
    """For an angle of 1e-8 the arc cosine would give 0 or 1.5e-8; the entries of M differ by θ/(2π)."""
    theta = 1e-8
    X = np.array([[1.0, 0.0], [math.cos(theta), math.sin(theta)]])
    M = expected_gram(X)
    assert M[0, 0] - M[0, 1] == pytest.approx(theta / (2 * math.pi), rel=1e-6)


def test_log_factor() -> None:
    assert log_factor(50) == pytest.approx(math.sqrt(math.log(100)))
    with pytest.raises(ConfigError):
        log_factor(0)


# -- counts ------------------------------------------------------------------------------------------------------


def test_counts_by_formula() -> None:
    X = np.random.default_rng(1).standard_normal((20, 4))
    assert counts.cover_1965(X).value == 2 * sum(math.comb(19, k) for k in range(4))
    needed = counts.prop_3_2(X, 0.05)
    assert needed.value == math.ceil(8 * kappa(X) * math.log(20 / 0.05))
    assert counts.prop_3_2_a1(X, 0.05).value == math.ceil(320 * (math.sqrt(5) + 1) ** 2 * math.log(400))
    with pytest.raises(ConfigError):
        counts.prop_3_2(X, 1.0)
    repeated = counts.prop_3_2(np.vstack([X, X]))
    assert (repeated.value, repeated.hypothesis) == (math.inf, Hypothesis.FAILS)
    assert counts.cover_1965(np.vstack([X, X])).hypothesis is Hypothesis.FAILS


def test_prop_3_2_holds_with_the_number_it_asks_for() -> None:
    """λmin(Σ D_iXXᵀD_i) ≥ (P/2) λmin(M) in each of ten samples, where one in ten may fail."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((8, 8))
    count = int(counts.prop_3_2(X, 0.1).value)
    failures = 0
    for _ in range(10):
        active = (X @ rng.standard_normal((8, count)) >= 0).astype(np.float64)  # with repetitions, as in the proof
        A = (X @ X.T) * (active @ active.T)
        failures += np.linalg.eigvalsh(A)[0] < 0.5 * count * smallest_eigenvalue(expected_gram(X))
    assert failures <= 1


def test_cor_3_3_tells_whether_any_y_can_be_fitted() -> None:
    X = np.random.default_rng(3).standard_normal((12, 3))
    few, many = (sample_patterns(X, P, np.random.default_rng(4)) for P in (2, 60))
    assert counts.cor_3_3(X, few).hypothesis is Hypothesis.FAILS  # 2 patterns of 3 unknowns cannot fit 12 numbers
    assert counts.cor_3_3(X, many).hypothesis is Hypothesis.HOLDS


def test_a1_is_refuted_for_other_data_and_never_confirmed() -> None:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((60, 10))
    assert counts.assumption_a1(X) is Hypothesis.ASSUMED
    others = (np.hstack([X, np.ones((60, 1))]), 2 * X, np.hstack([X, X[:, :1]]), rng.random((60, 10)))
    assert all(counts.assumption_a1(other) is Hypothesis.FAILS for other in others)


# -- values ------------------------------------------------------------------------------------------------------


@SEEDS
def test_every_inequality_between_the_values(seed: int) -> None:
    s = solved(seed)
    upper = values.prop_3_5(s.problem, s.some)
    lowers = [
        values.prop_3_6(s.problem).value,
        values.cor_3_7(s.problem).value,
        maxcut.section_3_4(s.problem).value,
    ]
    assert values.cor_3_7(s.problem).hypothesis is Hypothesis.HOLDS
    assert lowers[1] <= lowers[0] <= lowers[2]
    slack = 1e-7
    assert lowers[2] <= s.gated_all + slack
    assert s.gated_all <= s.exact + slack
    assert s.exact <= s.relaxed + slack
    assert s.gated_all <= s.gated_some + slack
    assert s.gated_some <= s.relaxed + slack
    assert s.gated_some <= upper.value + slack
    ratio = s.gated_some / s.gated_all
    assert ratio <= values.eq_7(s.problem, s.some).value + slack
    assert ratio <= values.thm_3_8(s.problem).value


@pytest.mark.parametrize("loss", ["huber:0.7", "absolute", "quantile:0.8", "hinge", "squared_hinge", "logistic"])
@pytest.mark.parametrize("weighted", [False, True])
def test_what_is_said_of_other_losses_holds(loss: str, weighted: bool) -> None:
    rng = np.random.default_rng(21)
    X, y = rng.standard_normal((7, 3)), rng.standard_normal(7)
    targets = np.where(y > 0, 1.0, -1.0) if make_loss(loss).classes else y
    problem = Problem(X, targets, loss, 0.4, rng.uniform(0.2, 2.0, 7) if weighted else None)
    some = sample_patterns(X, 12, rng)
    exact = ExactProgram.of(problem)
    gated_all, gated = (solve(GatedProgram(problem, p), SOLVER).value for p in (exact.patterns, some))
    lowers = [values.prop_3_6(problem), values.cor_3_7(problem), maxcut.section_3_4(problem)]
    assert lowers[1].hypothesis is Hypothesis.HOLDS
    assert 0 < lowers[1].value <= lowers[0].value * (1 + 1e-9) <= lowers[2].value * (1 + 1e-6)
    assert lowers[2].value <= gated_all * (1 + 1e-6)
    assert gated <= values.prop_3_5(problem, some).value * (1 + 1e-6)
    assert gated / gated_all <= values.eq_7(problem, some).value * (1 + 1e-6)
    for refused in (values.thm_3_4(problem, some), values.thm_3_8(problem), section_2.thm_2_1(problem, 12, 1, 1, 1)):
        assert refused.hypothesis is Hypothesis.FAILS
        assert math.isnan(refused.value) and problem.loss.name in refused.condition


def test_several_outputs_are_refused_but_for_what_holds_of_them() -> None:
    rng = np.random.default_rng(4)
    X = rng.standard_normal((12, 3))
    problem, some = Problem(X, rng.standard_normal((12, 2)), beta=0.1), sample_patterns(X, 5, rng)
    bound = values.prop_3_6(problem).value
    assert values.cor_3_7(problem).value <= bound * (1 + 1e-9)
    descended = reluopt.Trainer(
        reluopt.TwoLayerReLU(3, 12, outputs=2), problem, config=reluopt.TrainConfig(epochs=300), progress=False
    ).fit()
    assert 0 < bound <= descended.objective
    for refused in (
        lambda: report(problem),
        lambda: values.thm_3_4(problem, some),
        lambda: values.prop_3_5(problem, some),
        lambda: values.thm_3_8(problem),
        lambda: maxcut.section_3_4(problem),
        lambda: section_2.thm_2_1(problem, 5, 1.0, 1.0, 1.0),
    ):
        with pytest.raises(ConfigError, match="several outputs"):
            refused()


def test_weights_alone_are_named_where_a_theorem_does_not_take_them() -> None:
    problem = Problem(np.eye(3), np.arange(3.0), beta=0.1, weights=[1, 2, 3])
    assert "sample weights" in values.thm_3_8(problem).condition
    assert math.isnan(values.thm_3_8(problem).value)


@SEEDS
def test_ridge_value_and_its_limit(seed: int) -> None:
    s = solved(seed)
    program = RidgeProgram(s.X, s.y, s.some, s.beta)
    assert values.thm_3_4(s.problem, s.some).value == pytest.approx(program.value(program.closed_form()))


def test_ridge_falls_like_one_over_p() -> None:
    X = np.random.default_rng(6).standard_normal((10, 10))
    y = np.random.default_rng(7).standard_normal(10)
    small, large = (
        values.thm_3_4(Problem(X, y, beta=0.01), sample_patterns(X, P, np.random.default_rng(8))) for P in (200, 2000)
    )  # duplicates are dropped, so P is the number of distinct ones
    grown = large.details["P"] / small.details["P"]
    assert large.value == pytest.approx(small.value / grown, rel=0.2)
    assert large.details["ratio"] == pytest.approx(1, abs=0.2)


def test_thm_3_9_measures_lambda_min_over_d() -> None:
    X = np.random.default_rng(9).standard_normal((100, 100))
    found = values.thm_3_9(X)
    assert found.hypothesis is Hypothesis.ASSUMED
    assert 0.1 < found.value < 0.5
    assert found.value == pytest.approx(np.linalg.eigvalsh(expected_gram(X))[0] / 100)


# -- cones and ladders -------------------------------------------------------------------------------------------


@SEEDS
def test_prop_4_2_and_thm_2_1_on_an_instance(seed: int) -> None:
    s = solved(seed)
    program = RelaxedProgram(s.X, s.y, s.some, s.beta)
    blocks = np.where(np.linalg.norm(s.gated_blocks, axis=-1, keepdims=True) > 1e-5, s.gated_blocks, 0.0)
    loss, point = sharpness.prop_4_2(program, blocks, s.gated_some)
    assert loss.value >= 1
    assert s.gated_some - 1e-7 <= s.relaxed <= point.value + 1e-7
    assert point.value <= loss.value * gated_twin(program).value(blocks) * (1 + 1e-12)
    first = section_2.thm_2_1(s.problem, len(s.some), s.relaxed, s.exact, loss.value)
    assert first.hypothesis is Hypothesis.FAILS  # a dozen patterns are far fewer than Prop. 3.2 asks for
    assert 1 - 1e-7 <= first.details["measured p̃(S)/p*, at most"] <= first.value


def test_sharpness_statements() -> None:
    X = np.random.default_rng(12).standard_normal((30, 6))
    sample = sharpness.sampled_sharpness(
        X, sample_patterns(X, 30, np.random.default_rng(13)), np.random.default_rng(14)
    )
    assert len(sample.values) == 20
    assert (sample.values >= 1).all()
    assert (sample.bounds >= sample.values * (1 - 1e-9)).all()
    assert sharpness.def_4_1(X, sample).value == sample.values.max()
    assert sharpness.prop_4_3(sample).value == sample.bounds.max()
    assert sharpness.cor_4_5(X, sample).value == pytest.approx(sample.values.max() / log_factor(30))


def test_thm_2_5_and_lemma_2_4_count_what_was_kept() -> None:
    X = np.eye(2)
    before = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    after = before.copy()
    after[0, 1] = -1.0
    after[1, 1] = 1.0
    found = section_2.thm_2_5(X, before, after, 1.0, 0.9, 1.2)
    assert found.details["kept fraction"] == 0.5
    assert found.hypothesis is Hypothesis.HOLDS
    after[2, 0] = 1.0
    assert section_2.thm_2_5(X, before, after, 1.0, 0.9, 1.2).hypothesis is Hypothesis.FAILS
    assert section_2.lemma_2_4(X, before, after).value == 0.5  # the second sample lost two of four


def test_a_theorem_is_found_by_its_number():
    X = np.random.default_rng(3).standard_normal((20, 3))
    assert reluopt.THEOREMS["3.8"](Problem(X, X[:, 0])).theorem == "KP Thm 3.8"
    assert reluopt.THEOREMS is THEOREMS


def test_report_has_every_theorem_of_the_data_once() -> None:
    rng = np.random.default_rng(15)
    X, y = rng.standard_normal((25, 4)), rng.standard_normal(25)
    config = TheoryConfig(patterns=20, cones=5)
    lines = report(X, y, 0.5, config)
    numbers = [line.theorem for line in lines]
    assert len(numbers) == len(set(numbers))
    # all but the two on trained networks and the one of the algorithm, and Cover's count besides
    assert len(numbers) == len(THEOREMS) - 3 + 1
    assert all(line.claim and line.condition and not math.isnan(line.value) for line in lines)
    short = report(X, y, 0.5, config.replace(time_budget=0.0))
    assert {"KP Thm 2.1", "KP Prop. 4.2"} == {line.theorem for line in lines} - {line.theorem for line in short}


def test_report_of_real_data_with_repeated_rows_does_not_fail() -> None:
    rng = np.random.default_rng(16)
    X = np.hstack([rng.integers(0, 2, (20, 3)).astype(float), np.ones((20, 1))])
    found = {line.theorem: line for line in report(X, rng.standard_normal(20), 0.5, TheoryConfig(patterns=10, cones=3))}
    assert found["KP Prop. 3.2"].value == math.inf
    assert found["KP Prop. 3.2"].hypothesis is Hypothesis.FAILS
    assert found["KP Prop. 3.5"].value == math.inf
    assert found["KP Def. 4.1"].value >= 1


def test_report_refuses_what_would_not_fit_in_memory() -> None:
    with pytest.raises(ConfigError, match="GiB"):
        report(np.ones((20_000, 2)), np.ones(20_000), 1.0)
