"""Products of pairs with several outputs: gradients, elimination, invariances, proofs that both checkers accept."""

import math

import numpy as np
import pytest
import second_checker
import torch
from oracles import all_products_sdp, theorem_c_sdp
from test_neighbours import somewhere_with_exact_gradients
from test_output_bounds import problem_of, quick, trained

from reluopt.bounds import neighbours, tightened
from reluopt.bounds.clique_settings import CliqueSettings
from reluopt.bounds.lower_bound import prove
from reluopt.bounds.output_cliques import OutputCliqueSearch
from reluopt.bounds.output_moments import OutputMoments
from reluopt.bounds.schur import Elimination
from reluopt.certificate import checker
from reluopt.certificate.file import write_certificate
from reluopt.clock import Clock
from reluopt.problem import Problem
from reluopt.search.refinement import refine


def search_of(problem, smallest=32):
    return OutputCliqueSearch(problem, quick(problem), CliqueSettings(smallest=smallest))


@pytest.mark.parametrize("spec", ["squared", "cross_entropy", "hinge"])
def test_gradients_of_the_augmented_lagrangian(spec):
    core = search_of(problem_of(spec), smallest=8).core
    assert core.groups > 1 and len(core.head) == 1
    somewhere_with_exact_gradients(core, rel=1e-5)


def test_the_form_without_s_is_the_largest_over_s():
    rng = np.random.default_rng(0)
    X, z, nu = rng.standard_normal((8, 3)), rng.standard_normal((8, 2)), 2 + rng.random(8)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    upper = np.triu(rng.random((2, 8, 8)), 1) * (rng.random((8, 8)) < 0.4) / 4
    upper[:, np.arange(4), 4 + np.arange(4)] = 0
    r = torch.as_tensor(upper + upper.transpose(0, 2, 1))
    block = Elimination(*map(torch.as_tensor, (X, z, nu)), r, (0 * r, torch.as_tensor(nu)))
    R, nu = block.products(block.best).numpy(), block.best[block.on_nu].reshape(2, 4)
    H, B, A = (part.numpy() for part in block.blocks(block.best))
    rows, heights = X.reshape(2, 4, 3), z.reshape(2, 4, 2)
    for _ in range(20):
        a, s = rng.standard_normal(5), rng.standard_normal((2, 4))
        p = s - rows @ a[2:]
        F = np.concatenate([s, p], 1)
        wanted = (s * (heights @ a[:2])).sum() - (nu * s * p).sum() + np.einsum("gi,gij,gj->", F, R, F)
        found = a @ H @ a + sum(2 * s[k] @ B[k] @ a - s[k] @ A[k] @ s[k] for k in range(2))
        assert found == pytest.approx(wanted)
        assert wanted <= block.level * (a @ a) * (1 + 1e-12)
    assert np.linalg.eigvalsh(R[0]).min() < 0  # products, not squares: nothing definite is needed of r


def test_the_level_is_what_is_proved():
    problem = problem_of(n=20)
    search = search_of(problem, smallest=8)
    for _ in range(3):
        search.core.update(80.0, 40, math.inf, curved=True)
    *_, sides = search.polished(Clock(0.0))
    bound = prove(problem, search.evidence(sides), method="cliques", started=0.0)
    assert bound.scale == pytest.approx(0.5 * search.core.beta / sides[0].level, rel=1e-5)


@pytest.mark.parametrize("spec", ["squared", "cross_entropy", "hinge"])
def test_pairs_close_most_of_the_gap_and_both_checkers_accept(spec, tmp_path, ticking):
    ticking(0.006)
    problem = problem_of(spec, n=9, d=2)
    first, bound = quick(problem), neighbours(problem, time_limit=1.5)
    assert "clique" in bound.method and first.value < bound.value
    if problem.loss.smooth:
        upper = problem.objective(*trained(problem))
        assert bound.value <= upper
        assert upper - bound.value < 0.5 * (upper - first.value)
    write_certificate(tmp_path / "cert", problem, bound=bound)
    verdict = checker.check(checker.read_certificate(tmp_path / "cert"), problem.X, problem.targets)
    assert float(verdict.lower) == pytest.approx(bound.value, rel=1e-8)
    raw = (tmp_path / "cert").read_bytes()
    assert second_checker.reason_to_refuse(raw, problem.X.tolist(), problem.targets.tolist()) is None


def test_a_second_target_that_is_zero_changes_nothing(ticking):
    """With one output there are products with α too, so that its bound is at least as good; here both are tight."""
    ticking(0.006)
    problem = problem_of(n=12, fraction=0.3)
    one = Problem(problem.X, problem.y[:, 0], beta=problem.beta)
    two = Problem(problem.X, np.stack([problem.y[:, 0], 0 * problem.y[:, 0]], 1), "squared", problem.beta)
    values = [neighbours(case, time_limit=1.5).value for case in (one, two)]
    assert values[1] == pytest.approx(values[0], rel=3e-2)


def test_rows_of_zeros_and_empty_places(ticking):
    ticking(0.006)
    problem = problem_of(n=11)
    X = problem.X.copy()
    X[3] = 0.0
    holed = Problem(X, problem.y, "squared", problem.beta)
    bound = neighbours(holed, time_limit=1.0)
    assert quick(holed).value < bound.value <= holed.objective(*trained(holed))


def test_the_race_ends_with_cliques(ticking):
    ticking(0.006)
    assert "clique" in tightened(problem_of(), time_limit=1.5).method


def test_the_programs_of_other_solvers_agree():
    """Theorem C as stated meets the moment bound; products of pairs are between it and the program with all."""
    rng = np.random.default_rng(0)
    problem = Problem(rng.standard_normal((8, 2)), np.eye(2)[rng.integers(0, 2, 8)], beta=0.5)
    stated, all_of_them = (
        program(problem.X, problem.targets, 0.5).solve(solver="CLARABEL")
        for program in (theorem_c_sdp, all_products_sdp)
    )
    assert OutputMoments().best(problem).value == pytest.approx(stated, rel=1e-3)
    bound = neighbours(problem, time_limit=1.0).value
    assert stated * (1 - 1e-3) <= bound <= all_of_them * (1 + 1e-3)
    assert bound <= refine(problem).objective
