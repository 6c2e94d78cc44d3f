"""Bounds from outside: proved again, whatever they say; announced by packages; refused if they are none."""

from __future__ import annotations

import dataclasses
from importlib.metadata import EntryPoint
from typing import ClassVar

import numpy as np
import pytest

import reluopt
from reluopt.bounds import Bound, closed_form, moment, plugins
from reluopt.bounds.evidence import Evidence, Multipliers, Region
from reluopt.certificate.reading import proved_again
from reluopt.errors import CertificateError, ConfigError
from reluopt.search.solving import solve_problem

FAST = reluopt.CertifyConfig(effort="fast", gaussian_patterns=0, time_budget=0.0)


class Boasting(Bound):
    """A bound whose evidence is that of the closed form, and whose value is made up."""

    name: ClassVar[str] = "boasting"

    def suits(self, problem):
        return True

    def run(self, problem, start, clock, device="cpu"):
        yield dataclasses.replace(closed_form(problem), value=1e9)


@pytest.fixture(scope="module")
def case():
    data = reluopt.planted(n=12, d=2, width=2, noise=0.1, seed=0)
    problem = reluopt.Problem(data.X, data.y, beta=0.3 * reluopt.beta_max_estimate(data.X, data.y))
    return reluopt.from_weights(np.ones((1, 2)), np.ones(1)), problem


def test_what_a_bound_says_of_itself_is_not_believed(case):
    network, problem = case
    certificate = reluopt.certify(network, problem, config=FAST, extra_bounds=[Boasting()])
    assert certificate["boasting"].value == pytest.approx(closed_form(problem).value, rel=1e-9)
    assert certificate.lower_bound <= certificate.objective


def test_packages_announce_bounds(monkeypatch):
    entries = [
        EntryPoint("mine", f"{__name__}:Boasting", plugins.GROUP),
        EntryPoint("broken", "no_such_module:Nothing", plugins.GROUP),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
    monkeypatch.setattr(EntryPoint, "load", lambda entry: Boasting if entry.name == "mine" else 1 / 0)
    assert [bound.name for bound in plugins.installed_bounds()] == ["boasting"]


def test_what_is_no_bound_is_refused_before_any_work(case):
    network, problem = case
    with pytest.raises(ConfigError):
        reluopt.certify(network, problem, config=FAST, extra_bounds=["moment"])


def all_off(problem, bound):
    """Regions that leave out half of u-space and more: where every sample is off."""
    k = problem.n
    nothing = Multipliers(np.zeros((1 + k, k)), np.zeros((1 + k, k)), np.zeros(k), ())
    region = Region(-problem.X, (), nothing, nothing)
    evidence = Evidence(problem.y, -problem.X, np.array([[-1, 0, -1]]), (region,))
    return dataclasses.replace(bound, evidence=evidence)


def no_region(problem, bound):
    return dataclasses.replace(bound, evidence=dataclasses.replace(bound.evidence, regions=()))


def too_short(problem, bound):
    return dataclasses.replace(bound, evidence=dataclasses.replace(bound.evidence, z=bound.evidence.z[:-1]))


def breaking(problem, bound):
    raise RuntimeError("it broke")


def named(change):
    class Misled(Bound):
        name: ClassVar[str] = "misled"

        def run(self, problem, start, clock, device="cpu"):
            yield change(problem, closed_form(problem))

    return Misled()


@pytest.mark.parametrize("change", [all_off, no_region, too_short, breaking])
def test_evidence_that_is_none_and_a_bound_that_breaks_are_notes(case, change):
    network, problem = case
    certificate = reluopt.certify(network, problem, config=FAST, extra_bounds=[named(change)])
    assert "misled" not in {estimate.name for estimate in certificate.estimates}
    assert any("misled" in note for note in certificate.notes)
    assert certificate.lower_bound == reluopt.certify(network, problem, config=FAST).lower_bound


def test_evidence_in_single_precision_is_proved_in_double(case):
    """Its numbers are exact; arithmetic in single precision would round more than is accounted for."""
    network, problem = case

    def single(problem, bound):
        def rounded(m):
            w, c, nu = (part.astype(np.float32) for part in (m.w, m.c, m.nu))
            return Multipliers(np.where(w > 0, np.nextafter(w, np.float32(np.inf)), w), c, nu, ())

        (region,) = bound.evidence.regions
        region = dataclasses.replace(region, positive=rounded(region.positive), negative=rounded(region.negative))
        z = bound.evidence.z.astype(np.float32)
        return dataclasses.replace(bound, evidence=dataclasses.replace(bound.evidence, z=z, regions=(region,)))

    certificate = reluopt.certify(network, problem, config=FAST, extra_bounds=[named(single)])
    assert certificate["misled"].is_proved
    bound = proved_again(problem, single(problem, closed_form(problem)), "single")
    (region,) = bound.evidence.regions
    assert {part.dtype for part in (bound.evidence.z, region.positive.w, region.positive.nu)} == {np.dtype(float)}
    assert certificate["misled"].value == bound.value


def test_a_bound_that_is_given_is_proved_for_the_problem_that_is_given(case):
    """A bound for a larger β is none for a smaller one: only its evidence counts."""
    network, problem = case
    smaller = problem.with_beta(0.01 * problem.beta)
    known = moment(problem)
    certificate = reluopt.certify(network, smaller, config=FAST, bound=known)
    better = solve_problem(smaller, gap=0.5, budget=5.0)
    assert certificate.lower_bound <= better.objective < known.value
    again = reluopt.certify(network, problem, config=FAST, bound=known)
    assert again.lower_bound == pytest.approx(known.value, rel=1e-12)
    with pytest.raises(CertificateError):
        reluopt.certify(network, problem.select(np.arange(problem.n - 1)), config=FAST, bound=known)
