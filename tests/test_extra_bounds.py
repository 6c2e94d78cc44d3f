"""Bounds from outside: proved again, whatever they say; announced by packages; refused if they are none."""

from __future__ import annotations

import dataclasses
from importlib.metadata import EntryPoint
from typing import ClassVar

import numpy as np
import pytest

import reluopt
from reluopt.bounds import Bound, closed_form, plugins
from reluopt.errors import ConfigError

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
