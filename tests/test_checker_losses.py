"""The checker's losses: Fenchel's inequality in rational numbers, the ends of the domains, mpmath with 60 digits."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
import test_checker as oracle
from counts import tries

from reluopt.certificate import checker
from reluopt.certificate.checker import losses

ZERO, ONE = Fraction(0), Fraction(1)


def ends(loss, y, kappa):
    """(low, high) of the domain of v, None where it has no end."""
    name = loss["name"]
    if name == "squared":
        return None, None
    if name in ("huber", "absolute", "quantile"):
        high = {"huber": loss.get("delta"), "absolute": 1, "quantile": loss.get("tau")}[name]
        low = -Fraction(high) if name != "quantile" else Fraction(high) - 1
        return low * kappa, Fraction(high) * kappa
    reach = None if name == "squared_hinge" else y * kappa
    return (ZERO, reach) if y > 0 else (reach, ZERO)


@pytest.mark.parametrize("loss", oracle.LOSSES, ids=lambda loss: loss["name"])
def test_dual_values_obey_fenchel_and_end_where_the_domain_ends(loss):
    rng, read = np.random.default_rng(0), oracle.read_loss(loss)
    classes = loss["name"] in losses.OF_CLASSES
    for _ in range(tries(4, 15)):
        y = Fraction(float(rng.choice([-1.0, 1.0]) if classes else rng.standard_normal()))
        kappa = Fraction(float(rng.uniform(0.1, 3)))
        low, high = ends(loss, y, kappa)
        left, right = (-3 * kappa if low is None else low), (3 * kappa if high is None else high)
        inside = left + (right - left) * Fraction(float(rng.random()))
        for v in (left, right, inside, ZERO):
            for f in (ZERO, y, Fraction(float(3 * rng.standard_normal()))):
                assert read.dual(v, y, kappa) <= kappa * read.value(f, y) + v * f
        for end, step in ((low, -1), (high, 1)):
            if end is not None:
                with pytest.raises(checker.Refused, match="outside of the domain"):
                    read.dual(end + step * Fraction(1, 2**300), y, kappa)
        assert read.dual(ZERO, y, ZERO) == 0
        with pytest.raises(checker.Refused, match="weight 0"):
            read.dual(Fraction(1, 2**300), y, ZERO)


@pytest.mark.parametrize("margin", ["-300", "-200", "-40", "-1e-30", "0", "1e-30", "0.7", "40", "800"])
def test_the_logistic_loss_is_above_and_close(margin):
    a = Fraction(margin)
    bound = losses.softplus_above(a)
    with mpmath.workdps(120):
        x = mpmath.mpf(a.numerator) / a.denominator
        exact = x + mpmath.log1p(mpmath.exp(-x)) if x > 0 else mpmath.log1p(mpmath.exp(x))
        value = mpmath.mpf(bound.numerator) / bound.denominator
        assert value >= exact
        assert value <= exact * (1 + mpmath.mpf(10) ** -36) + mpmath.mpf(10) ** -38


@pytest.mark.parametrize(
    "share", [ZERO, Fraction(1, 2**900), Fraction(1, 3), Fraction(1, 2), 1 - Fraction(1, 2**200), ONE]
)
def test_the_entropy_is_below_and_close(share):
    kappa, y = Fraction(7, 3), -ONE
    bound = oracle.read_loss({"name": "logistic"}).dual(y * kappa * share, y, kappa)
    with mpmath.workdps(400):
        p, k = (mpmath.mpf(v.numerator) / v.denominator for v in (share, kappa))
        exact = -k * sum(q * mpmath.log(q) for q in (p, 1 - p) if q > 0)
        value = mpmath.mpf(bound.numerator) / bound.denominator
        assert 0 <= value <= exact
        assert value >= exact * (1 - mpmath.mpf(10) ** -36) - k * mpmath.mpf(10) ** -36


@pytest.mark.parametrize("p", [Fraction(1), 1 - Fraction(1, 2**400)])
def test_the_logarithm_of_one_is_not_computed(p, monkeypatch):
    """ln 1 = 0 exactly; the decimal number next to it has a million places, and would be a second's work a sample."""
    monkeypatch.setattr(losses, "_NEAREST", None)
    assert losses.minus_ln_below(p) == 0
