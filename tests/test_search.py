"""Pricing, the lasso, descent and refinement: what they promise for every loss."""

import itertools

import numpy as np
import pytest
from counts import tries

from reluopt import Problem, all_patterns, bounds, from_weights, neurons
from reluopt.ascent import _Climb, climb
from reluopt.beta_max import beta_max_estimate
from reluopt.clock import Clock
from reluopt.errors import ConfigError, DataError
from reluopt.losses import LOSSES, make_loss
from reluopt.pricing import kink_flips, price
from reluopt.programs.cones import project
from reluopt.search import column_generation, rounds
from reluopt.search.descent import descend
from reluopt.search.lasso_descent import lasso
from reluopt.search.records import RefineSettings
from reluopt.search.refinement import refine, refinements

SPECS = [*LOSSES, "quantile:0.9", "huber:0.3"]


def problem(seed: int, n: int = 30, d: int = 4, loss: str = "squared", share: float = 0.1, weighted: bool = False):
    """Noise, or classes, with β a share of β_max."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.abs(X @ rng.standard_normal(d)) - 1.0 + 0.3 * rng.standard_normal(n)
    y = np.where(y > 0, 1.0, -1.0) if make_loss(loss).classes else y
    weights = rng.integers(0, 3, n).astype(float) if weighted else None
    made = Problem(X, y, loss, 1.0, weights)
    return made.with_beta(share * beta_max_estimate(made))


def over_cells(X: np.ndarray, z: np.ndarray) -> float:
    """max |zᵀ(Xu)_+| over ‖u‖ ≤ 1, cell by cell."""
    dense = all_patterns(X, limit=10_000).dense
    return max(
        float(np.linalg.norm(project(X, pattern, side * (X.T @ (pattern * z))).point))
        for pattern, side in itertools.product(dense.T, (1.0, -1.0))
    )


# -- pricing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(tries(4, 12)))
def test_pricing_finds_the_best_cell(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    n, d = (25, 2) if seed % 2 else (16, 3)
    X, z = rng.standard_normal((n, d)), rng.standard_normal(n)
    if seed % 4 == 0:
        X = np.hstack([X[:, :-1], np.ones((n, 1))])
        X[n // 2 :] = X[: n - n // 2]  # repeated samples
    found = price(X, z, rng)
    assert found.value == pytest.approx(over_cells(X, z), rel=1e-9)
    assert found.value == pytest.approx(found.sign * z @ np.maximum(X @ found.direction, 0), rel=1e-12)


def test_candidates_are_distinct_maximisers_best_first() -> None:
    X, z = np.random.default_rng(0).standard_normal((40, 5)), np.random.default_rng(1).standard_normal(40)
    found = price(X, z, np.random.default_rng(2))
    values = (z @ np.maximum(X @ found.candidates, 0)) * found.candidate_signs
    assert np.allclose(values, found.candidate_values, rtol=1e-12)
    assert (np.diff(values) <= 0).all() and values[0] == found.value
    assert np.allclose(np.linalg.norm(found.candidates, axis=0), 1.0)
    cosines = found.candidates.T @ found.candidates - 2 * np.eye(len(values))
    assert (cosines * np.outer(found.candidate_signs, found.candidate_signs)).max() < 1 - 1e-7
    half = float(np.median(values))
    above = found.above(half, 3)
    assert len(above.values) == 3 and (above.values > half).all() and above.directions.shape == (3, 5)


@pytest.mark.parametrize("seed", range(tries(2, 6)))
def test_a_climb_ends_where_no_small_step_ascends(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, d = 50, 6
    X, z = rng.standard_normal((n, d)), rng.standard_normal(n)
    starts, signs = rng.standard_normal((d, 20)), np.repeat([1.0, -1.0], 10)
    starts /= np.linalg.norm(starts, axis=0)
    ends, values = climb(X, z, starts, signs, 200)

    def value(U: np.ndarray) -> np.ndarray:
        return signs * (z @ np.maximum(X @ U, 0))

    assert np.allclose(np.linalg.norm(ends, axis=0), 1.0) and np.allclose(value(ends), values)
    assert (values >= value(starts)).all()
    near = ends[:, :, None] + 1e-5 * rng.standard_normal((d, 20, 300))
    near /= np.linalg.norm(near, axis=0)
    around = signs[:, None] * np.einsum("n,nsk->sk", z, np.maximum(np.einsum("nd,dsk->nsk", X, near), 0))
    positive = values > 1e-6
    assert positive.sum() > 5
    assert (around.max(axis=1)[positive] <= values[positive] * (1 + 1e-9)).all()


@pytest.mark.parametrize("n", [2, 10, 34])
def test_a_climb_is_of_numbers_where_samples_are_equal_or_on_hyperplanes(n: int) -> None:
    rng = np.random.default_rng(n)
    for k in range(tries(8, 80)):
        X = rng.integers(-2, 3, size=(n, 2 + k % 2)).astype(float)
        z = rng.standard_normal(n) if k % 2 else -np.abs(rng.standard_normal(n))
        starts = np.hstack([rng.standard_normal((X.shape[1], 20)), X[np.abs(X).sum(axis=1) > 0].T])
        starts /= np.linalg.norm(starts, axis=0)
        with np.errstate(invalid="raise"):
            values = climb(X, z, starts, np.ones(starts.shape[1]), 100)[1]
        assert (values >= z @ np.maximum(X @ starts, 0) - 1e-12 * np.abs(z).sum()).all()


@pytest.mark.parametrize("n", [1, 2, 3, 200])
def test_no_step_of_a_climb_descends_where_the_slope_stays_positive(n: int) -> None:
    """Up to π, or beyond all crossings that are known."""
    rng = np.random.default_rng(n)
    for _ in range(tries(8, 80)):
        X, z, starts = rng.standard_normal((n, 2)), rng.standard_normal(n), rng.standard_normal((20, 2))
        starts /= np.linalg.norm(starts, axis=1)[:, None]
        state, before = _Climb(X, np.tile(z, (20, 1)), starts), np.maximum(starts @ X.T, 0) @ z
        for step in range(10):
            state.step(refresh=step == 9)
            after = np.maximum(state.U @ X.T, 0) @ z
            assert (after >= before - 1e-10 * np.abs(z).sum()).all()
            before = after


def test_pricing_needs_a_dual_entry_a_sample() -> None:
    with pytest.raises(DataError):
        price(np.ones((3, 2)), np.ones(4), np.random.default_rng(0))
    with pytest.raises(DataError):
        beta_max_estimate(np.ones((3, 2)))


def test_flips_flip_one_sample() -> None:
    rng = np.random.default_rng(3)
    X, U = rng.standard_normal((30, 4)), rng.standard_normal((5, 4))
    flips, of = kink_flips(X, U, 7, width=0.5)
    assert len(flips) == 7
    for flip, j in zip(flips, of, strict=True):
        before, after = X @ U[j], X @ flip
        i = int(np.argmax(np.abs(before + after) < 1e-12))
        assert np.sign(before[i]) == -np.sign(after[i]) and np.linalg.norm(flip) == pytest.approx(np.linalg.norm(U[j]))
    assert kink_flips(X, U, 7, width=0.0)[0].shape == (0, 4)


# -- the lasso and descent -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", SPECS)
def test_the_lasso_is_solved(loss: str, weighted: bool) -> None:
    made = problem(4, loss=loss, weighted=weighted)
    made = Problem(made.X, made.y, made.loss.smoothed(0.05), made.beta, made.weights)
    W = np.random.default_rng(0).standard_normal((80, made.d))
    W[40:] = W[:40] + 1e-3 * W[40:]  # nearly parallel ones
    W /= np.linalg.norm(W, axis=1)[:, None]
    A, start = np.maximum(made.X @ W.T, 0), np.zeros(80)
    start[:5] = 1.0
    w, value = lasso(made, A, start)
    f = A @ w
    assert value == pytest.approx(made.loss_value(f) + made.beta * np.abs(w).sum(), rel=1e-12)
    assert value <= made.loss_value(A @ start) + made.beta * 5
    correlation, used = A.T @ made.dual_point(f), w != 0
    assert np.abs(correlation).max() <= made.beta * (1 + 1e-4)
    assert np.allclose(correlation[used], made.beta * np.sign(w[used]), atol=1e-4 * made.beta)
    # a weight w is the neuron (√|w| u, ±√|w|)
    U, alpha = np.sqrt(np.abs(w))[:, None] * W, np.sign(w) * np.sqrt(np.abs(w))
    assert made.objective(U, alpha) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("loss", SPECS)
def test_descent_goes_down_and_stops_with_the_clock(loss: str) -> None:
    made = problem(5, loss=loss)
    made = Problem(made.X, made.y, made.loss.smoothed(0.05), made.beta)
    rng = np.random.default_rng(1)
    U, alpha = rng.standard_normal((8, 4)), rng.standard_normal(8)
    start = made.objective(U, alpha)
    few, many = (made.objective(*descend(made, U, alpha, steps)) for steps in (5, 200))
    assert many <= few < start
    late = made.objective(*descend(made, U, alpha, 200, Clock(0.0)))
    assert many < late <= start
    assert len(descend(made, U[:0], alpha[:0], 10)[1]) == 0


# -- refinement ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", SPECS)
def test_every_iterate_is_a_network_and_none_is_worse(loss: str, weighted: bool) -> None:
    made = problem(6, loss=loss, weighted=weighted)
    values = []
    for iterate in refinements(made, most_rounds=60, tolerance=1e-3):
        U, alpha = iterate.network.weights()
        assert made.objective(U, alpha) == pytest.approx(iterate.objective, rel=1e-12)
        assert iterate.neurons == neurons.active(U, alpha, 0.0).sum()
        values.append(iterate.objective)
    assert values[0] == made.zero_value and values[-1] < 0.8 * values[0]
    assert (np.diff(values) <= 0).all()
    assert iterate.status == "settled" and iterate.price <= 1 + 1e-3
    # weak duality closes up to the price and the smoothing, if no neuron was missed
    assert made.dual_value(iterate.z / max(1.0, iterate.price)) >= iterate.objective * (1 - 5e-3)
    assert price(made, iterate.z, np.random.default_rng(9)).value <= made.beta * (1 + 5e-3)


@pytest.mark.parametrize("seed", range(tries(5, 10)))
def test_the_global_optimum_is_reached_at_small_rank(seed: int) -> None:
    n, d = [(20, 2), (12, 3), (25, 2), (12, 3), (10, 3)][seed % 5]
    made = problem(50 + seed, n=n, d=d, share=[0.1, 0.01][seed % 2])
    optimum = bounds.exact(made.X, made.y, made.beta).value
    found = refine(made, tolerance=1e-5, seed=seed, settings=RefineSettings(confirm=256))
    assert optimum * (1 - 1e-9) <= found.objective <= optimum * (1 + 1e-5)


def test_one_seed_one_result() -> None:
    made = problem(7, n=40, d=5, share=0.02)
    first, second = (refine(made, seed=3, most_rounds=6) for _ in range(2))
    for a, b in zip(first.network.weights(), second.network.weights(), strict=True):
        assert (a == b).all()
    assert (first.objective, first.price, first.rounds) == (second.objective, second.price, second.rounds)


def test_a_network_is_a_start() -> None:
    made = problem(8)
    rng = np.random.default_rng(0)
    network = from_weights(rng.standard_normal((10, 4)), rng.standard_normal(10))
    start = next(refinements(made, network))
    assert start.objective <= made.objective(*network.weights()) and start.rounds == 0
    end = refine(made, network)
    assert end.objective == pytest.approx(refine(made).objective, rel=1e-3)
    again = refine(made, end.network)
    assert again.objective <= end.objective and again.rounds <= 5


def test_whoever_calls_may_stop_it() -> None:
    made = problem(9, n=60, d=8, share=0.01)
    seen: list[float] = []

    def third(iterate: object) -> bool:
        seen.append(iterate.objective)  # type: ignore[attr-defined]
        return len(seen) == 3

    stopped = refine(made, callback=third)
    assert stopped.status == "stopped" and len(seen) == 3 and stopped.objective == min(seen)
    late = refine(made, clock=Clock(0.0))
    assert late.status == "time" and late.objective == made.zero_value
    assert refine(made, most_rounds=2).status == "rounds"


def test_above_beta_max_the_zero_network_is_all() -> None:
    made = problem(10)
    end = refine(made.with_beta(10.1 * made.beta))
    assert end.status == "settled" and end.neurons == 0 and end.objective == made.zero_value
    assert not end.network.weights()[0].any()


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge", "absolute", "quantile:0.9"])
def test_above_beta_max_the_zero_network_of_several_outputs_is_all(loss: str) -> None:
    """Also where a loss with kinks is made sharper, round after round, without a neuron."""
    rng = np.random.default_rng(0)
    Y = np.sign(rng.standard_normal((20, 2)))
    made = Problem(rng.standard_normal((20, 3)), Y, loss, 1e3)
    end = refine(made, clock=Clock(10.0))
    assert end.status == "settled" and end.neurons == 0 and end.objective == made.zero_value


def test_bad_arguments_are_named() -> None:
    made = problem(11)
    with pytest.raises(ConfigError):
        refine(made, tolerance=0.0)
    with pytest.raises(DataError):
        refine(made, from_weights(np.ones((2, 7)), np.ones(2)))


def test_starts_from_elsewhere_are_searched() -> None:
    made = problem(12)
    asked = []

    def near() -> np.ndarray:
        asked.append(1)
        return np.eye(made.d)

    end = list(refinements(made, near=near, settings=RefineSettings(starts=8), most_rounds=3))
    assert asked and end[-1].objective < made.zero_value


@pytest.mark.parametrize("seed", [0, 13, 17, 22, 26])
def test_a_settled_network_has_optimal_sizes(seed: int) -> None:
    """At an optimum zᵀf = β Σ‖u_j‖|α_j|; a largest price below β tells that a size can still improve.

    On all seeds but the first, prices alone settle too early.
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((12, 2))
    made = Problem(X, np.abs(X[:, 0]) - 0.4 + 0.2 * rng.standard_normal(12), "squared", 1.0)
    made = made.with_beta(0.1 * beta_max_estimate(made))
    found = refine(made, tolerance=1e-6)
    U, alpha = found.network.weights()
    paid = made.beta * (np.linalg.norm(U, axis=1) * np.abs(alpha)).sum()
    assert found.status == "settled" and found.z @ made.predict(U, alpha) == pytest.approx(paid, rel=1e-5)
    assert found.price == pytest.approx(1.0, abs=1e-4)


def test_sizes_that_do_not_become_optimal_are_not_called_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the lasso does nothing the sizes stay as they are: no dearer neuron is found, and the end says why."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 2))
    made = Problem(X, np.abs(X[:, 0]) - 0.4, "squared", 1.0)
    made = made.with_beta(0.5 * beta_max_estimate(made))
    end = refine(made, tolerance=1e-6)
    U, alpha = end.network.weights()
    large = from_weights(1.2 * U, alpha)
    monkeypatch.setattr(rounds, "lasso", lambda problem, A, w, *_: (w, 0.0))
    monkeypatch.setattr(rounds, "descend", lambda problem, U, alpha, *_: (U, alpha))
    stuck = refine(made, large, tolerance=1e-6, most_rounds=50)
    assert stuck.status == "inexact" and stuck.price < 1.0 and stuck.objective > end.objective
    assert stuck.rounds == column_generation.MOST_WEIGHINGS
