"""Branch and bound over sample hyperplanes at a fixed point: a leaf's program is proved, children inherit."""

import itertools

import numpy as np
import pytest
from test_bounds_of_losses import SPECS, case, drawn

from reluopt.bounds.cutting_planes import CuttingPlanes
from reluopt.bounds.fixed_hyperplanes import FixedHyperplanes, FixedTree, inherited
from reluopt.bounds.leaf_program import LeafProgram
from reluopt.bounds.lower_bound import prove
from reluopt.bounds.protocol import Start
from reluopt.bounds.region_forms import Geometry
from reluopt.certificate.file import write_certificate
from reluopt.clock import Clock
from reluopt.search.refinement import refine


def groups(free):
    return (*(np.array([i]) for i in free), np.zeros(0, dtype=np.int64))


def sphere(rng, d, count=4000):
    u = rng.standard_normal((d, count))
    return u / np.linalg.norm(u, axis=0)


def leaf(rng, n, d, k):
    """(X, z, cuts, free, active, samples, signs) of a leaf that some direction lies in."""
    X, z, inside = rng.standard_normal((n, d)), rng.standard_normal(n), rng.standard_normal(d)
    samples = rng.permutation(n)[:k]
    signs = np.where(X[samples] @ inside > 0, 1, -1)
    free = np.setdiff1d(np.arange(n), samples)
    return X, z, signs[:, None] * X[samples], free, samples[signs > 0], samples, signs


@pytest.mark.parametrize("k", [0, 1, 3])
def test_a_program_is_proved_by_its_dual_variables_and_above_brute_force(k):
    rng = np.random.default_rng(k)
    X, z, cuts, free, active, _, _ = leaf(rng, 7, 3, k)
    found = LeafProgram(X, cuts, free, active).solve(z, 10.0)
    bound = Geometry.of(X, cuts, groups(free)).support_upper(z, found.multipliers)
    u = sphere(rng, 3, 20000)
    truth = (z @ np.maximum(X @ u, 0))[(cuts @ u >= 0).all(axis=0)].max(initial=0.0)
    assert truth <= bound
    assert bound == pytest.approx(max(found.value, 0.0), rel=1e-3, abs=1e-3)
    assert (found.doubt[np.setdiff1d(np.arange(7), free)] == 0).all()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("k", [0, 2])
def test_children_inherit_what_proves_no_less(k, sign):
    rng = np.random.default_rng(10 + k)
    X, z, cuts, free, active, _, _ = leaf(rng, 7, 3, k)
    parent = LeafProgram(X, cuts, free, active).solve(z, 10.0).multipliers
    above = Geometry.of(X, cuts, groups(free)).support_upper(z, parent)
    sample, left = int(free[1]), np.delete(free, 1)
    child = inherited(parent, free, left, sample, sign)
    inner = np.vstack([cuts, sign * X[sample]])
    bound = Geometry.of(X, inner, groups(left)).support_upper(z, child)
    u = sphere(rng, 3, 20000)
    assert (z @ np.maximum(X @ u, 0))[(inner @ u >= 0).all(axis=0)].max(initial=0.0) <= bound
    assert bound <= above * (1 + 1e-6) + 1e-9


@pytest.mark.parametrize("spec", ["squared", "hinge", "logistic"])
def test_it_comes_near_the_optimum_and_its_certificate_is_accepted(spec, tmp_path):
    problem, best = case(spec, 0, SPECS.index(spec) % 2 == 1)
    found = FixedHyperplanes().best(problem, clock=Clock(20.0), stop_at=0.99 * best)
    assert 0.99 * best <= found.value <= best * (1 + 1e-6)
    assert prove(problem, found.evidence, method="", started=0.0).value == pytest.approx(found.value, rel=1e-9)
    claims = write_certificate(tmp_path / "certificate", problem, bound=found)
    assert claims["optimum_at_least"] >= found.value * (1 - 1e-8)


def test_the_level_falls_and_leaves_cover_all():
    problem = drawn("squared", 4, n=8, d=2)
    planes = CuttingPlanes(problem, None)
    planes.improve(1e-4, Clock(5.0))
    tree, levels = FixedTree(problem, planes), []
    for _ in range(8):
        levels.append(tree.level)
        if not tree.improve(Clock(10.0)):
            break
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in itertools.pairwise(levels))
    u = sphere(np.random.default_rng(0), 2, 300)
    regions = tree.proved("", 0.0).regions.regions
    assert (np.array([(region.cuts @ u >= 0).all(axis=0) for region in regions]).sum(axis=0) == 1).all()


def test_samples_that_are_alike_are_decided_together():
    problem = drawn("squared", 6, n=6, d=2)
    twice = type(problem)(
        np.vstack([problem.X, problem.X[:2], -problem.X[:1]]), np.append(problem.y, problem.y[:3]), beta=problem.beta
    )
    found, best = list(FixedHyperplanes().run(twice, Start(), Clock(10.0))), refine(twice).objective
    assert len(found) > 2
    assert 0.99 * best <= max(bound.value for bound in found) <= best * (1 + 1e-9)
    for region in found[-1].regions.regions:
        lines = region.cuts / np.linalg.norm(region.cuts, axis=1, keepdims=True)
        assert (np.abs(np.triu(lines @ lines.T, 1)) < 1 - 1e-9).all(), "no hyperplane twice"
