"""Losses, solvers and programs from outside: by argument and by name, tried before they are used, not believed."""

from __future__ import annotations

import dataclasses
import re
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from commands import PLANTED, QUICK
from commands import reluopt as command

import reluopt
from reluopt import losses
from reluopt.errors import ConfigError, SolverError
from reluopt.losses import LOSSES, Squared, check_loss, make_loss
from reluopt.programs.penalties import GroupNorm
from reluopt.solvers import NativeSolver, Solution, Status
from reluopt.solvers.foreign import require_solver
from reluopt.training import TrainConfig

PAGES = Path(__file__).resolve().parents[1] / "docs" / "how-to"
OWN = ("own-bound", "own-loss", "own-solver", "own-program")


@pytest.fixture
def page(request, tmp_path, monkeypatch):
    """The page's package, installed as pip would: the module, and its entry points."""
    text = (PAGES / f"{request.param}.md").read_text(encoding="utf-8")
    module, *rest = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert module.startswith("# my_package.py")
    about = tmp_path / "my_package-1.0.dist-info"
    about.mkdir()
    (tmp_path / "my_package.py").write_text(module, encoding="utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n", encoding="utf-8")
    announced = re.findall(r'\[project\.entry-points\."(.*?)"\]\n(\w+ = )"(.*?)"', text)
    lines = [f"[{group}]\n{name}{target}\n" for group, name, target in announced]
    (about / "entry_points.txt").write_text("".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_package", raising=False)
    yield rest
    sys.modules.pop("my_package", None)


@pytest.mark.parametrize("page", OWN, indirect=True)
def test_the_example_of_the_page_runs(page):
    assert len(page) == 1
    exec(compile(page[0], "page", "exec"), {})


@pytest.mark.parametrize("page", ["own-loss"], indirect=True)
def test_a_loss_by_its_name_is_trained_with_and_certified_and_unknown_to_the_checker(page, tmp_path):
    assert make_loss("insensitive:0.25").epsilon == 0.25
    assert make_loss(make_loss("insensitive:0.25").spec) == make_loss("insensitive:0.25")
    run = ("train", *PLANTED, "--epochs", "3", "--width", "2", "--out", "run", "--loss", "insensitive:0.25")
    assert command(*run, cwd=tmp_path).returncode == 0
    done = command("certify", "run", *QUICK, "--time-limit", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "reluopt verify" not in done.stdout and "no proof file" in done.stdout
    refused = command("verify", "run", cwd=tmp_path)
    assert refused.returncode == 2 and "insensitive" in refused.stderr
    assert command("report", "run", "--out", "page.html", cwd=tmp_path).returncode == 0
    assert "does not know the insensitive loss" in (tmp_path / "page.html").read_text(encoding="utf-8")
    solve = ("solve", *PLANTED, "--loss", "insensitive", "--budget", "1", "--gap", "10", "--out", "solved")
    done = command(*solve, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for bad in ("insensitive:nan", "insensitive:x"):
        with pytest.raises(ConfigError):
            make_loss(bad)


@pytest.mark.parametrize("page", ["own-loss"], indirect=True)
def test_what_rests_on_the_word_of_a_loss_says_so(page, caplog):
    losses._say_what_proofs_rest_on.cache_clear()  # another test of this process may have heard it
    problem = reluopt.Problem(np.eye(3), np.arange(3.0), loss=make_loss("insensitive:0.3"), beta=0.5)
    assert sum("insensitive" in record.message for record in caplog.records) == 1  # once, whatever its parameter
    network, quick = reluopt.TrainConfig(width=2).make_network(3), reluopt.CertifyConfig(effort="fast", time_limit=0.5)
    assert reluopt.certify(network, problem, config=quick).verdict.startswith("If the insensitive loss states its conj")
    assert "If the" not in reluopt.certify(network, np.eye(3), np.arange(3.0), 0.5, config=quick).verdict


def test_no_loss_from_outside_is_taken_for_one_that_the_checker_knows():
    class Mine(Squared):
        """Another loss under a name that the checker knows."""

        def value(self, f, y):
            return 2.0 * super().value(f, y)

    with pytest.raises(ConfigError, match="named 'squared'"):
        reluopt.Problem(np.eye(2), np.ones(2), loss=Mine(), beta=0.1)


@pytest.mark.parametrize("page", ["own-solver"], indirect=True)
def test_a_solver_by_its_name(page):
    data = reluopt.planted(n=8, d=2, width=1, noise=0.1, seed=0)
    patterns = reluopt.sample_patterns(data.X, 2, np.random.default_rng(0))
    program = reluopt.GatedProgram(data.X, data.y, patterns, beta=1.0)
    assert reluopt.solve(program, "proximal").solver == "proximal"
    with pytest.raises(ConfigError, match="proximal"):
        reluopt.solve(program, "no such")
    config = reluopt.CertifyConfig(solver="proximal", effort="fast", gaussian_patterns=2)
    network = reluopt.from_weights(np.ones((1, 2)), np.ones(1))
    certificate = reluopt.certify(network, data.X, data.y, 1.0, config=config)
    assert any("proximal solver does not take" in note for note in certificate.notes)
    assert certificate["own_primal"].method == "native"


def test_a_solver_that_nobody_announces_is_refused_where_it_is_set():
    with pytest.raises(ConfigError):
        require_solver(object())
    with pytest.raises(ConfigError, match="clarabel"):
        reluopt.CertifyConfig(solver="proximal")


@dataclasses.dataclass(frozen=True)
class Outside:
    """A solver that hands on what the native one finds, changed."""

    change: object
    name = "outside"

    def supports(self, program):
        return isinstance(program.penalty, GroupNorm)

    def solve(self, program, warm_start=None):
        return self.change(NativeSolver().solve(program))


@pytest.fixture(scope="module")
def program():
    data = reluopt.planted(n=10, d=2, width=2, noise=0.1, seed=0)
    patterns = reluopt.sample_patterns(data.X, 3, np.random.default_rng(0))
    return reluopt.RelaxedProgram(data.X, data.y, patterns, beta=1.0)


def test_what_a_solver_says_of_itself_is_not_believed(program):
    honest = reluopt.solve(program)

    def boast(found: Solution) -> Solution:
        dual = dataclasses.replace(found.dual, value=1e9, z=0.0 * found.z)
        return dataclasses.replace(found, blocks=-found.blocks, value=0.0, dual=dual, cone_violation=0.0)

    found = reluopt.solve(program, Outside(boast))
    assert found.dual.value <= honest.value * (1 + 1e-9) <= found.value * (1 + 1e-6)
    assert found.cone_violation <= 1e-9 and found.value == program.value(found.blocks)
    assert found.status is Status.INACCURATE
    assert reluopt.solve(program, Outside(lambda found: found)).status is Status.CONVERGED


def test_nor_what_one_derived_from_ours_says(program):
    class Boaster(NativeSolver):
        def solve(self, program, warm_start=None):
            return dataclasses.replace(super().solve(program, warm_start), value=0.0)

    assert reluopt.solve(program, Boaster()).value == pytest.approx(reluopt.solve(program).value, rel=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda found: 1 / 0,
        lambda found: None,
        lambda found: dataclasses.replace(found, blocks=found.blocks[:1]),
        lambda found: dataclasses.replace(found, blocks=np.nan * found.blocks),
        lambda found: dataclasses.replace(found, blocks="blocks"),
    ],
)
def test_a_solver_that_breaks_is_named(program, change):
    with pytest.raises(SolverError, match="outside"):
        reluopt.solve(program, Outside(change))


class Wrong(Squared):
    """The squared loss, with a slip."""

    name = "wrong"


SLIPS = {
    "a conjugate that is too large": {"dual_exact": lambda self, z, y: z * y, "dual": lambda self, z, y: z * y},
    "exact and not the same": {"dual_exact": lambda self, z, y: z * y - z * z},
    "a value that is too small": {"value_exact": lambda self, f, y: Fraction(0)},
    "half of the slope": {"gradient": lambda self, f, y: 0.5 * (f - y)},
    "another prox": {"prox": lambda self, f, y, step: (f + y) / 2},
    "no curvature of the value": {"value": lambda self, f, y: -0.5 * (f - y) ** 2},
    "other units": {"rescaled": lambda self, unit: (self, unit)},
    "a domain that is not its own": {"dual_exact": lambda self, z, y: None},
    "something broken": {"prox": lambda self, f, y, step: f.no_such},
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_loss_with_a_slip_is_refused_before_any_work(slip):
    loss = type("Slip", (Wrong,), SLIPS[slip])()
    with pytest.raises(ConfigError, match="wrong"):
        reluopt.Problem(np.eye(2), np.ones(2), loss=loss)


@pytest.mark.parametrize("name", [*LOSSES, "quantile:0.9", "huber:0.3"])
def test_the_losses_of_the_package_are_consistent(name):
    check_loss(make_loss(name))


def test_what_is_announced_and_is_none_is_refused(tmp_path, monkeypatch):
    about = tmp_path / "odd-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n", encoding="utf-8")
    lines = "[reluopt.losses]\nmath = math:pi\ngone = no_such_module:Loss\n[reluopt.solvers]\nodd = math:sqrt\n"
    (about / "entry_points.txt").write_text(lines, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("math", "gone"):
        with pytest.raises(ConfigError, match=name):
            TrainConfig(loss=name)
    with pytest.raises(ConfigError, match="odd"):
        reluopt.solvers.make_solver("odd")
    with pytest.raises(ConfigError, match="math"):  # what is there is named
        make_loss("no_such_loss")
