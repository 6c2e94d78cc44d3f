"""Certificates: the order of the ladder for any network, stationarity, kinks, files, refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path

import by_formula
import jsonschema
import numpy as np
import pytest
import torch
from counts import tries
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import random_network, reference
from torch import nn

import reluopt.certificate
from reluopt.bounds.registry import BOUNDS
from reluopt.certificate import bounds_below, checker
from reluopt.certificate.case import Case
from reluopt.certificate.certificate import Certificate
from reluopt.certificate.certifying import certify
from reluopt.certificate.config import CertifyConfig
from reluopt.certificate.estimates import Status
from reluopt.certificate.facts import fact_lines
from reluopt.certificate.file import write_certificate
from reluopt.certificate.stationary_point import clarke_residual, kept_patterns, neuron_patterns
from reluopt.clock import Clock
from reluopt.errors import CertificateError, ConfigError
from reluopt.losses import make_loss
from reluopt.network import from_weights
from reluopt.patterns.pattern_set import PatternSet
from reluopt.problem import Problem
from reluopt.programs.mapping import network_from_blocks
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.sequential import from_sequential
from reluopt.solvers import solve
from reluopt.training import TrainConfig, Trainer

SCHEMA = Path(reluopt.certificate.__file__).with_name("schema.json")
QUICK = CertifyConfig(time_budget=120.0, gaussian_patterns=4, effort="fast")


@settings(max_examples=tries(6, 30))
@given(st.integers(0, 10_000), st.integers(2, 10), st.integers(1, 4), st.floats(0.01, 3.0), st.floats(0.05, 3.0))
def test_the_ladder_is_in_order_for_any_network(seed, n, d, beta, scale):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    network = from_weights(*random_network(rng, d, 6, scale))
    certificate = certify(network, X, y, beta, QUICK)
    rungs = {e.name: e.value for e in certificate.estimates}
    slack = 1 + 1e-9
    assert rungs["objective"] >= rungs["balanced"] >= rungs["own_dual"]
    assert rungs["own_primal"] * slack >= rungs["own_dual"]
    assert rungs["balanced"] * slack >= rungs["own_primal"]
    # lower bounds on p* are below everything that any network reaches
    for low in ("closed_form", "moment"):
        assert rungs[low] <= min(rungs["balanced"], rungs["own_primal"] * slack, rungs["gaussian"] * slack)
        assert rungs[low] <= 0.5 * y @ y * slack
    assert by_formula.objective(X, y, *network.weights(), beta) <= rungs["objective"] * slack, "it rounds too"


@pytest.mark.parametrize("name", ["planted_20x3_b0.1", "noise_40x8_b0.1", "diabetes_60x11_b0.1"])
def test_a_network_mapped_from_a_program_is_placed_among_the_reference_values(name):
    """Its objective is the program's value; at its kinks the patterns may take the other side, and lower p̃(S(θ))."""
    case = reference(name)
    solution = solve(RelaxedProgram(case.X, case.y, case.patterns, case.beta))
    certificate = certify(network_from_blocks(solution.blocks), case.X, case.y, case.beta, QUICK)
    assert certificate["objective"].value == pytest.approx(case.values["relaxed"], rel=1e-6)
    assert certificate["own_dual"].value <= case.values["relaxed"] * (1 + 1e-6)
    assert certificate["own_primal"].value >= case.values["moment_bound_dual"]
    assert certificate["moment"].value <= case.values["best_known"]
    assert certificate["moment"].value == pytest.approx(case.values["moment_bound_dual"], rel=1e-3)


def test_a_trained_network_is_certified_without_solving_any_program():
    case = reference("diabetes_60x11_b0.1")
    config = TrainConfig(beta=case.beta, epochs=1500, learning_rate=1e-2, schedule="cosine")
    network = config.make_network(case.X.shape[1])
    Trainer(network, case.X, case.y, case.beta, config, progress=False).fit()
    certificate = certify(network, case.X, case.y, case.beta, CertifyConfig(time_budget=0.0, effort="fast"))
    assert 0 <= certificate.stationarity.active.relative_gap <= 0.02
    assert math.isnan(certificate["own_primal"].value)
    assert "cannot be improved" in certificate.verdict or "may still be improved" in certificate.verdict


def test_the_zero_network_above_beta_max_is_proved_optimal():
    case = reference("planted_20x3_b0.1")
    beta = 11 * case.beta
    zero = from_weights(np.zeros((2, 3)), np.zeros(2))
    certificate = certify(zero, case.X, case.y, beta, QUICK)
    half = 0.5 * case.y @ case.y
    assert certificate["objective"].value == pytest.approx(half)
    assert certificate["moment"].value == pytest.approx(half, rel=1e-6)
    assert certificate["own_dual"].value == pytest.approx(half)


def test_at_small_rank_the_standard_effort_is_exact():
    case = reference("planted_20x3_b0.1")
    config = TrainConfig(beta=case.beta, epochs=2500)
    network = config.make_network(3)
    Trainer(network, case.X, case.y, case.beta, config, progress=False).fit()
    certificate = certify(network, case.X, case.y, case.beta, CertifyConfig(gaussian_patterns=0))
    assert certificate["tightened"].value <= case.values["best_known"]
    assert certificate["tightened"].value == pytest.approx(case.values["best_known"], rel=1e-6)
    assert certificate["objective"].value <= certificate["tightened"].value * 1.001
    assert certificate.bound is not None
    assert certificate.bound.value == certificate["tightened"].value


def test_both_sides_of_kinks_are_in_the_set_up_to_the_cap():
    X = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    U, alpha = np.array([[1.0, 0.0]]), np.array([1.0])
    sets = neuron_patterns(X, U, alpha, kink_tolerance=1e-9, kink_cap=10)
    assert (len(sets.active), len(sets.with_kinks), sets.kink_count, sets.kinks_capped) == (1, 2, 1, False)
    assert {tuple(c) for c in sets.with_kinks.dense.T} == {(True, True, True), (True, False, True)}
    capped = neuron_patterns(X, U, alpha, kink_tolerance=1e-9, kink_cap=0)
    assert (len(capped.with_kinks), capped.kinks_capped) == (1, True)


def test_inactive_neurons_are_reported_apart():
    X = np.array([[1.0], [-1.0]])
    U, alpha = np.array([[1.0], [-1.0]]), np.array([1.0, 0.0])
    sets = neuron_patterns(X, U, alpha, kink_tolerance=1e-9, kink_cap=10)
    assert (len(sets.active), len(sets.with_inactive)) == (1, 2)


def test_the_clarke_residual_is_the_least_over_a_grid_of_slopes():
    rng = np.random.default_rng(3)
    X, y, beta = rng.standard_normal((5, 2)), rng.standard_normal(5), 0.3
    U = np.array([[-X[0, 1], X[0, 0]], [0.3, 0.7]])  # the first neuron has a kink at the first sample
    alpha = np.array([1.1, -0.4])
    found = clarke_residual(Problem(X, y, "squared", beta), U, alpha, kink_tolerance=1e-9)
    grad_u, grad_alpha = by_formula.gradient(X, y, U, alpha, beta)
    r = by_formula.predict(X, U, alpha) - y
    on = X @ U[0] > 1e-9
    grid = []
    for s in np.linspace(0, 1, 2001):
        first = alpha[0] * (X.T @ (on * r) + s * r[0] * X[0]) + beta * U[0]
        grid.append(np.sqrt(first @ first + grad_u[1] @ grad_u[1] + grad_alpha @ grad_alpha))
    assert found.value == pytest.approx(min(grid), rel=1e-5)
    assert found.value <= found.plain


def test_patterns_kept_since_initialisation():
    X = np.eye(2)
    start = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]])
    now = np.array([[2.0, 1.0], [1.0, 1.0], [-2.0, 3.0]])
    kept = kept_patterns(X, start, now)
    assert {tuple(c) for c in kept.dense.T} == {(True, True), (False, True)}


def test_kept_patterns_bound_the_network_from_above():
    case = reference("planted_20x3_b0.1")
    config = TrainConfig(beta=case.beta, epochs=500, width=60, init_scale=1.0)
    network = config.make_network(3)
    start, _ = network.weights()
    Trainer(network, case.X, case.y, case.beta, config, progress=False).fit()
    certificate = certify(network, case.X, case.y, case.beta, QUICK, initial_U=start)
    assert certificate["kept"].value >= certificate["moment"].value
    assert certificate.kept_patterns == len(kept_patterns(case.X, start, network.weights()[0]))


def test_json_round_trip_keeps_every_number_and_makes_unknown_null():
    case = reference("planted_20x3_b0.1")
    network = from_weights(*random_network(np.random.default_rng(0), 3, 4))
    certificate = certify(network, case.X, case.y, case.beta, CertifyConfig(time_budget=0.0, effort="fast"))
    text = certificate.to_json()
    assert next(e for e in json.loads(text)["estimates"] if e["name"] == "own_primal")["value"] is None
    again = Certificate.from_json(text)
    assert (certificate.stationarity, certificate.pricing) == (again.stationarity, again.pricing)
    for a, b in zip(certificate.estimates, again.estimates, strict=True):
        assert (a.name, a.status, a.meaning) == (b.name, b.status, b.meaning)
        assert a.value == b.value or (math.isnan(a.value) and math.isnan(b.value))
    assert again["objective"].status is Status.PROVED


def test_data_in_any_memory_layout_give_a_file_that_the_checker_accepts(tmp_path):
    table = np.random.default_rng(0).standard_normal((7, 2))
    X, y = table[:, :1], table[:, 1]  # views with strides; the exact bound of one column cuts by rows of X
    config = CertifyConfig(time_budget=0.0, gaussian_patterns=0)
    certificate = certify(from_weights(np.ones((1, 1)), np.ones(1)), X, y, 0.5, config)
    assert certificate.bound is not None
    claims = write_certificate(tmp_path / "cert", X, y, 0.5, certificate.bound)
    assert checker.check(checker.read_certificate(tmp_path / "cert"), X, y).claims == claims


@pytest.mark.parametrize(
    "text", ["", "{}", '{"format": 99}', '{"format": 2, "estimates": [{"name": "x"}], "notes": []}']
)
def test_a_broken_certificate_file_is_refused(text):
    with pytest.raises(CertificateError, match="not a certificate"):
        Certificate.from_json(text)


@pytest.mark.parametrize(("output", "first"), [(5.0, 0.1), (0.0, 3.0), (-0.01, 0.01)])
def test_no_bound_is_stated_of_a_model_whose_own_objective_is_below_it(output, first):
    """Targets that biases fit for nothing: L pays for them, and its bound is above what the model's training pays."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 2))
    model = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.fill_(first)
        model[2].weight.fill_(0.3)
        model[2].bias.fill_(output)
        y = model(torch.as_tensor(X))[:, 0].numpy() + 0.01 * rng.standard_normal(30)
    network = from_sequential(model, output_bias="as_neuron")
    certificate = certify(network, np.column_stack([X, np.ones(30)]), y, 1.0, QUICK)
    own = certificate.biases
    assert own is not None
    bound = certificate.lower_bound
    loss = 0.5 * float(((model(torch.as_tensor(X))[:, 0].detach().numpy() - y) ** 2).sum())
    assert own.none_decayed == pytest.approx(loss + 0.5 * 0.3**2, rel=1e-6)
    below = own.none_decayed <= bound
    assert ("says nothing of it" in certificate.verdict) == below
    assert ("no network of any width has an objective below" in certificate.verdict) != below
    assert any("its training decays all biases" in note for note in certificate.notes)
    if abs(output) + first > 1:
        assert below, "this case is here to show it"


def test_networks_that_do_not_fit_are_refused():
    case = reference("planted_20x3_b0.1")
    with pytest.raises(CertificateError, match="2 inputs, the data have 3"):
        certify(from_weights(np.ones((1, 2)), np.ones(1)), case.X, case.y, case.beta)
    with pytest.raises(CertificateError, match="overflows"):
        certify(from_weights(np.full((1, 3), 1e200), np.full(1, 1e200)), case.X, case.y, case.beta)
    with pytest.raises(ConfigError, match="time_budget"):
        CertifyConfig(time_budget=-1.0)


def test_pattern_sets_of_more_patterns_have_lower_dual_values():
    case = reference("noise_40x8_b0.1")
    few = PatternSet.from_gates(case.X, case.gates[:, :10])
    low = solve(RelaxedProgram(case.X, case.y, case.patterns, case.beta))
    high = solve(RelaxedProgram(case.X, case.y, few, case.beta))
    assert high.dual.value >= low.dual.value


WEIGHTED = ["squared", "huber:0.7", "absolute", "quantile:0.3", "hinge", "squared_hinge", "logistic"]


@pytest.mark.parametrize(
    ("spec", "weighted"), [*((spec, True) for spec in WEIGHTED), ("squared", False), ("logistic", False)]
)
def test_every_loss_is_certified_and_its_record_fits_the_schema(spec, weighted, tmp_path):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((9, 2)), rng.standard_normal(9)
    if make_loss(spec).classes:
        y = np.where(y > 0, 1.0, -1.0)
    weights = rng.integers(0, 3, 9) if weighted else None
    problem = Problem(X, y, spec, 0.2, weights)
    network = from_weights(*random_network(rng, 2, 4))
    certificate = certify(network, problem, config=QUICK)
    slack = 1 + 1e-9
    assert problem.objective(*network.weights()) <= certificate.objective
    assert certificate.objective <= problem.objective(*network.weights()) * slack
    assert 0 <= certificate.lower_bound <= min(problem.zero_value, certificate["own_primal"].value) * slack
    assert certificate["own_dual"].value <= certificate["own_primal"].value * slack
    assert certificate["own_primal"].value <= certificate["balanced"].value * slack
    jsonschema.validate(json.loads(certificate.to_json()), json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert Certificate.from_json(certificate.to_json()).settings["loss"] == problem.loss.spec
    write_certificate(tmp_path / "cert", problem, bound=certificate.bound, network=network.weights())


@pytest.mark.parametrize("spec", ["absolute", "hinge", "squared", "logistic"])
def test_a_neuron_is_said_to_lower_the_objective_where_its_price_shows_it(spec):
    """At the kinks of a loss it does not: the optimal fit of |f − y| has such prices as well."""
    X, y = np.random.default_rng(0).standard_normal((9, 2)), np.array([-1.0, 1.0, 1.0] * 3)
    certificate = certify(from_weights(np.zeros((1, 2)), np.zeros(1)), Problem(X, y, spec, 0.1), config=QUICK)
    shown = make_loss(spec).smooth
    assert ("lower the objective further" in certificate.verdict) == shown
    assert any("shows nothing" in fact for line in fact_lines(certificate) for fact in line) != shown


def test_one_time_limit_holds_for_everything():
    """With no time at all the proofs that need none still stand."""
    case = reference("diabetes_60x11_b0.1")
    network = from_weights(*random_network(np.random.default_rng(0), 11, 30))
    certificate = certify(network, case.X, case.y, case.beta, CertifyConfig(time_limit=1e-9))
    assert certificate["closed_form"].is_proved and certificate["objective"].is_proved
    assert certificate["own_dual"].is_proved
    assert not any(estimate.name in ("gaussian", "tightened") for estimate in certificate.estimates)


@pytest.mark.parametrize(("left", "tightened"), [(0.9, False), (1.1, True)])
def test_nothing_is_tightened_where_the_quick_bounds_took_longer_than_what_is_left(monkeypatch, left, tightened):
    """The first step of the others, and its proof, would end long after such a limit."""
    problem, now, raced, original = Problem(np.eye(4), np.arange(1.0, 5.0), beta=0.5), [0.0], [], bounds_below.race
    quick = [name for name, bound in BOUNDS.items() if bound.quick and bound.takes(problem)]
    clock = Clock(5.0 * len(quick) * (1.0 + left), now=lambda: now[0])

    def race(*arguments, names, **options):
        if names is None:
            raced.append(names)
        else:
            yield from original(*arguments, names=names, **options)
            now[0] += 5.0

    monkeypatch.setattr(bounds_below, "race", race)
    case = Case(problem, np.eye(4), np.ones(4), CertifyConfig(effort="standard"), clock, say=str)
    best, _ = bounds_below.lower_bounds(case, 100.0, None)
    assert best.value > 0 and bool(raced) == tightened
