"""solve_problem: what it says about its end holds."""

import itertools
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counts import tries

from reluopt import Problem, bounds, from_weights
from reluopt.beta_max import beta_max_estimate
from reluopt.bounds import moment
from reluopt.bounds.registry import BOUNDS
from reluopt.certificate import checker
from reluopt.certificate.file import write_certificate
from reluopt.certificate.reading import read_bound
from reluopt.clock import Clock
from reluopt.errors import CertificateError, ConfigError, DataError
from reluopt.interrupts import Interrupted, exit_code
from reluopt.losses import LOSSES, make_loss
from reluopt.pricing import price
from reluopt.search import bounding, records, rounds, solving
from reluopt.search.records import Earlier, Solved, SolveInterrupted
from reluopt.search.refinement import refinements
from reluopt.search.solving import solve_problem


def problem(seed: int, n: int = 30, d: int = 4, loss: str = "squared", share: float = 0.1) -> Problem:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.abs(X @ rng.standard_normal(d)) - 1.0 + 0.1 * rng.standard_normal(n)
    y = np.where(y > 0, 1.0, -1.0) if make_loss(loss).classes else y
    made = Problem(X, y, loss, 1.0, rng.integers(1, 3, n).astype(float))
    return made.with_beta(share * beta_max_estimate(made))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_closed_gap_is_proved(loss: str) -> None:
    made, lines = problem(1, loss=loss), []
    solved = solve_problem(made, gap=0.5, budget=120.0, callback=lines.append)
    assert solved.status == "gap" and solved.gap <= 0.5 and solved.bound is not None
    value = made.objective(*solved.network.weights())
    assert value <= solved.objective <= value * (1 + 1e-9)
    assert Fraction(solved.objective) <= Fraction(solved.bound.value) * (1 + Fraction(solved.gap))
    # the bound is one: its evidence proves it again, and no other network is below it
    assert bounds.lower_bound.prove(made, solved.bound.evidence, method="", started=0.0).value == solved.bound.value
    assert tuple(lines) == solved.trace
    values, below, seconds = ([getattr(line, name) for line in lines] for name in ("objective", "bound", "seconds"))
    assert (np.diff(values) <= 0).all() and sorted(below) == below and sorted(seconds) == seconds


def test_what_cannot_be_closed_ends_with_the_budget() -> None:
    made = problem(2, n=60, d=8, share=0.01)
    solved = solve_problem(made, gap=1e-9, budget=3.0)
    assert solved.status == "budget" and solved.gap > 1e-9
    assert solved.objective < made.zero_value


@pytest.mark.parametrize("seed", [11 * k % 20 for k in range(tries(4, 20))])
def test_at_small_rank_the_optimum_is_reached_and_proved(seed: int, tmp_path: Path) -> None:
    """Rank 1 to 3, with more columns than rank too, three losses: L and the bound meet, and the checker agrees."""
    rng = np.random.default_rng([15, seed])
    n, rank = int(rng.integers(6, 11)), 1 + seed % 3
    X = rng.standard_normal((n, rank))
    if seed % 4 == 3:
        X = X @ rng.standard_normal((rank, rank + 2))
    loss = ["squared", "logistic", "huber:0.5"][(seed // 3) % 3]
    y = np.abs(X[:, 0]) - 0.5 + 0.3 * rng.standard_normal(n)
    made = Problem(X, np.where(y > 0, 1.0, -1.0) if make_loss(loss).classes else y, loss, 1.0)
    made = made.with_beta([0.2, 0.05][seed % 2] * beta_max_estimate(made))
    solved, path = solve_problem(made, gap=1e-4, budget=120.0, tolerance=1e-6), tmp_path / "proof.safetensors"
    assert solved.status == "gap" and solved.gap <= 1e-4 and solved.objective < 0.99 * made.zero_value
    write_certificate(path, made, bound=solved.bound, network=solved.network.weights())
    verdict = checker.check(checker.read_certificate(path), made.X, made.targets)
    assert verdict.claims["ratio_at_most"] <= 1 + 1e-4 * (1 + 1e-9)


def test_it_starts_from_a_network() -> None:
    made = problem(4)
    rng = np.random.default_rng(0)
    network = from_weights(0.1 * rng.standard_normal((3, 4)), 0.1 * rng.standard_normal(3))
    lines = []
    solve_problem(made, network=network, gap=1.0, budget=30.0, callback=lines.append)
    assert lines[0].objective <= made.objective(*network.weights())


def test_an_interruption_keeps_what_was_found() -> None:
    made, lines = problem(5, n=60, d=8, share=0.01), []

    def third(line: records.Progress) -> None:
        lines.append(line)
        if len(lines) == 3:
            raise Interrupted("", signal.SIGTERM)

    with pytest.raises(SolveInterrupted) as stop:
        solve_problem(made, gap=1e-9, budget=60.0, callback=third)
    assert exit_code(stop.value) == 143
    solved = stop.value.solved
    assert solved.status == "interrupted" and solved.refined.objective <= lines[-1].objective < made.zero_value


def test_an_error_of_the_bounds_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise DataError("Broken.", "Mend it.")

    monkeypatch.setattr(bounding, "race", broken)
    with pytest.raises(DataError):
        solve_problem(problem(6), budget=30.0)


@pytest.mark.parametrize("bad", [{"gap": 0.0}, {"gap": math.nan}, {"budget": -1.0}])
def test_bad_arguments_are_named(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        solve_problem(problem(7), **bad)


def test_nothing_begins_after_the_budget_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that goes on by a tick whenever it is looked at: the end comes a few looks after the budget's.

    Each thread has its own: on a common one the other may look a hundred times between a look and what it allows.
    """
    looks, tick, begun = threading.local(), 0.002, []

    def now() -> float:
        looks.count = getattr(looks, "count", -1) + 1
        return looks.count * tick

    clock = Clock(2.0, now=now)

    def watched(part: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            begun.append(clock.spent)
            return part(*args, **kwargs)

        return wrapper

    for name in ("lasso", "descend"):
        monkeypatch.setattr(rounds, name, watched(getattr(rounds, name)))
    monkeypatch.setattr(bounding, "race", watched(bounding.race))
    solved = solve_problem(problem(8, n=60, d=8, share=0.01), gap=1e-9, clock=clock)
    assert solved.status == "budget" and len(begun) > 3 and max(begun) <= 2.0 + 1.5 * tick
    assert 2.0 <= solved.seconds <= 2.2


def test_an_earlier_session_goes_on() -> None:
    made = problem(9, n=60, d=8, share=0.01)
    kept: list[Solved] = []
    first = solve_problem(made, gap=1e-9, budget=2.0, keep=kept.append)
    assert kept and all(one.status == "running" for one in kept) and first.bound is not None
    earlier = Earlier(first.trace, first.bound)
    second = solve_problem(made, network=first.network, gap=1e-9, budget=first.seconds + 1.0, earlier=earlier)
    assert second.trace[: len(first.trace)] == first.trace and second.seconds >= first.seconds
    assert second.objective <= first.objective and second.bound is not None
    assert second.bound.value >= first.bound.value and second.trace[len(first.trace)].bound >= first.bound.value
    spent = solve_problem(made, network=first.network, gap=1e-9, budget=1e-3, earlier=earlier)
    assert spent.status == "budget" and spent.objective <= first.objective


def test_what_comes_too_soon_to_be_kept_is_kept_when_its_time_has_come(monkeypatch) -> None:
    """A search that settles in its first seconds beside a bound that takes minutes: killed then, nothing is lost."""
    now, kept, made = [0.0], list[Solved](), problem(11)
    monkeypatch.setattr(solving.time, "monotonic", lambda: now[0])
    clock = Clock(600.0)
    side = bounding.Bounding(made, clock, 1e-9, "cpu", None)
    story = solving._Story(made, 1e-9, side, clock, None, kept.append, None)
    iterates = list(refinements(made, clock=Clock(1.0), most_rounds=3))
    story.tell(iterates[0])
    story.tell(iterates[-1])
    assert [one.refined for one in kept] == iterates[:1]
    story.look()
    assert len(kept) == 1, "it is too soon"
    now[0] += 2 * solving.KEEP_SECONDS
    story.look()
    story.look()
    assert [one.refined for one in kept] == [iterates[0], iterates[-1]]


@pytest.mark.parametrize("settled_before", [True, False])
@pytest.mark.parametrize(("better", "extended"), [(1e-4, True), (0.1, False)])
def test_a_race_goes_on_where_the_next_would_begin_the_same(monkeypatch, settled_before, better, extended) -> None:
    """The search has settled, before the race or during it, with a network hardly better than the race's."""
    made, clock = problem(12), Clock(100.0, now=lambda: 0.0)
    begun = replace(next(iter(refinements(made, clock=Clock(), most_rounds=1))), status="running")
    ended = replace(begun, status="settled", objective=begun.objective / (1.0 + better))
    side = bounding.Bounding(made, clock, 1e-9, "cpu", None)
    lefts: list[float] = []

    def racing(problem: Problem, start: Any, share: Clock, **_: Any) -> list[Any]:
        lefts.append(share.left)
        side.offer(ended)
        lefts.append(share.left)
        return []

    monkeypatch.setattr(bounding, "race", racing)
    side.offer(ended if settled_before else begun)
    side._one_race()
    if settled_before:
        assert lefts == [100.0, 100.0]
    else:
        assert lefts == [50.0, 100.0 if extended else 50.0]


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("name", ["moment", "affine", "exact", "doubly nonnegative", "hyperplanes"])
def test_a_bound_is_read_from_its_certificate(name: str, loss: str, tmp_path: Path) -> None:
    """One region with and without slopes, with a group, a tree of many regions, a tree for each sign."""
    made, path = problem(10, n=12, d=3, loss=loss), tmp_path / "proof.safetensors"
    for found in itertools.islice(BOUNDS[name].run(made, bounds.Start(), Clock(30.0), "cpu"), 2):
        write_certificate(path, made, bound=found)
        read = read_bound(path, made)
        assert read.value == pytest.approx(found.value, rel=1e-12) and read.method == found.method
    with pytest.raises(CertificateError):
        read_bound(path, problem(11, n=12, d=3, loss=loss))
    path.write_bytes(b"nothing")
    with pytest.raises(CertificateError):
        read_bound(path, made)


def test_a_stopped_clock_stops_its_parts() -> None:
    clock = Clock()
    part = clock.part(0.5).part(most=1000.0)
    assert not part.over and 900 < part.left <= 1000
    whole = Clock(8.0, now=lambda: 2.0)
    half = whole.part(0.5)
    assert half.left == 4.0
    half.extend()
    assert half.left == 8.0
    clock.stop()
    assert part.over and part.left == 0.0 and clock.over


def test_the_tests_clock_is_that_of_every_search(ticking) -> None:
    """Else a search in a test ends when the machine says so."""
    ticking(1.0)
    clock = Clock(2.5)
    assert [clock.over for _ in range(4)] == [False, False, True, True]
    assert [clock.part(most=1.5).over for _ in range(2)] == [True, True]


def test_what_a_bound_finds_dearer_than_beta_sends_the_search_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first search is blind and settles at the zero network; the bound knows a neuron; the second one uses it."""
    made, calls = problem(10, n=20, d=3), []
    dear = price(made, made.zero_dual_point, np.random.default_rng(0)).direction[None]
    know = replace(moment(made), dearer=dear, factors=None)

    def blind(*args: Any, **options: Any) -> Iterator[Any]:
        calls.append(options["near"]())
        for iterate in refinements(*args, **options):
            yield replace(iterate, status="settled") if len(calls) == 1 else iterate
            if len(calls) == 1:
                return

    def informed(*_: object, **__: object) -> Iterator[Any]:
        yield know
        while len(calls) < 2:
            time.sleep(0.01)

    monkeypatch.setattr(solving, "refinements", blind)
    monkeypatch.setattr(bounding, "race", informed)
    solved = solve_problem(made, gap=1e-9, budget=20.0)
    assert len(calls) == 2 and calls[0] is None and (calls[1] == dear).all()
    assert solved.objective < 0.9 * made.zero_value
