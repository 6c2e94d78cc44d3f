"""The tight bounds where the problem has biases of its own: none is above a network, and all of them get near."""

import bias_problems as cases
import numpy as np
import pytest
import second_checker
import torch
from scipy.optimize import minimize

from reluopt.biases import Biases, sums
from reluopt.bounds.master import best_under_cuts
from reluopt.bounds.protocol import Start
from reluopt.bounds.registry import BOUNDS, race
from reluopt.bounds.sample_fit import SampleFit
from reluopt.certificate.file import write_certificate
from reluopt.certificate.reading import read_bound
from reluopt.clock import Clock
from reluopt.problem import Problem

INTERCEPTS = [Biases("free"), Biases("decayed")]
OF_ONE = [name for name, bound in BOUNDS.items() if bound.takes(cases.problem(0, INTERCEPTS[0]))]


def trained(p, starts=2, m=20):
    """The least L of some networks, by L-BFGS from random starts; for smooth losses."""

    def cost(theta):
        parts = np.split(theta, [m * p.d, m * p.d + m])
        U, a, c = parts[0].reshape(m, p.d), parts[1], parts[2][0]
        by = p.gradient(U, a, c)
        slope = p.intercept_slope(p.dual_point(p.predict(U, a, c)), c)
        return p.objective(U, a, c), np.concatenate([by[0].ravel(), by[1], np.reshape(slope, 1)])

    size = m * p.d + m + 1
    found = [minimize(cost, 0.5 * np.random.default_rng(k).standard_normal(size), jac=True) for k in range(starts)]
    return min(one.fun for one in found)


# -- an output intercept -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("biases", INTERCEPTS)
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_all_cells_with_an_intercept_are_the_optimum(biases, loss):
    p = cases.problem(3, biases, loss, n=6, beta=0.3)
    upper = trained(p)
    assert upper * (1 - 1e-2) <= BOUNDS["exact"].best(p).value <= upper


@pytest.fixture(scope="module", params=INTERCEPTS, ids=lambda biases: biases.output)
def weighted(request):
    """A problem with weights, its moment bound, and its optimum."""
    p = cases.problem(4, request.param, "squared", n=6, beta=0.3, weighted=True)
    return p, BOUNDS["moment"].best(p), BOUNDS["exact"].best(p).value


@pytest.mark.parametrize("name", OF_ONE)
def test_every_bound_takes_an_intercept_and_both_checkers_its_proof(name, weighted, tmp_path, ticking):
    p, moment, best = weighted
    ticking(0.005)
    bound = BOUNDS[name].best(p, Start(moments=moment), Clock(0.5))
    assert 0 < bound.value <= best * (1 + 1e-7) and any(sums(bound.z)) == (p.biases.output == "decayed")
    assert bound.value >= 1.002 * moment.value or name in ("closed form", "moment")
    path = tmp_path / "a.safetensors"
    write_certificate(path, p, bound=bound)
    assert read_bound(path, p).value == pytest.approx(bound.value, rel=1e-6)
    assert second_checker.reason_to_refuse(path.read_bytes(), p.X.tolist(), p.targets.tolist()) is None


@pytest.mark.parametrize("number", range(len(cases.LOSSES)))
def test_bounds_of_every_loss_with_an_intercept_stay_below_its_networks(number, ticking):
    loss, biases = cases.LOSSES[number], INTERCEPTS[number % 2]
    p = cases.problem(5, biases, loss, n=6, beta=0.4, weighted=number % 3 == 0)
    upper = trained(p, starts=1, m=12)
    ticking(0.02)
    for name in ("cliques", "hyperplanes", "branch and bound"):
        assert 0 < BOUNDS[name].best(p, clock=Clock(0.6)).value <= upper * (1 + 1e-9)


@pytest.mark.parametrize("limit", [0.0, 0.1])
def test_a_race_with_an_intercept_that_ends_early_is_proved(limit, tmp_path, ticking):
    p = cases.problem(6, Biases("free"), n=16, d=5, beta=0.2)
    least = trained(p, starts=1, m=6)
    ticking(0.005)
    bounds = list(race(p, Start(), Clock(limit)))
    assert all(bound.value <= least for bound in bounds)
    write_certificate(tmp_path / "a.safetensors", p, bound=bounds[-1])


def test_with_a_free_intercept_the_level_of_the_targets_has_no_part():
    p = cases.problem(7, Biases("free"), n=6, beta=0.3)
    far = Problem(p.X, p.y + 40.0, beta=p.beta, biases=p.biases)
    assert BOUNDS["exact"].best(far).value == pytest.approx(BOUNDS["exact"].best(p).value, rel=1e-5)
    dear = Problem(p.X, p.y, beta=p.beta, biases=Biases("decayed"))
    none = Problem(p.X, p.y, beta=p.beta)
    free, decayed, without = (BOUNDS["exact"].best(q).value for q in (p, dear, none))
    assert free < decayed < without


@pytest.mark.parametrize("loss", ["squared", "cross_entropy", "absolute"])
def test_cliques_of_several_outputs_take_an_intercept(loss, tmp_path, ticking):
    p = cases.problem(8, Biases("free"), loss, outputs=3, n=8, beta=0.3)
    ticking(0.02)
    moment, bound = BOUNDS["vector moment"].best(p, clock=Clock(1.0)), BOUNDS["cliques"].best(p, clock=Clock(1.0))
    U, a, _ = cases.network(0, p, size=0.3)
    upper = min(p.objective_upper(U, a, p.best_intercept(p.predict(U, a))), p.zero_value * (1 + 1e-9))
    assert moment.value < bound.value <= upper and not any(sums(bound.z))
    write_certificate(tmp_path / "a.safetensors", p, bound=bound)


# -- what the searches are made of -------------------------------------------------------------------------------------


@pytest.mark.parametrize("biases", INTERCEPTS)
@pytest.mark.parametrize("loss", ["squared", "huber:0.7", "absolute"])
def test_the_master_problem_with_an_intercept_obeys_its_cuts(biases, loss):
    """The dual point of cuts: within them, and no random feasible z has a larger value."""
    p, _ = cases.problem(9, biases, loss, n=6, beta=0.2).scaled()
    rng = np.random.default_rng(0)
    cuts = np.maximum(rng.standard_normal((5, p.d)) @ p.X.T, 0.0) * rng.choice([-1.0, 1.0], 5)[:, None]
    z = best_under_cuts(p, cuts)
    assert (cuts @ z).max() <= p.beta * (1 + 2e-3)
    low, high = p.dual_domain()
    for _ in range(300):
        other = p.settled(np.clip(z + 0.3 * rng.standard_normal(6), low, high))
        other = other * min(1.0, p.beta / max(1e-9, (cuts @ other).max()))
        assert p.dual_value(other) <= p.dual_value(z) * (1 + 1e-6) + 1e-3


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_loss_at_slots_has_an_exact_gradient(outputs):
    p, _ = cases.problem(1, Biases("decayed"), outputs=outputs, n=6, weighted=True).scaled()
    fit = SampleFit(p, np.array([4, 2, -1, 0, 5]), torch.device("cpu"))
    g, c, by_g, by_c = (torch.randn(size, outputs, dtype=torch.float64) for size in (5, 1, 5, 1))
    value, pull, slope = fit.at(g, c[0])
    up, down = (fit.at(g + move * by_g, (c + move * by_c)[0])[0] for move in (1e-6, -1e-6))
    assert (up - down) / 2e-6 == pytest.approx(float(slope @ by_c[0] - (pull * by_g).sum()), rel=1e-6)
    rows = np.zeros((6, outputs))
    rows[[4, 2, 0, 5]] = g[[0, 1, 3, 4]].numpy()
    f = (rows + c[0].numpy()).reshape(p.targets.shape)
    assert value == pytest.approx(p.loss_value(f) + 0.5 * p.intercept_decay * float((c * c).sum()))
