"""Pairs of neighbouring samples: groups, augmented Lagrangian, elimination, and the bound that comes out."""

import math

import by_formula
import numpy as np
import pytest
import torch

from reluopt.bounds import moment, neighbours
from reluopt.bounds.clique_order import nested_order
from reluopt.bounds.clique_search import CliqueSearch
from reluopt.bounds.clique_settings import CliqueSettings
from reluopt.bounds.lower_bound import prove
from reluopt.bounds.schur import Elimination
from reluopt.certificate import checker
from reluopt.certificate.file import write_certificate
from reluopt.clock import Clock
from reluopt.problem import Problem
from reluopt.search.pricing import price


def planted(seed, n, d):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = by_formula.predict(X, rng.standard_normal((3, d)), rng.standard_normal(3)) + 0.5 * rng.standard_normal(n)
    return X, y, 0.05 * float(price(X, y, rng).value)


def search_of(X, y, beta):
    problem = Problem(X, y, beta=beta)
    return CliqueSearch(problem, moment(problem))


# -- groups ----------------------------------------------------------------------------------------------------------


def test_groups_hold_samples_that_are_alike_up_to_sign():
    rng = np.random.default_rng(0)
    centres = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    cluster = rng.permutation(np.repeat(np.arange(4), 8))
    X = centres[cluster] * rng.choice([-1, 1], 32)[:, None] * rng.uniform(0.1, 10, 32)[:, None]
    X += 1e-3 * rng.standard_normal(X.shape)
    order = nested_order([X], levels=2, smallest=8)
    assert sorted(order) == list(range(32))
    assert all(len(set(cluster[places])) == 1 for places in order.reshape(4, 8))


@pytest.mark.parametrize(("n", "levels", "smallest"), [(1, 0, 1), (1, 0, 4), (5, 2, 2), (37, 3, 5), (40, 3, 5)])
def test_every_sample_has_one_place_and_empty_places_are_last(n, levels, smallest):
    order = nested_order([np.random.default_rng(n).standard_normal((n, 3))] * 2, levels, smallest)
    assert len(order) == smallest * 2**levels
    assert sorted(order[order >= 0]) == list(range(n))
    assert (order[n:] == -1).all()


# -- the augmented Lagrangian ----------------------------------------------------------------------------------------


def somewhere_with_exact_gradients(core, rel=1e-6):
    """A random point (head, S) and the Lagrangian there, whose gradient is that of its differences."""
    rng = torch.Generator().manual_seed(0)
    head, S, by_head, by_S = (
        torch.randn(part.shape, generator=rng, dtype=torch.float64) for part in (core.head, core.S) * 2
    )
    step = 1e-6
    up, down = (core.lagrangian(head + move * by_head, S + move * by_S, 0.0)[0] for move in (step, -step))
    value, gradient_head, gradient_S = core.lagrangian(head, S, 0.0)
    slope = float((gradient_head * by_head).sum() + (gradient_S * by_S).sum())
    assert slope == pytest.approx((up - down) / (2 * step), rel=rel)
    return head, S, value


def test_gradients_of_the_augmented_lagrangian():
    core = search_of(*planted(0, n=70, d=4)).core
    assert core.groups > 1
    somewhere_with_exact_gradients(core)


def test_growing_keeps_the_multipliers_and_the_lagrangian_without_new_products():
    search = search_of(*planted(1, n=70, d=4)).core
    search.update(80.0, 20, math.inf, curved=True)
    (before, nu), g = (search.products(0), search.nu), search.size
    search.grow()
    after = search.products(0)
    assert search.size == 2 * g and torch.equal(search.nu, nu)
    assert float(after.square().sum()) == pytest.approx(float(before.square().sum()))
    first, second = before[0], before[1]
    assert torch.equal(after[0, 1 : 1 + g, 1 + 2 * g : 1 + 3 * g], first[1 : 1 + g, 1 + g :])
    assert torch.equal(after[0, 1 + g : 1 + 2 * g, 1 + 3 * g :], second[1 : 1 + g, 1 + g :])
    assert torch.equal(after[0, 0, 1 : 1 + 2 * g], torch.cat([first[0, 1 : 1 + g], second[0, 1 : 1 + g]]))
    assert not after[0, 1 : 1 + g, 1 + g : 1 + 2 * g].any()


# -- the elimination -------------------------------------------------------------------------------------------------


def elimination(seed, groups=3, g=4, d=3):
    """Random multipliers over X with rows of norm one; ν large enough."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((groups * g, d))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    z, nu = rng.standard_normal(groups * g), 2 + rng.random(groups * g)
    upper = np.triu(rng.random((groups, 1 + 2 * g, 1 + 2 * g)), 1) * (rng.random((1 + 2 * g, 1 + 2 * g)) < 0.4) / g
    upper[:, 1 + np.arange(g), 1 + g + np.arange(g)] = 0
    products = torch.as_tensor(upper + upper.transpose(0, 2, 1))
    safe = torch.zeros_like(products)
    safe[:, 0] = products[:, 0]
    X, z, nu = (torch.as_tensor(part) for part in (X, z, nu))
    return Elimination(X, z[:, None], nu, products, (safe, nu))


def test_the_form_without_s_is_the_largest_over_s():
    block = elimination(0)
    rng = np.random.default_rng(1)
    a, s = rng.standard_normal(4), rng.standard_normal((3, 4))
    H, B, A = (part.numpy() for part in block.blocks(block.best))
    X, z = block.lifting.X.numpy(), block.z.numpy()[:, :, 0]
    nu = block.best[block.on_nu].reshape(3, 4)
    p = s - X @ a[1:]
    F = np.concatenate([np.full((3, 1), a[0]), s, p], 1)
    R = block.products(block.best).numpy()
    wanted = (z * s).sum() * a[0] - (nu * s * p).sum() + np.einsum("gi,gij,gj->", F, R, F)
    found = a @ H @ a + sum(2 * s[k] @ B[k] @ a - s[k] @ A[k] @ s[k] for k in range(3))
    assert found == pytest.approx(wanted)
    best = sum(np.linalg.solve(A[k], B[k] @ a) @ B[k] @ a for k in range(3)) + a @ H @ a
    assert wanted <= best <= block.level * (a @ a) * (1 + 1e-12)


def test_the_smoothed_level_has_an_exact_gradient_and_is_lowered():
    block = elimination(2)
    rng = np.random.default_rng(3)
    block.extend(0.1)
    point, step = block.best, 1e-6 * rng.standard_normal(block.best.shape)
    up, down = (block.smoothed(point + sign * step, 0.2)[0] for sign in (1, -1))
    assert float(block.smoothed(point, 0.2)[1] @ step) == pytest.approx(0.5 * (up - down), rel=1e-4)
    before = block.level
    block.run(0.89 * before, Clock())
    assert block.level < 0.9 * before
    assert (block.best >= 0).all()
    assert block.top(block.best) == pytest.approx(block.level)


def test_the_level_is_what_is_proved():
    """What the search sees as the level, scaled back, is what the proof finds with rounding accounted for."""
    X, y, beta = planted(4, n=80, d=4)
    search = search_of(X, y, beta)
    for _ in range(3):
        search.core.update(80.0, 40, math.inf, curved=True)
    *_, sides = search.polished(Clock(0.0))
    bound = prove(search.problem, search.evidence(sides), method="cliques", started=0.0)
    assert bound.scale == pytest.approx(0.5 * search.core.beta / max(side.level for side in sides), rel=1e-6)


# -- the bound -------------------------------------------------------------------------------------------------------


def test_it_beats_the_moment_bound_and_is_accepted(tmp_path, ticking):
    X, y, beta = planted(5, n=200, d=6)
    ticking(0.003)
    first, bound = moment(X, y, beta), neighbours(X, y, beta, time_limit=6.0)
    assert bound.seconds < 7
    upper = trained(X, y, beta)
    assert first.value < bound.value <= upper
    # a good part of what the moment bound leaves open
    assert upper - bound.value < 0.6 * (upper - first.value)
    write_certificate(tmp_path / "cert", X, y, beta, bound)
    verdict = checker.check(checker.read_certificate(tmp_path / "cert"), X, y)
    assert float(verdict.lower) == pytest.approx(bound.value, rel=1e-8)
    U = np.random.default_rng(0).standard_normal((6, 4000))
    U /= np.linalg.norm(U, axis=0)
    assert np.abs(bound.evidence.z @ np.maximum(X @ U, 0)).max() <= bound.support


def trained(X, y, beta, width=40, steps=3000):
    rng = np.random.default_rng(0)
    U, alpha = 0.3 * rng.standard_normal((width, X.shape[1])), 0.3 * rng.standard_normal(width)
    for _ in range(steps):
        by_U, by_alpha = by_formula.gradient(X, y, U, alpha, beta)
        U, alpha = U - 2e-3 * by_U, alpha - 2e-3 * by_alpha
    return float(by_formula.objective(X, y, U, alpha, beta))


@pytest.mark.parametrize("limit", [0.0, 1e-3, 0.05, 0.5])
def test_short_limits_are_kept_and_never_below_the_moment_bound(limit, ticking):
    X, y, beta = planted(6, n=90, d=3)
    ticking(0.001)
    bound = neighbours(X, y, beta, time_limit=limit)
    # what the moment search has in its share of the time
    share = CliqueSettings().first
    assert bound.value >= moment(X, y, beta, time_limit=share * limit).value * (1 - 1e-9) > 0


@pytest.mark.parametrize("limit", [0.0, 0.3, 3.0])
def test_the_clock_is_read_often_enough_to_keep_a_limit(limit, ticking):
    X, y, beta = planted(6, n=90, d=3)
    ticking(0.01)
    assert neighbours(X, y, beta, time_limit=limit).seconds < limit + 0.5  # of which the proof and the ends of steps


def test_weight_decay_above_its_largest_useful_value(ticking):
    """Nothing is better than the zero network: p* = ½‖y‖², which the bound should reach."""
    X, y, beta = planted(7, n=70, d=3)
    ticking(0.01)
    bound = neighbours(X, y, 100 * beta, time_limit=1.0)
    assert bound.value == pytest.approx(0.5 * float(y @ y), rel=1e-6)
    assert bound.value <= 0.5 * float(y @ y)
