"""Branch and bound over sample hyperplanes: the program of all leaves against an oracle, its proofs, the tree."""

import itertools

import cvxpy as cp
import numpy as np
import pytest
import torch
from test_bounds_of_losses import SPECS, case, drawn

from reluopt.bounds.ball import Ball
from reluopt.bounds.evidence import restored
from reluopt.bounds.group_bounds import groups_bound
from reluopt.bounds.hyperplanes import Hyperplanes, HyperplaneSearch, geometry_of
from reluopt.bounds.leaf_interior import InteriorPoint
from reluopt.bounds.leaf_proofs import read_off
from reluopt.bounds.leaf_states import LeafData, LeafStates
from reluopt.bounds.lower_bound import prove
from reluopt.bounds.protocol import Start
from reluopt.bounds.second_order import Scaling, determinant, inverse, reach
from reluopt.certificate.file import write_certificate
from reluopt.clock import Clock
from reluopt.search.refinement import refine

#: Trees whose leaves cover all of u-space, as the cuts of each leaf.
TREES = [[()], [((1, 1),), ((1, -1),)], [((0, 1), (2, 1)), ((0, 1), (2, -1)), ((0, -1),)]]


def sphere(rng, d, count=20000):
    u = rng.standard_normal((d, count))
    return u / np.linalg.norm(u, axis=0)


def solved(problem, paths, steps=60, rising=None):
    """(units, the interior point, (sign, path) of all nodes) of these leaves, for both signs."""
    nodes = [(sign, path) for path in paths for sign in (1.0, -1.0)]
    units, point, done = solved_nodes(problem, nodes, steps, rising)
    return units, point, nodes, done


def solved_nodes(problem, nodes, steps=60, rising=None):
    """(units, the interior point) of these nodes."""
    scaled, units = problem.scaled()
    data = LeafData(scaled, problem.X)
    every = np.ones((len(nodes), problem.n), dtype=bool) if rising is None else rising
    point = InteriorPoint(LeafStates.start(data, nodes, every, 0.3))
    return units, point, point.solve(1e-6, 1e-6, steps, lambda: False)


def by_oracle(problem, paths):
    """The joint program of all leaves, by Clarabel, row by row as the module states it."""
    X, y, beta, (n, d) = problem.X, problem.y, problem.beta, problem.X.shape
    fit, strength, constraints = np.zeros(n), 0, []
    for path, sign in itertools.product(paths, (1, -1)):
        Y, cuts = cp.Variable((1 + d, 1 + d), PSD=True), [side * X[i] for i, side in path]
        constraints += [Y[0, 0] == cp.trace(Y[1:, 1:])]

        def in_cone(v, those, constraints=constraints):
            constraints += [cp.norm(v[1:]) <= v[0]] + [g @ v[1:] >= 0 for g in those]

        for c, g in enumerate(cuts):
            in_cone(Y[:, 1:] @ g, cuts[:c])
        for i in range(n):
            side = dict(path).get(i)
            if side is not None:
                e = Y[0, 1:] @ X[i] if side > 0 else 0
            else:
                F = cp.Variable(1 + d)
                in_cone(F, cuts)
                in_cone(F - Y[:, 1:] @ X[i], cuts)
                column = cp.reshape(F, (1 + d, 1), order="C")
                corner = cp.reshape(X[i] @ F[1:], (1, 1), order="C")
                constraints.append(cp.bmat([[Y, column], [column.T, corner]]) >> 0)
                e = F[0]
            fit = fit + sign * np.eye(n)[i] * e
        strength = strength + Y[0, 0]
    return cp.Problem(cp.Minimize(cp.sum_squares(fit - y) / 2 + beta * strength), constraints).solve(solver="CLARABEL")


@pytest.mark.parametrize("paths", TREES)
def test_the_program_of_all_leaves_has_the_value_of_an_oracle(paths):
    problem = drawn("squared", len(paths), n=5, d=2)
    units, point, _, done = solved(problem, paths)
    assert point.value * units.value == pytest.approx(by_oracle(problem, paths), rel=1e-4)
    assert done


@pytest.mark.parametrize("steps", [0, 2, 7, 60])
@pytest.mark.parametrize("paths", TREES)
def test_every_point_proves_and_the_last_one_what_its_program_says(paths, steps):
    rng = np.random.default_rng(steps)
    problem = drawn("squared", 7, n=7, d=3)
    rising = rng.random((2 * len(paths), 7)) < 0.9 if steps < 60 else None
    units, point, nodes, _ = solved(problem, paths, steps, rising)
    z, u = units.z * point.z.numpy(), sphere(rng, 3)
    for (sign, path), found in zip(nodes, read_off(point.state, point.z), strict=True):
        geometry = geometry_of(problem.X, path)
        bound = geometry.support_upper(sign * z, restored(found, sign * z, units))
        inside = (geometry.F[1:, 1:] @ u >= 0).all(axis=0)
        truth = (sign * z @ np.maximum(problem.X @ u, 0))[inside].max(initial=0.0)
        assert truth <= bound < np.inf
        if steps == 60:
            assert bound <= problem.beta * (1 + 1e-4)


def test_a_scaling_maps_dual_to_primal_and_reach_ends_at_the_edge():
    rng = np.random.default_rng(3)
    s, d, step = (torch.as_tensor(rng.standard_normal((50, 4))) for _ in range(3))
    s[:, 0], d[:, 0] = (part[:, 1:].norm(dim=1) + 0.1 + 0.9 * torch.as_tensor(rng.random(50)) for part in (s, d))
    scaling = Scaling.of(s, d)
    assert torch.allclose(scaling.forth(d), scaling.back(s))
    assert torch.allclose((scaling.metric @ s[..., None])[..., 0], d)
    assert torch.allclose(scaling.back(scaling.back(step)), (scaling.metric @ step[..., None])[..., 0])
    assert torch.allclose((s * inverse(s)).sum(1), s.new_ones(50))
    for a, b in zip(s, step, strict=True):
        most = reach(a[None], b[None], torch.tensor([True]))
        edge = a + min(most, 1e6) * b
        assert determinant(a + 0.999 * min(most, 1e6) * b) > 0
        assert most == np.inf or abs(float(determinant(edge))) < 1e-6 * float(edge.square().sum() + 1)


@pytest.mark.parametrize("spec", SPECS)
def test_it_comes_near_the_optimum_and_its_certificate_is_accepted(spec, tmp_path):
    problem, best = case(spec, 0, SPECS.index(spec) % 2 == 1)
    found = Hyperplanes().best(problem, clock=Clock(20.0), stop_at=0.99 * best)
    assert 0.99 * best <= found.value <= best * (1 + 1e-6)
    assert prove(problem, found.evidence, method="", started=0.0).value == pytest.approx(found.value, rel=1e-9)
    claims = write_certificate(tmp_path / "certificate", problem, bound=found)
    assert claims["optimum_at_least"] >= found.value * (1 - 1e-8)


def test_the_value_rises_and_leaves_cover_all():
    problem = drawn("squared", 4, n=6, d=2)
    found = list(Hyperplanes().run(problem, Start(), Clock(10.0)))
    values = [bound.value for bound in found]
    assert values == sorted(values)
    assert values[-1] > 1.001 * values[0]
    u = sphere(np.random.default_rng(0), 2, 300)
    for sign in (1, -1):
        own = [region for region in found[-1].regions.regions if region.sign == sign]
        assert (np.array([(region.cuts @ u >= 0).all(axis=0) for region in own]).sum(axis=0) == 1).all()


@pytest.mark.parametrize("step", [4e-3, 0.02, 0.1, 0.5, 5.0])
def test_wherever_time_ends_there_is_a_bound_that_the_checker_repeats(step, ticking, tmp_path):
    problem, best = case("squared", 0)
    ticking(step)
    found = list(Hyperplanes().run(problem, Start(), Clock(1.0)))
    assert found
    assert 0.0 <= found[-1].value <= best * (1 + 1e-6)
    claims = write_certificate(tmp_path / "certificate", problem, bound=found[-1])
    assert claims["optimum_at_least"] >= found[-1].value * (1 - 1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_a_proof_is_as_accurate_as_what_is_undecided_asks_for(seed):
    problem, clock = drawn("squared", seed, n=8, d=3), Clock(60.0)
    search = HyperplaneSearch(problem, Hyperplanes(), Start(), clock)
    for _ in range(3):
        search.solve(clock)
        found = search.proved(clock, "", 0.0)
        units, point, done = solved_nodes(problem, search.trees.leaves)
        value, undecided = point.value * units.value, float(point.state.doubt(point.z).sum()) / point.value
        assert done or undecided < 1e-5  # where almost nothing is undecided rounding may end it a little earlier
        assert found.value <= value * (1 + 1e-5)
        assert found.value >= value * (1 - max(0.1 * undecided, 1e-4))
        search.grow(2)


@pytest.mark.parametrize("sizes", [[1, 1, 1, 1, 1, 1], [2, 3, 1], [3, 0, 3]])
@pytest.mark.parametrize("ball", [False, True])
def test_groups_are_bounded_at_once_as_one_by_one(ball, sizes):
    rng = np.random.default_rng(5)
    (m, d), f = (6, 3), 3
    X, F = rng.standard_normal((m, d)), np.eye(1, 1 + d)
    F = np.vstack([F, np.pad(rng.standard_normal((f - 1, d)), ((0, 0), (1, 0)))])
    groups = np.split(np.arange(m), np.cumsum(sizes)[:-1])
    z, nu, r = rng.standard_normal(m), 30.0 + rng.random(m), [rng.random((f + 2 * g, f + 2 * g)) for g in sizes]
    omega = [rng.standard_normal((f + 2 * g, 2)) for g in sizes]

    def bounded(numbers, nu=nu):
        products = Ball(rng.standard_normal((2, d)), tuple(omega[i] for i in numbers)) if ball else None
        return groups_bound(X, F, [groups[i] for i in numbers], z, nu, [r[i] for i in numbers], products)

    state = rng.bit_generator.state
    at_once, one = bounded(range(len(sizes))), []
    for number in range(len(sizes)):
        rng.bit_generator.state = state
        one.append(bounded([number]))
    assert np.allclose(at_once[0], sum(part[0] for part in one), rtol=1e-12)
    for number in (1, 2):
        assert 0.5 * sum(part[number] for part in one) <= at_once[number] <= 10 * sum(part[number] for part in one)
    with pytest.raises(np.linalg.LinAlgError):
        bounded(range(len(sizes)), nu - 100.0 * (np.arange(m) == 2))


def test_samples_that_are_alike_are_decided_together():
    problem = drawn("squared", 6, n=6, d=2)
    twice = type(problem)(
        np.vstack([problem.X, problem.X[:2], -problem.X[:1], 0 * problem.X[:1]]),
        np.append(problem.y, problem.y[:4]),
        beta=problem.beta,
    )
    best = refine(twice).objective
    found = Hyperplanes().best(twice, clock=Clock(10.0), stop_at=0.99 * best)
    assert 0.99 * best <= found.value <= best * (1 + 1e-9)
    for region in found.regions.regions:
        lines = region.cuts / np.linalg.norm(region.cuts, axis=1, keepdims=True)
        assert (np.abs(np.triu(lines @ lines.T, 1)) < 1 - 1e-9).all(), "no hyperplane twice"


def test_a_tree_is_cut_where_neurons_are_undecided():
    problem = drawn("squared", 4, n=8, d=2)
    clock = Clock(10.0)
    search = HyperplaneSearch(problem, Hyperplanes(), Start(), clock)
    search.solve(clock)
    doubt = search.doubt()
    assert (doubt >= 0).all()
    assert search.grow(1)
    (leaf,) = np.argsort(-doubt.sum(1))[:1]
    sample = int(doubt[leaf].argmax())
    paths = [((sample, 1),), (), ((sample, -1),)] if leaf == 0 else [(), ((sample, 1),), ((sample, -1),)]
    assert [path for _, path in search.trees.leaves] == paths
    assert search.trees.table()[1 + leaf].tolist() == [sample, 3, 4]


def test_leaves_tell_the_search_which_neurons_it_lacks(ticking):
    ticking(0.01)
    problem = drawn("squared", 4, n=12, d=3)
    best = refine(problem)
    U, alpha, *_ = best.network.weights()
    for lacking in range(len(U)):
        fit = np.delete(np.maximum(problem.X @ U.T, 0) * alpha, lacking, axis=1).sum(axis=1)
        z = problem.y - fit
        found = list(Hyperplanes().run(problem, Start(z=z), Clock(1.0)))
        assert (np.abs(z @ np.maximum(problem.X @ found[-1].dearer.T, 0)) > problem.beta).all()
        nearest = found[-1].dearer @ U[lacking] / np.linalg.norm(U[lacking])
        assert nearest.max() > 0.9, "the one that is not there is among them"
    assert Hyperplanes().best(problem, Start(), Clock(1.0)).dearer is None


def test_only_leaves_that_have_almost_all_of_the_doubt_are_cut():
    problem, clock = drawn("squared", 4, n=8, d=3), Clock(20.0)
    search = HyperplaneSearch(problem, Hyperplanes(matter=0.8), Start(), clock)
    for _ in range(4):
        search.solve(clock)
        before, score = list(search.trees.leaves), search.doubt().sum(1)
        search.grow(len(before))
        left = [
            number for number, (old, new) in enumerate(zip(before, search.trees.leaves, strict=False)) if old == new
        ]
        cut = sorted(set(range(len(before))) - set(left))
        assert score[cut].sum() >= 0.8 * score.sum()
        assert np.delete(score[cut], score[cut].argmin()).sum() < 0.8 * score.sum(), "none more than that asks for"
        assert not left or score[cut].min() >= score[left].max()
        assert len(search.trees) == len(before) + len(cut)
    assert left, "where nothing is undecided nothing is cut"
    signs = [sign for sign, _ in search.trees.leaves]
    assert signs.count(1.0) != signs.count(-1.0), "each sign has a tree of its own"


@pytest.mark.parametrize(
    ("X", "y"), [(np.eye(3), np.zeros(3)), (np.zeros((3, 2)), np.ones(3)), (np.ones((4, 1)), np.ones(4))]
)
def test_data_that_say_nothing_have_a_bound(X, y):
    problem = drawn("squared", 0)
    problem = type(problem)(X, y, "squared", 0.1)
    found = Hyperplanes().best(problem, clock=Clock(2.0))
    assert 0.0 <= found.value <= problem.zero_value
