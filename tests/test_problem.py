"""The problem object: the gate for arrays, weights as repetitions, units, and its proved dual value."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from arrays import REFUSED, TAKEN
from hypothesis import given
from hypothesis import strategies as st

from reluopt import (
    DataConfig,
    Dataset,
    DriftRecorder,
    RelaxedProgram,
    TrainConfig,
    all_patterns,
    beta_max_estimate,
    load_dataset,
    price,
    refine,
    sample_patterns,
    solve_problem,
)
from reluopt.errors import ConfigError, DataError, ReluoptError
from reluopt.losses import LOSSES, make_loss
from reluopt.losses.rationals import largest_multiple, loss_upper
from reluopt.problem import Problem, as_problem

SPECS = ["squared", "huber:0.7", "absolute", "quantile:0.3", "hinge", "squared_hinge", "logistic"]
rng = np.random.default_rng(0)


def problem_of(spec: str, n: int = 12, d: int = 3, weighted: bool = False, seed: int = 0) -> Problem:
    r = np.random.default_rng(seed)
    X, y = r.standard_normal((n, d)), r.standard_normal(n)
    if make_loss(spec).classes:
        y = np.where(y > 0, 1.0, -1.0)
    return Problem(X, y, spec, 0.3, r.integers(0, 4, n) if weighted else None)


X, y = rng.standard_normal((6, 2)), rng.standard_normal(6)


@pytest.mark.parametrize(
    "same",
    [
        lambda X, y: (torch.tensor(X), torch.tensor(y)),
        lambda X, y: (torch.tensor(X, requires_grad=True), torch.tensor(y[:, None], requires_grad=True)),
        lambda X, y: (X.tolist(), y.tolist()),
        lambda X, y: (X.tolist(), y[:, None]),
        lambda X, y: (pd.DataFrame(X), pd.Series(y)),
        lambda X, y: (np.asfortranarray(X), y),
        lambda X, y: (X[::-1][::-1], y[::-1][::-1]),
        lambda X, y: (X.astype(object), y.astype(object)),
        lambda X, y: (X.astype(np.longdouble), y),
    ],
)
def test_the_gate_takes_what_people_have(same):
    made = Problem(*same(X, y), "squared", torch.tensor(0.5))
    assert made.fingerprint == Problem(X, y, "squared", 0.5).fingerprint
    assert made.X.flags.c_contiguous and made.X.dtype == np.float64 and made.beta == 0.5


def test_the_gate_takes_other_precisions():
    for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.bool):
        made = Problem(torch.ones(3, 2).to(dtype), torch.tensor([1.0, 2.0, 3.0]), "squared", 1)
        assert (made.X == 1).all()
    with np.errstate(all="raise"):
        assert Problem(X.astype(np.float32), y.astype(np.float16), "squared", 1).n == 6


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ((X * np.nan, y), "NaN"),
        ((X + np.inf, y), "infinite"),
        ((X * 1e200, y), "large"),
        ((X, y[:-1]), "length"),
        ((X, np.stack([y, y], 1)[None]), "shape"),
        ((X, np.zeros((6, 0))), "shape"),
        ((X[0], y), "matrix"),
        ((X[:0], y[:0]), "shape"),
        ((X + 1j, y), "complex"),
        ((scipy.sparse.csr_matrix(X), y), "sparse"),
        ((torch.tensor(X).to_sparse(), y), "sparse"),
        (([[1, 2], [3]], [1, 2]), "equal rows"),
        (([["a", "b"]] * 6, y), "numbers"),
        ((X, ["a"] * 6), "numbers"),
        ((np.array([["2020-01-01"]] * 6, dtype="datetime64[D]"), y), "type"),
    ],
)
def test_the_gate_names_the_true_cause(bad, word):
    with np.errstate(all="raise"), pytest.raises(DataError, match=word):
        Problem(*bad, "squared", 1.0)


WHOLE = np.column_stack([np.arange(6) % 3, np.arange(6) % 2 + 1]).astype(float)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, of what is in beta there
@pytest.mark.parametrize("kind", TAKEN)
def test_every_kind_that_holds_the_numbers_is_taken(kind):
    np.testing.assert_array_equal(Problem(TAKEN[kind](WHOLE), y).X, WHOLE)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", REFUSED)
def test_no_kind_loses_a_part_without_a_word(kind):
    make, words = REFUSED[kind]
    with pytest.raises(DataError, match=f"(?s){words}"):
        Problem(make(WHOLE), y)


@pytest.mark.parametrize("size", [1e-310, 1e-200, 1e-78])
def test_numbers_whose_products_vanish_are_refused(size):
    for made in (lambda: Problem(size * WHOLE, y), lambda: Problem(WHOLE, size * np.sign(y))):
        with pytest.raises(DataError, match="too small"):
            made()
    assert Problem(0 * WHOLE, 0 * y).n == 6
    columns = np.column_stack([size * WHOLE[:, 0], WHOLE[:, 1]])  # one of them alone is only useless
    assert Problem(columns, y).n == 6


@pytest.mark.parametrize("beta", [0, -1, math.nan, math.inf, "1", None, True, 1j, [1, 2], torch.ones(2), 10**400])
def test_beta_is_a_positive_number(beta):
    with pytest.raises(ConfigError):
        Problem(X, y, "squared", beta)


def test_a_number_that_python_does_not_print_is_refused_in_words():
    with pytest.raises(ConfigError, match="β is a int too long to print"):
        Problem(X, y, beta=10**5000)
    with pytest.raises(DataError, match="too large for float64"):
        Problem([[10**5000, 1.0]] * 6, y)


@pytest.mark.parametrize("weights", [-np.ones(6), np.zeros(6), np.ones(5), np.full(6, np.nan)])
def test_weights_that_cannot_be_used(weights):
    with pytest.raises(DataError):
        Problem(X, y, "squared", 1.0, weights)


def test_a_triple_becomes_a_problem():
    made = as_problem(X, y, 0.5)
    assert as_problem(made) is made
    with pytest.raises(ReluoptError):
        as_problem(made, y)
    with pytest.raises(ReluoptError):
        as_problem(X, y)


@pytest.mark.parametrize("spec", SPECS)
def test_weights_are_repetitions(spec):
    one = problem_of(spec, weighted=True)
    many = Problem(
        np.repeat(one.X, one.weights.astype(int), axis=0), np.repeat(one.y, one.weights.astype(int)), spec, one.beta
    )
    U, alpha = rng.standard_normal((4, 3)), rng.standard_normal(4)
    assert one.objective(U, alpha) == pytest.approx(many.objective(U, alpha))
    z = one.dual_point(one.predict(U, alpha))
    spread = np.repeat(np.where(one.weights > 0, z / np.maximum(one.weights, 1), 0), one.weights.astype(int))
    assert one.dual_value(z) == pytest.approx(many.dual_value(spread))
    for u in rng.standard_normal((5, 3)):
        assert z @ np.maximum(one.X @ u, 0) == pytest.approx(spread @ np.maximum(many.X @ u, 0))
    assert one.proved_value(z, 3.0)[0] == pytest.approx(many.proved_value(spread, 3.0)[0], rel=1e-9)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("weighted", [False, True])
def test_weak_duality_and_the_best_multiple(spec, weighted):
    problem = problem_of(spec, weighted=weighted)
    for seed in range(20):
        r = np.random.default_rng(seed)
        U, alpha = r.standard_normal((4, 3)), r.standard_normal(4)
        z, bound = problem.dual_point(problem.predict(U, alpha)), float(r.uniform(0.1, 5))
        value, t = problem.proved_value(z, bound)
        assert Fraction(t) * Fraction(bound) <= Fraction(problem.beta)
        # value is the dual value of tz, and no other multiple that is allowed is better
        assert value <= problem.dual_value(t * z) + 1e-9
        most = largest_multiple(problem.loss, z, problem.y, problem.weights, bound, problem.beta)
        others = [problem.dual_value(s * z) for s in np.linspace(0, min(most, 1e3), 400)]
        assert value >= max(others) - 1e-9 * (1 + abs(value))


@pytest.mark.parametrize("spec", SPECS)
def test_bounds_of_dual_zero_and_of_infinite_support(spec):
    problem = problem_of(spec)
    for z, bound in (
        (np.zeros(problem.n), 1.0),
        (problem.zero_dual_point, math.inf),
        (np.full(problem.n, np.nan), 1.0),
    ):
        assert problem.proved_value(z, bound) == (0.0, 0.0)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("weighted", [False, True])
def test_scaled_problems_are_the_same_problem(spec, weighted):
    problem = problem_of(spec, weighted=weighted)
    small, units = problem.scaled()
    U, alpha = rng.standard_normal((4, 3)), rng.standard_normal(4)
    assert np.linalg.norm(small.X, 2) == pytest.approx(math.sqrt(problem.n))
    scaled = units.weight * U, units.weight * alpha
    assert problem.objective(*scaled) == pytest.approx(units.value * small.objective(U, alpha))
    z = small.dual_point(small.predict(U, alpha))
    assert units.z * z == pytest.approx(problem.dual_point(problem.predict(*scaled)))


@pytest.mark.parametrize("spec", SPECS)
@given(seed=st.integers(0, 1000))
def test_loss_upper_holds_over_intervals(spec, seed):
    problem, r = problem_of(spec, weighted=True, seed=seed), np.random.default_rng(seed)
    low = r.standard_normal(problem.n) * 3
    high = low + r.random(problem.n)
    bound = loss_upper(problem.loss, low, high, problem.y, problem.weights)
    for share in (0.0, 0.3, 1.0):
        assert problem.loss_value(low + share * (high - low)) <= bound * (1 + 1e-12)
    assert loss_upper(problem.loss, low, high * np.inf, problem.y, problem.weights) == math.inf


def test_every_loss_has_a_problem():
    assert {make_loss(spec).name for spec in SPECS} == set(LOSSES)


ENTRIES = {
    "beta_max_estimate": beta_max_estimate,
    "price": lambda X, y: price(X, y, np.random.default_rng(0)).value,
    "sample_patterns": lambda X, y: len(sample_patterns(X, 5, np.random.default_rng(0))),
    "all_patterns": lambda X, y: len(all_patterns(X)),
    "DriftRecorder": lambda X, y: len(DriftRecorder(X).X),
    "Problem": lambda X, y: len(Problem(X, y, beta=1.0).X),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("entry", ENTRIES)
def test_what_takes_samples_takes_them_as_people_have_them_or_says_why_not(entry: str) -> None:
    rng = np.random.default_rng(0)
    X, y, call = rng.standard_normal((7, 2)), rng.standard_normal(7), ENTRIES[entry]
    taken = [(X[::-1], y[::-1]), (X.tolist(), y.tolist()), (pd.DataFrame(X), pd.Series(y)), (X.astype(object), y)]
    taken += [(torch.from_numpy(X).requires_grad_(), torch.from_numpy(y)), (np.ma.masked_greater(X, 9), y)]
    with np.errstate(all="raise"):
        assert all(call(*case) == pytest.approx(call(X, y), rel=1e-6) for case in taken)
        missing = np.ma.masked_greater(X, 0)
        for bad in (X + 1j, scipy.sparse.csr_array(X), X.astype(str), X[:, 0], X[:0], missing, 1e200 * X):
            with pytest.raises(DataError):
                call(bad, y)


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_data_set_stands_in_the_place_of_x_and_y(entry: str) -> None:
    data, call = Dataset.from_arrays(X, y, bias=True), ENTRIES[entry]
    for own in (data.y, -data.y):
        assert call(data, own) == pytest.approx(call(data.X, own), rel=1e-12)


def test_a_data_set_has_its_own_targets() -> None:
    data, made = Dataset.from_arrays(X, y), Problem(X, y, beta=0.5)
    assert Problem(data, beta=0.5).fingerprint == as_problem(data, beta=0.5).fingerprint == made.fingerprint
    assert Problem(data, -y).fingerprint == Problem(X, -y).fingerprint
    assert TrainConfig(beta=0.5).make_problem(data).fingerprint == made.fingerprint
    assert beta_max_estimate(data) == beta_max_estimate(X, y)
    patterns = sample_patterns(data, 5, np.random.default_rng(0))
    assert RelaxedProgram(data, patterns, beta=0.5).problem.fingerprint == made.fingerprint
    for lacking in (lambda: RelaxedProgram(data, patterns), lambda: solve_problem(data), lambda: refine(data)):
        with pytest.raises(ConfigError, match="The weight decay β is missing"):
            lacking()
    with pytest.raises(DataError, match="no y"):
        beta_max_estimate(X)
    frame = pd.DataFrame({"X": X[:, 0], "y": y})  # its columns are no parts of it
    with pytest.raises(ConfigError, match="Targets y"):
        as_problem(frame, beta=0.5)


def test_a_data_set_of_patches_brings_its_pooling() -> None:
    whole = load_dataset(DataConfig(dataset="digits", subset=12, patches=4, stride=4))
    assert Problem(whole).pooling is not None and Problem(whole).n == 12 == len(whole.y)
    assert beta_max_estimate(whole) == pytest.approx(beta_max_estimate(Problem(whole)))
    z = whole.y
    assert price(whole, z, np.random.default_rng(0)).value == pytest.approx(
        price(Problem(whole), z, np.random.default_rng(0)).value
    )
    with pytest.raises(ConfigError, match="pooling"):
        as_problem(whole, beta=1.0, pooling=Problem(whole).pooling)


def test_classes_of_a_loss_that_needs_them_come_by_the_remedy_of_the_message() -> None:
    with pytest.raises(DataError, match=r"task=.classification.*positive=LABEL"):
        Problem(X, y, "logistic")
    two, three = (Dataset.from_arrays(X, labels, **how) for labels, how in (
        ([3, 5] * 3, {"task": "classification"}), ([3, 5, 7] * 2, {"positive": "5"})
    ))  # fmt: skip
    assert Problem(two, loss="logistic").n == Problem(three, loss="logistic").n == 6
