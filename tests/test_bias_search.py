"""Prices, solve, refine and path where biases are not decayed: nothing rises, the ends are optima, runs go on."""

import itertools
import json
from pathlib import Path

import bias_problems as cases
import cvxpy as cp
import numpy as np
import pytest
from commands import reluopt
from counts import tries

from reluopt import ReLUClassifier, ReLURegressor, from_weights, regularization_path
from reluopt.beta_max import beta_max_estimate
from reluopt.biases import NO_BIASES, Biases
from reluopt.bounds import race
from reluopt.clock import Clock
from reluopt.errors import ConfigError, DataError
from reluopt.patterns.arrangement import all_patterns
from reluopt.pricing import price
from reluopt.problem import Problem
from reluopt.runs import RunFolder
from reluopt.search.descent import descend
from reluopt.search.lasso_descent import lasso
from reluopt.search.refinement import refine, refinements
from reluopt.search.solving import solve_problem
from reluopt.training import TrainConfig, Trainer
from reluopt.training.checkpoint import load_weights
from reluopt.workflows.runs import read_run

BOTH = Biases("free", "free")


def at(share: float, made: Problem) -> Problem:
    """The problem at a part of its β_max."""
    return made.with_beta(share * beta_max_estimate(made))


def optimum(made: Problem) -> float:
    """p*, by the convex program over all patterns: an interior point method on formulas, sample by sample."""
    X, decayed = made.X, made.d - int(made.biases.first_free)
    f, paid, cones = 0, 0, []
    for pattern, side in itertools.product(all_patterns(X).dense.T.astype(bool), (1.0, -1.0)):
        v = cp.Variable(made.d)
        f = f + side * np.where(pattern[:, None], X, 0.0) @ v
        paid = paid + cp.norm(v[:decayed])
        cones.append(np.where(pattern[:, None], X, -X) @ v >= 0)
    free = made.biases.first_free or made.biases.output == "free"
    c = cp.Variable() if made.biases else 0.0
    errors = made.targets - (f + c)
    values = {
        "squared": 0.5 * cp.sum(cp.multiply(made.weights, cp.square(errors))),
        "absolute": cp.sum(cp.multiply(made.weights, cp.abs(errors))),
        "logistic": cp.sum(cp.multiply(made.weights, cp.logistic(-cp.multiply(made.targets, f + c)))),
    }
    costs = made.beta * paid + (0.0 if free else 0.5 * made.beta * cp.square(c))
    program = cp.Problem(cp.Minimize(values[made.loss.name] + costs), cones)
    return float(program.solve(solver="CLARABEL", tol_gap_rel=1e-9, tol_gap_abs=1e-9, tol_feas=1e-9))


# -- prices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [1, 3])
def test_no_neuron_at_any_bias_is_dearer_than_the_dearest(outputs: int) -> None:
    for seed in range(tries(4, 40)):
        made = cases.problem(seed, BOTH, n=9, d=1 + seed % 3, outputs=outputs)
        z, rng = made.zero_dual_point, np.random.default_rng(seed)
        found = price(made, z, rng)
        V = rng.standard_normal((3000, made.d - 1))
        V /= np.linalg.norm(V, axis=1)[:, None]
        assert found.value >= cases.largest_at_kinks(made.X[:, :-1], z, V).max() * (1 - 1e-6)
        norms = np.linalg.norm(found.candidates[:-1], axis=0)
        values = np.linalg.norm(z.reshape(9, -1).T @ np.maximum(made.X @ found.candidates, 0), axis=0)
        assert np.allclose(norms, 1.0) and np.allclose(values, found.candidate_values)
        assert (np.diff(values) <= 1e-12).all() and found.value == pytest.approx(values[0])


def test_a_price_is_that_of_sums_that_are_zero() -> None:
    """Any other z has no largest price; it is moved there first."""
    made = cases.problem(0, BOTH)
    found = price(made, made.targets + 100.0, np.random.default_rng(0))
    assert np.isfinite(found.value) and found.value < 100.0 * np.abs(made.X).sum()


# -- one step ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("biases", cases.KINDS)
def test_the_lasso_and_descent_move_the_intercept(biases: Biases) -> None:
    made = cases.problem(1, biases, "logistic", n=20, beta=0.3)
    U, alpha, c = np.random.default_rng(0).standard_normal((6, made.d)), np.linspace(-1, 1, 6), np.asarray(0.2)
    if biases.intercept:
        moved = descend(made, U, alpha, 50, intercept=c)
        assert len(moved) == 3 and made.objective(*moved) < made.objective(U, alpha, c)
        assert abs(made.intercept_slope(made.dual_point(made.predict(*moved)), moved[2])) < 0.05
        if not biases.first_free:
            A = np.maximum(made.X @ U.T, 0)
            w, value = lasso(made, A, np.append(np.zeros(6), c))
            f, paid = A @ w[:-1] + w[-1], made.beta * np.abs(w[:-1]).sum()
            decay = 0.5 * made.beta * w[-1] ** 2 if biases.output == "decayed" else 0.0
            assert value == pytest.approx(made.loss_value(f) + paid + decay, rel=1e-12)
            z = made.dual_point(f)
            assert made.intercept_slope(z, w[-1]) == pytest.approx(0.0, abs=1e-5)
            assert np.abs(A.T @ z).max() <= made.beta * (1 + 1e-5)
    else:
        assert len(descend(made, U, alpha, 50)) == 2


# -- refinement ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("biases", "loss"), [(b, k) for k in ("squared", "logistic", "absolute") for b in cases.KINDS])
def test_the_optimum_over_all_patterns_is_reached(biases: Biases, loss: str) -> None:
    """L never rises, and ends at the optimum by brute force: at one feature, or two without first-layer biases."""
    for seed in range(tries(1, 8)):
        made = at(0.2, cases.problem(seed, biases, loss, n=5, d=1 if biases.first_free else 2, weighted=seed % 2 == 1))
        way = list(refinements(made, tolerance=1e-6))
        values = [one.objective for one in way]
        assert (np.diff(values) <= 0).all() and values[0] <= made.zero_value * (1 + 1e-6)
        for one in (way[0], way[-1]):
            assert cases.cost(made, *one.network.weights()) == pytest.approx(one.objective, rel=1e-9)
        least = optimum(made)
        assert least * (1 - 1e-5) <= values[-1] <= least * (1 + 1e-5)
        assert way[-1].status == "settled" or loss == "absolute"


@pytest.mark.parametrize("biases", cases.KINDS)
@pytest.mark.parametrize(("loss", "outputs"), [("huber:0.7", 1), ("squared", 3), ("cross_entropy", 3)])
def test_it_settles_where_no_neuron_is_dear_and_above_every_bound(biases: Biases, loss: str, outputs: int) -> None:
    made = at(0.2, cases.problem(3, biases, loss, n=15, outputs=outputs))
    way = list(refinements(made, tolerance=1e-3, most_rounds=60))
    end = way[-1]
    assert end.status == "settled" and end.price <= 1 + 1e-3
    assert (np.diff([one.objective for one in way]) <= 0).all() and end.objective < 0.95 * made.zero_value
    if made.biases.zero_sum:
        assert not np.any(end.z.sum(axis=0))
    assert price(made, end.z, np.random.default_rng(5)).value <= made.beta * (1 + 5e-3)
    lower = max(one.value for one in race(made, clock=Clock(0.5)))
    assert 0 < lower <= end.objective


@pytest.mark.parametrize("biases", cases.KINDS)
def test_a_trained_network_is_a_start(biases: Biases) -> None:
    """Constants among its neurons too: they become the intercept, or one neuron where there is none."""
    made = at(0.1, cases.problem(4, biases, n=12))
    config = TrainConfig(width=6, epochs=150, beta=made.beta, output_bias=biases.output if biases.intercept else None,
                         first_bias="free" if biases.first_free else None)  # fmt: skip
    network = config.make_network(made.d)
    Trainer(network, made, config=config, progress=False).fit()
    U, alpha, *c = network.weights()
    if biases.first_free:
        U[0, :-1] = 0.0
        U[0, -1] = 1.5
    network = from_weights(U, alpha, *c)
    start = next(refinements(made, network))
    assert start.objective <= made.objective(*network.weights())
    end = refine(made, network)
    assert end.objective <= start.objective
    assert end.objective == pytest.approx(refine(made).objective, rel=1e-3)
    assert (end.network.intercept is not None) == biases.intercept
    if biases.first_free:
        assert (~end.network.weights()[0][:, :-1].any(axis=1)).sum() <= int(biases.output != "free")


def test_it_is_not_above_long_training() -> None:
    """scikit-learn's MLP decays no biases either: Adam with many steps on the same objective is not below it."""
    made = at(0.05, cases.problem(7, BOTH, n=30, d=3))
    config = TrainConfig(width=20, epochs=1000, beta=made.beta, output_bias="free", first_bias="free")
    trained = Trainer(config.make_network(made.d), made, config=config, progress=False).fit().objective
    assert refine(made).objective <= trained * (1 + 1e-6) < made.zero_value


def test_uncentred_features_do_not_matter() -> None:
    """A free bias takes up any shift of X: the same L, as far as rounding lets it."""
    made = at(0.1, cases.problem(8, BOTH, n=20, d=2))
    far = Problem(np.hstack([made.X[:, :-1] + 1e4, made.X[:, -1:]]), made.y, beta=made.beta, biases=BOTH)
    assert refine(far).objective == pytest.approx(refine(made).objective, rel=1e-4)


def test_a_network_that_does_not_fit_is_refused() -> None:
    plain, own = cases.problem(0, NO_BIASES), cases.problem(0, Biases("free"))
    network = from_weights(np.ones((1, 2)), np.ones(1), 0.5)
    with pytest.raises(DataError, match="intercept"):
        refine(plain, network)
    assert refine(own, from_weights(np.ones((1, 2)), np.ones(1))).status == "settled"


# -- solve and path ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("biases", cases.KINDS)
def test_solve_proves_how_far_it_is(biases: Biases) -> None:
    made = at(0.4, cases.problem(2, biases, n=12))
    solved = solve_problem(made, gap=1.0, budget=20.0)
    assert solved.status == "gap" and solved.gap <= 1.0 and solved.bound is not None
    assert solved.bound.value <= made.objective(*solved.network.weights()) <= solved.objective


def test_a_path_has_networks_and_bounds_at_every_beta() -> None:
    made, held_out = cases.problem(5, BOTH, n=20), cases.problem(6, BOTH, n=20)
    path = regularization_path(made, fractions=(0.5, 0.1), gap=9.0, budget=1.5, validation=(held_out.X, held_out.y))
    assert path.best is not None and len(path.points) == 2
    for point in path.points:
        here = made.with_beta(point.beta)
        assert point.bound <= here.objective(*point.network.weights()) <= point.objective
        f = here._with(X=held_out.X).predict(*point.network.weights())
        assert point.test_loss == pytest.approx(float(held_out.loss.value(f, held_out.y).mean()))


# -- commands ------------------------------------------------------------------------------------------------------

DATA = ("planted", "--n", 20, "--d", 2)
FREE = ("--output-bias", "free", "--first-bias", "free")


def test_solve_refine_train_and_path_take_them(tmp_path: Path) -> None:
    """Each run keeps its biases: what comes after it speaks of the same problem, and its proof is accepted."""
    for words in (
        ("solve", *DATA, *FREE, "--gap", 9, "--budget", 1, "--out", "solved"),
        ("solve", "--resume", "solved", "--gap", 8, "--budget", 2),
        ("refine", "solved", "--gap", 9, "--budget", 1, "--out", "refined"),
        ("train", *DATA, "--first-bias", "free", "--optimizer", "solve", "--out", "searched"),
        ("path", *DATA, "--output-bias", "decayed", "--fractions", "0.5", "--gap", 9, "--budget", 1, "--out", "path"),
        ("verify", "refined"),
    ):
        done = reluopt(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    for name, biases in (("refined", BOTH), ("searched", Biases(first="free")), ("path/beta-0.5", Biases("decayed"))):
        run = RunFolder.open(tmp_path / name)
        problem = read_run(run).problem
        assert problem.biases == biases
        last = json.loads((run.path / "solve.jsonl").read_text().splitlines()[-1])
        assert problem.objective(*load_weights(run)) == pytest.approx(last["objective"])
    refused = reluopt("solve", "--resume", "solved", "--first-bias", "free", cwd=tmp_path)
    assert refused.returncode == 2 and "--first-bias" in refused.stderr
    assert reluopt("solve", *DATA, "--output-bias", "some", cwd=tmp_path).returncode == 2


# -- estimators ----------------------------------------------------------------------------------------------------


def test_estimators_do_not_decay_biases_where_they_are_asked_not_to() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((25, 2)) + 3.0
    y = np.abs(X[:, 0] - 3.0) + 5.0
    free = ReLURegressor(alpha=0.5, bias="free", random_state=0, time_limit=1.0).fit(X, y)
    descended = ReLURegressor(alpha=0.5, bias="free", solver="lbfgs", width=10, max_iter=60, random_state=0).fit(X, y)
    decayed = ReLURegressor(alpha=0.5, random_state=0, time_limit=1.0).fit(X, y)
    assert free.lower_bound_ <= free.objective_ <= descended.objective_ < decayed.objective_
    assert free.score(X, y) > 0.9 and free.network_.intercept is not None
    U, alpha, c = free.network_.weights()
    f = np.maximum(X @ U[:, :-1].T + U[:, -1], 0) @ alpha + c
    assert np.allclose(free.predict(X), f)
    cost = 0.5 * ((f - y) ** 2).sum() + 0.25 * ((U[:, :-1] ** 2).sum() + (alpha**2).sum())
    assert free.objective_ == pytest.approx(cost)
    assert free.certify(X, y, effort="fast", time_limit=0.5).lower_bound <= free.lower_bound_
    three = ReLUClassifier(alpha=0.5, bias="free", random_state=0, time_limit=0.5).fit(X, np.digitize(y, [5.3, 6.0]))
    assert three.score(X, np.digitize(y, [5.3, 6.0])) > 0.8
    with pytest.raises(ConfigError, match="bias"):
        ReLURegressor(bias="decayed").fit(X, y)
    with pytest.raises(ConfigError, match="bias"):
        free.set_params(bias=True).certify(X, y)
