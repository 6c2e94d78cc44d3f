"""Products with the ball: brute force in the plane, exact sums, gradients, what they gain, proofs that are checked."""

import dataclasses
import math

import numpy as np
import pytest
import test_checker as oracle
import torch
from test_neighbours import planted, somewhere_with_exact_gradients

from reluopt.bounds.ball import SAFETY, Ball
from reluopt.bounds.ball_products import projected
from reluopt.bounds.clique import Cliques
from reluopt.bounds.clique_search import CliqueSearch
from reluopt.bounds.clique_settings import CliqueSettings
from reluopt.bounds.evidence import Multipliers
from reluopt.bounds.lower_bound import prove
from reluopt.bounds.protocol import Start
from reluopt.bounds.region_forms import Geometry
from reluopt.bounds.schur import Elimination
from reluopt.bounds.second_moments import SecondMoments
from reluopt.bounds.slopes import Slopes
from reluopt.certificate import checker
from reluopt.certificate.checker.ball import Ball as ReadBall
from reluopt.certificate.checker.leaf import blocks, sizes
from reluopt.certificate.checker.numbers import gamma
from reluopt.certificate.file import write_certificate
from reluopt.certificate.reading import proved_again
from reluopt.clock import Clock
from reluopt.problem import Problem

ANGLES = np.linspace(0, 2 * np.pi, 361)[:-1]
PLANE = np.stack([np.cos(ANGLES), np.sin(ANGLES)])


def drawn(rng, n=4, cuts=0):
    """(X, z, geometry, multipliers) with random ball products of a group, at most as large as its r allows."""
    X, z = rng.standard_normal((n, 2)), rng.standard_normal(n)
    group, F = np.arange(n), rng.standard_normal((cuts, 2))
    r = rng.random((1 + cuts + 2 * n,) * 2) * (rng.random((1 + cuts + 2 * n,) * 2) < 0.5) / n
    r[0] += rng.random(len(r))
    span, omega = rng.uniform(-1, 1, (2, 2)), rng.standard_normal((len(r), 2))
    omega *= ((1 - SAFETY) * (r[0] + r[:, 0]) / np.linalg.norm(omega @ span, axis=1))[:, None]
    omega[0] = 0.0
    tilt = Slopes(np.zeros((0, 2)), np.zeros(n), float(rng.standard_normal()))
    empty = np.zeros((1 + cuts, n))
    m = Multipliers(empty, empty, 3.0 + rng.random(n), (r,), tilt, Ball(span, (omega,)))
    return X, z, Geometry.of(X, F, (group,)), m


def test_any_ball_products_leave_the_bound_valid():
    """Thousands of random multipliers, on regions with and without cuts, at every degree of the circle."""
    rng, needed = np.random.default_rng(0), 0
    for _ in range(600):
        X, z, geometry, m = drawn(rng, n=int(rng.integers(1, 5)), cuts=int(rng.integers(0, 3)))
        bound = geometry.support_upper(z, m)
        inside = (geometry.F[1:, 1:] @ PLANE >= 0).all(axis=0)
        heights = z @ np.maximum(X @ PLANE[:, inside], 0.0)
        assert heights.max(initial=0.0) <= bound
        without = dataclasses.replace(m, ball=None)
        needed += bound < geometry.support_upper(z, without) * (1 - 1e-6)
    assert needed > 30  # they do lower bounds, even at random


@pytest.mark.parametrize("damage", ["larger", "form 1", "span", "nan", "missing"])
def test_ball_products_that_break_a_condition_prove_nothing(damage):
    _, z, geometry, m = drawn(np.random.default_rng(3))
    ball = m.ball
    assert math.isfinite(geometry.support_upper(z, m))
    omega = ball.omega[0].copy()
    omega[0] += damage == "form 1"
    broken = {
        "larger": Ball(ball.span, (omega * (1 + 1e-6),)),
        "form 1": Ball(ball.span, (omega,)),
        "span": Ball(3 * np.sign(ball.span), (omega,)),
        "nan": Ball(ball.span, (omega * np.nan,)),
        "missing": Ball(ball.span, ()),
    }[damage]
    assert geometry.support_upper(z, dataclasses.replace(m, ball=broken)) == math.inf


def test_the_rounding_of_rows_that_cancel_is_counted():
    """H and B against sums with 60 digits: within what the checker counts, and not within it but for ‖V‖‖ω‖."""
    rng, missed = np.random.default_rng(1), 0
    exact = np.vectorize(oracle.mpmath.mpf, otypes=[object])
    for _ in range(10):
        p, d = 3, 2
        X, z, nu = rng.standard_normal((p, d)), 1e-12 * rng.standard_normal(p), 1e-12 * np.ones(p)
        span = rng.uniform(-1, 1, (2, d))
        span[1] = span[0] * (1 + 1e-13)
        omega = rng.standard_normal((1 + 2 * p, 1)) * np.array([1.0, -1.0]) * 1e2
        omega[0], F, r = 0.0, np.eye(1, 1 + d), np.full((1 + 2 * p,) * 2, 1e-12)
        ball = ReadBall(span, omega)
        H, B, _ = blocks(X, z, F, nu, r, ball.rows())
        with oracle.mpmath.workdps(60):
            K = np.hstack([exact(np.zeros((len(r), 1))), exact(omega).dot(exact(span))])
            rows = np.hstack([np.zeros((p, 1)), X])
            Q, S = exact(np.vstack([F, 0 * rows, -rows])), exact(np.vstack([np.zeros((1, p)), np.eye(p), np.eye(p)]))
            true_B = S.T.dot(exact(r)).dot(Q) - S.T.dot(K) / 2 + exact(nu)[:, None] * exact(rows) / 2
            true_B[:, 0] += exact(z) / 2
            true_H = Q.T.dot(exact(r)).dot(Q) - (Q.T.dot(K) + K.T.dot(Q)) / 2
            lost = [float(np.sqrt(sum(v * v for v in (exact(a) - b).ravel()))) for a, b in ((H, true_H), (B, true_B))]
        share = gamma(2 * len(r) + 2 + 1 + 32)
        counted, without = (sizes(X, z, F, nu, r, own)[:2] for own in (ball, None))
        assert all(off <= share * float(size) for off, size in zip(lost, counted, strict=True))
        missed += any(off > share * float(size) for off, size in zip(lost, without, strict=True))
    assert missed > 5


def test_projection_on_the_second_order_cone():
    rng = np.random.default_rng(0)
    Z = torch.as_tensor(rng.standard_normal((200, 4)))
    P = projected(Z)
    rest = P - Z  # Moreau: P and P − Z are in the cone (it is its own dual), and orthogonal
    for part in (P, rest):
        assert (part[:, 0] >= part[:, 1:].norm(dim=1) - 1e-12).all()
    assert (P * rest).sum(1).abs().max() < 1e-12
    assert projected(torch.zeros(1, 3, dtype=torch.float64)).abs().max() == 0


def search_of(X, y, beta, ball=True):
    problem = Problem(X, y, beta=beta)
    return CliqueSearch(problem, SecondMoments(iterations=60).best(problem), CliqueSettings(ball=ball))


def test_gradients_with_ball_products_and_joining():
    core = search_of(*planted(0, n=70, d=4)).core
    core.update(80.0, 10, math.inf, curved=False)
    assert core.ball.cones.abs().max() > 0 and core.ball.tilt.abs().max() > 0
    head, S, value = somewhere_with_exact_gradients(core, rel=1e-5)
    (_, before, _), g = core.ball_of(0), core.size
    core.grow()
    _, after, _ = core.ball_of(0)
    halves = before[0, :g], before[1, :g], before[0, g:], before[1, g:]  # s of both halves, then s − Xu
    assert torch.equal(after[0], torch.cat(halves))
    assert float(after.square().sum()) == pytest.approx(float(before.square().sum()))
    core.pairs.look(core.lifting.forms(head, S).flatten(0, 1), core.places.forms(core.device))
    assert core.lagrangian(head, S, 0.0)[0] != value  # new products


def test_the_smoothed_level_has_an_exact_gradient_and_its_point_is_proved():
    search = search_of(*planted(4, n=40, d=4))
    for _ in range(3):
        search.core.update(80.0, 40, math.inf, curved=True)
    *_, sides = search.polished(Clock(0.0))
    bound = prove(search.problem, search.evidence(sides), method="cliques", started=0.0)
    assert bound.scale == pytest.approx(0.5 * search.core.beta / max(side.level for side in sides), rel=1e-6)
    side, rng = sides[0], np.random.default_rng(3)
    assert isinstance(side, Elimination) and len(side.span) == 4
    point, temperature = side.best.copy(), 0.1 * side.level
    step = 1e-6 * np.abs(point).mean() * rng.standard_normal(point.shape)
    up, down = (side.smoothed(point + sign * step, temperature)[0] for sign in (1, -1))
    slope = float(side.smoothed(point, temperature)[1] @ step)
    assert slope == pytest.approx(0.5 * (up - down), rel=1e-3)
    before = side.level
    side.run(0.0, Clock(0.5))
    assert side.level < before


def test_they_gain_on_noise_and_the_checker_accepts(tmp_path, ticking):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 4)), rng.standard_normal(20)
    problem = Problem(X, y, beta=0.2)
    ticking(0.006)
    values = {}
    for ball in (False, True):
        *_, bound = Cliques(CliqueSettings(ball=ball)).run(problem, Start(), Clock(3.0))
        values[ball] = bound.value
    assert values[True] > values[False] * 1.01
    again = proved_again(problem, bound, "again")
    assert again.value == pytest.approx(bound.value, rel=1e-12)
    claims = write_certificate(tmp_path / "cert", problem, bound=bound)
    assert claims["optimum_at_least"] == pytest.approx(bound.value, rel=1e-8)
    verdict = checker.check(checker.read_certificate(tmp_path / "cert"), X, y)
    assert float(verdict.lower) == pytest.approx(bound.value, rel=1e-8)


def test_wide_data_are_proved_in_the_space_of_their_rows():
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((6, 20)), rng.standard_normal(6)
    problem = Problem(X, y, "squared", 1.0)
    *_, bound = Cliques().run(problem, Start(), Clock(1.0))
    U = rng.standard_normal((20, 3000))
    U /= np.linalg.norm(U, axis=0)
    assert np.abs(bound.evidence.z @ np.maximum(X @ U, 0)).max() <= bound.support < math.inf
