"""The losses: derivatives, conjugates, exact values, envelopes, each against an independent source."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reluopt.errors import ConfigError, DataError
from reluopt.losses import LOSSES, Loss, make_loss
from reluopt.losses.envelope import Envelope

SPECS = ["squared", "huber:0.7", "absolute", "quantile:0.3", "hinge", "squared_hinge", "logistic"]
ALL = [*SPECS, "smoothed absolute", "smoothed quantile", "smoothed hinge"]
numbers = st.floats(-30, 30, allow_subnormal=False)


def loss_of(spec: str) -> Loss:
    name = spec.removeprefix("smoothed ")
    return make_loss(name) if name == spec else Envelope(make_loss(name), 0.3)


def at_an_end(loss: Loss, f: float, y: float) -> bool:
    """Whether an envelope goes over from its curved part, where prox is at the kink of ℓ, to a straight one."""
    if not isinstance(loss, Envelope):
        return False
    kink, (low, high) = (1.0 / y if loss.classes else y), (float(end[0]) for end in loss.domain(np.array([y])))
    reach = (kink - f) / loss.step
    return min(abs(reach - low), abs(reach - high)) < 1e-6


def target(loss: Loss, y: float) -> float:
    return (1.0 if y >= 0 else -1.0) if loss.classes else y


def test_every_loss_is_tried():
    assert {spec.partition(":")[0] for spec in SPECS} == set(LOSSES)


@pytest.mark.parametrize("spec", ALL)
@given(f=numbers, y=numbers)
def test_gradient_and_curvature_are_autograds(spec, f, y):
    loss = loss_of(spec)
    y = target(loss, y)
    at = torch.tensor([f], dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([y], dtype=torch.float64)
    (slope,) = torch.autograd.grad(loss.value(at, targets).sum(), at, create_graph=True)
    near = [abs(f - y), abs(abs(f - y) - 0.7), abs(y * f - 1)]
    if min(near) < 1e-6 or at_an_end(loss, f, y):  # a kink, or a jump of the derivative
        return
    assert float(loss.gradient(at.detach(), targets)) == pytest.approx(float(slope.detach()), rel=1e-9, abs=1e-12)
    assert loss.gradient(np.array([f]), np.array([y]))[0] == pytest.approx(float(slope.detach()), rel=1e-9, abs=1e-12)
    if spec in SPECS and slope.requires_grad:
        (bend,) = torch.autograd.grad(slope.sum(), at)
        assert float(loss.curvature(at.detach(), targets)) == pytest.approx(float(bend), rel=1e-7, abs=1e-10)


@pytest.mark.parametrize("spec", ALL)
@given(f=numbers, g=numbers, y=numbers)
def test_fenchel_young(spec, f, g, y):
    """ℓ(f) ≥ D(z) − fz... for all f and z, with equality at z = −ℓ'(f)."""
    loss = loss_of(spec)
    y = np.array([target(loss, y)])
    f, g = np.array([f]), np.array([g])
    z = -loss.gradient(g, y)
    lower = loss.dual(z, y) - z * f  # −ℓ*(−z) + f·(−z)
    assert loss.value(f, y)[0] >= lower[0] - 1e-9 * (1 + abs(lower[0]))
    own = loss.dual(z, y) - z * g
    assert loss.value(g, y)[0] == pytest.approx(own[0], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("spec", ALL)
def test_biconjugate_is_the_loss(spec):
    """ℓ(f) = max_z D(z) − fz, the maximum over a fine grid of the domain."""
    loss = loss_of(spec)
    for y in (-1.0, 1.0):
        low, high = (float(end[0]) for end in loss.domain(np.array([y])))
        z = np.linspace(max(low, -12), min(high, 12), 200_001)
        for f in (-3.0, -0.5, 0.2, 2.5):
            best = float((loss.dual(z, np.full_like(z, y)) - z * f).max())
            assert best == pytest.approx(float(loss.value(np.array([f]), np.array([y]))[0]), abs=1e-7)


@pytest.mark.parametrize("spec", ALL)
@given(f=numbers, y=numbers, step=st.floats(1e-3, 1e3))
def test_prox_minimises(spec, f, y, step):
    loss = loss_of(spec)
    y = np.array([target(loss, y)])
    p = float(loss.prox(np.array([f]), y, step)[0])
    around = p + np.concatenate([np.linspace(-1, 1, 41), np.linspace(-1e-3, 1e-3, 41)]) * (1 + abs(p))
    values = loss.value(around, y) + (around - f) ** 2 / (2 * step)
    own = float(loss.value(np.array([p]), y)[0]) + (p - f) ** 2 / (2 * step)
    assert own <= values.min() + 1e-9 * (1 + abs(own))


@pytest.mark.parametrize("spec", ALL)
@given(z=numbers, y=numbers, step=st.floats(1e-2, 1e2))
def test_prox_of_the_dual_maximises(spec, z, y, step):
    loss = loss_of(spec)
    y = np.array([target(loss, y)])
    low, high = (float(end[0]) for end in loss.domain(y))
    p = min(max(float(loss.prox_dual(np.array([z]), y, step)[0]), low), high)
    around = np.clip(p + np.linspace(-1, 1, 81) * (1 + abs(p)), low, high)
    values = loss.dual(around, y) - (around - z) ** 2 / (2 * step)
    own = float(loss.dual(np.array([p]), y)[0]) - (p - z) ** 2 / (2 * step)
    assert own >= values.max() - 1e-8 * (1 + abs(own))


@pytest.mark.parametrize("spec", SPECS)
@given(f=numbers, y=numbers)
def test_derivatives_of_the_dual_invert_those_of_the_loss(spec, f, y):
    loss = make_loss(spec)
    y = np.array([target(loss, y)])
    if not loss.smooth or loss.curvature(np.array([f]), y)[0] < 1e-6:
        return
    z = -loss.gradient(np.array([f]), y)
    assert loss.dual_gradient(z, y)[0] == pytest.approx(f, rel=1e-6, abs=1e-6)
    assert loss.dual_curvature(z, y)[0] == pytest.approx(1 / loss.curvature(np.array([f]), y)[0], rel=1e-5)


def mp_value(spec: str, f, y):
    name, _, parameter = spec.partition(":")
    r, margin, p = f - y, y * f, mpmath.mpf(float(parameter)) if parameter else None
    return {
        "squared": lambda: r * r / 2,
        "huber": lambda: r * r / 2 if abs(r) <= p else p * abs(r) - p * p / 2,
        "absolute": lambda: abs(r),
        "quantile": lambda: max(p * -r, (1 - p) * r),
        "hinge": lambda: max(0, 1 - margin),
        "squared_hinge": lambda: max(0, 1 - margin) ** 2 / 2,
        "logistic": lambda: mpmath.log1p(mpmath.exp(-margin)),
    }[name]()


def mp_dual(spec: str, z, y):
    name, t = spec.partition(":")[0], y * z
    if name in ("squared", "huber"):
        return y * z - z * z / 2
    if name in ("absolute", "quantile"):
        return y * z
    if name == "hinge":
        return t
    if name == "squared_hinge":
        return t - t * t / 2
    return -sum(p * mpmath.log(p) for p in (t, 1 - t) if p > 0)


@pytest.mark.parametrize("spec", SPECS)
@given(f=st.floats(-800, 800), y=numbers)
def test_exact_values_bound_those_of_mpmath(spec, f, y):
    loss = make_loss(spec)
    y = target(loss, y)
    with mpmath.workdps(60):
        true = mp_value(spec, mpmath.mpf(f), mpmath.mpf(y))
        above = loss.value_exact(Fraction(f), Fraction(y))
        above = mpmath.mpf(above.numerator) / above.denominator
        assert true * (1 - mpmath.mpf(10) ** -55) <= above <= true + mpmath.mpf(10) ** -30 * (1 + true)


@pytest.mark.parametrize("spec", SPECS)
@given(share=st.floats(0, 1), y=numbers)
def test_exact_duals_bound_those_of_mpmath(spec, share, y):
    loss = make_loss(spec)
    y = target(loss, y)
    low, high = (max(-20.0, min(20.0, float(end[0]))) for end in loss.domain(np.array([y])))
    z = min(max(low + share * (high - low), low), high)
    below = loss.dual_exact(Fraction(z), Fraction(y))
    assert below is not None
    with mpmath.workdps(60):
        true, below = mp_dual(spec, mpmath.mpf(z), mpmath.mpf(y)), mpmath.mpf(below.numerator) / below.denominator
        slack = mpmath.mpf(10) ** -30 * (abs(true) + 1)
        assert true - slack <= below <= true + mpmath.mpf(10) ** -55 * abs(true)


@pytest.mark.parametrize("spec", SPECS)
@given(z=st.floats(-5, 5), y=numbers)
def test_exact_duals_know_the_domain(spec, z, y):
    loss = make_loss(spec)
    y = target(loss, y)
    low, high = loss.domain(np.array([y]))
    inside = low[0] <= z <= high[0]
    assert inside == bool(np.isfinite(loss.dual(np.array([z]), np.array([y]))[0]))
    if inside:
        assert loss.dual_exact(Fraction(z), Fraction(y)) is not None
    for end, outward in ((low[0], -math.inf), (high[0], math.inf)):
        if math.isfinite(end):
            assert loss.dual_exact(Fraction(float(end)), Fraction(y)) is not None
            assert loss.dual_exact(Fraction(math.nextafter(math.nextafter(end, outward), outward)), Fraction(y)) is None


@pytest.mark.parametrize("spec", ["squared", "huber:0.7", "absolute", "quantile:0.3"])
@given(f=numbers, y=numbers, unit=st.floats(1e-3, 1e3))
def test_units(spec, f, y, unit):
    loss = make_loss(spec)
    scaled, size = loss.rescaled(unit)
    own = size * scaled.value(np.array([f]), np.array([y]))[0]
    assert loss.value(np.array([unit * f]), np.array([unit * y]))[0] == pytest.approx(own, rel=1e-9, abs=1e-12)


def test_spellings():
    for spec in SPECS:
        assert make_loss(make_loss(spec).spec) == make_loss(spec)
    assert make_loss("Squared-Hinge") == make_loss("squared_hinge")
    for bad in ("square", "huber:-1", "huber:x", "quantile:1", "quantile:nan", "hinge:2", ""):
        with pytest.raises(ConfigError):
            make_loss(bad)


def test_classes_are_asked_for():
    with pytest.raises(DataError, match="two classes"):
        make_loss("logistic").check_targets(np.array([0.0, 1.0]))
