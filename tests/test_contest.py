"""Which bound gets the clock: the one whose course promises the most at the end; the others pause and come back."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest

from reluopt.bounds import Bound, Start, beta_max_upper, race, registry
from reluopt.bounds.second_moments import SecondMoments
from reluopt.clock import Clock
from reluopt.problem import Problem


@dataclass(frozen=True)
class Promising(Bound):
    """A bound of z = 0 that says it has a value, by its own clock, until it ends or the clock does."""

    value: Callable[[float], float] = lambda seconds: 1.0
    steps: int = 10**6
    runs: list[tuple[float, float]] = field(default_factory=list)
    name: ClassVar[str] = "promising"

    def run(self, problem, start, clock, device="cpu"):
        """Appends to ``runs`` what it had of the clock when it began and when it was last asked."""
        granted = clock.left
        for _ in range(self.steps):
            self.runs.append((granted, clock.spent))
            if clock.over:
                return
            yield replace(start.moments, value=self.value(clock.spent), method=self.name, factors=None)


@dataclass(frozen=True)
class Planning(Promising):
    """One that has its value at the end of its clock, and it is what the whole of it was worth."""

    name: ClassVar[str] = "planning"
    plans: ClassVar[bool] = True

    def run(self, problem, start, clock, device="cpu"):
        granted = clock.left
        self.runs.append((granted, clock.spent))
        while not clock.over:
            pass
        yield replace(start.moments, value=self.value(granted), method=self.name, factors=None)


@dataclass(frozen=True)
class Last(Promising):
    """One that is final and says how long it takes."""

    seconds: float = 0.1
    name: ClassVar[str] = "last"
    final: ClassVar[bool] = True

    def foretold(self, problem):
        return self.seconds


def named(name, value, kind=Promising, **settings):
    """A bound with this name and course."""
    return type(name, (kind,), {"name": name, "__annotations__": {}})(value=value, **settings)


def level(height):
    """A course that hardly rises."""
    return lambda seconds: height * (1 + 1e-6 * seconds)


@pytest.fixture(scope="module")
def known():
    """A problem, and a start of it with its second moments."""
    rng = np.random.default_rng(2)
    problem = Problem(rng.standard_normal((8, 2)), rng.standard_normal(8), "squared", 1.0)
    problem = problem.with_beta(0.15 * beta_max_upper(problem))
    return problem, Start(moments=SecondMoments(iterations=10).best(problem))


@pytest.fixture
def contest(known, monkeypatch, ticking):
    """A race of one second between these alone: how often each one yields."""

    def run(*bounds, stop_at=math.inf):
        ticking(0.0005)
        monkeypatch.setattr(registry, "BOUNDS", {bound.name: bound for bound in bounds})
        return Counter(found.method for found in race(*known, Clock(1.0), stop_at=stop_at))

    return run


def test_the_bound_that_proves_most_gets_the_clock_where_none_rises(contest):
    for heights in ((1.0, 2.0, 1.5), (2.0, 1.0, 1.5), (1.0, 1.5, 2.0)):
        times = contest(*(named(str(height), level(height)) for height in heights))
        assert times["2.0"] > 3 * times["1.0"] > 0
        assert times["2.0"] > 3 * times["1.5"] > 0


def test_what_ends_early_leaves_the_clock_to_the_next(contest):
    times = contest(named("short", level(3.0), steps=5), named("long", level(1.0)), named("low", level(0.5)))
    assert times["short"] == 5
    assert times["long"] > 3 * times["low"] > 0


@pytest.mark.parametrize("seconds", [0.02, 0.2])
def test_what_is_final_runs_after_short_tries_of_the_others(contest, seconds):
    other, last = named("other", level(1.0)), Last(level(2.0), steps=1, seconds=seconds)
    times = contest(other, last)
    assert times["last"] == 1
    assert 0 < other.runs[-1][1] < 0.5 * seconds


def test_what_is_final_does_not_run_without_the_time_or_where_a_try_has_reached_the_goal(contest):
    times = contest(named("other", level(1.0)), Last(level(2.0), seconds=0.9))
    assert times["other"] > 100
    assert not times["last"]
    times = contest(named("other", level(1.5)), Last(level(2.0), seconds=0.1), stop_at=1.5)
    assert times == {"other": 1}
    assert contest(Last(level(2.0), steps=3, seconds=0.9))["last"] == 3, "where nothing else suits it runs anyway"


def rising(seconds):
    """From 1 at a twentieth of a second by 0.5 whenever the time doubles: 2 is reached after 0.2 s."""
    return 1.0 + 0.5 * math.log2(max(seconds, 1e-3) / 0.05)


def test_what_rises_steadily_overtakes_what_is_ahead_and_stands_still(contest):
    for order in (1, -1):
        times = contest(*[named("still", level(2.0)), named("rising", rising)][::order])
        assert times["rising"] > 3 * times["still"] > 0


def test_what_rose_and_stands_still_loses_the_clock_again(contest):
    times = contest(named("burst", lambda seconds: min(rising(seconds), 1.5)), named("still", level(2.0)))
    assert times["still"] > 2 * times["burst"] > 0


def test_what_has_almost_arrived_is_not_left_for_what_rises_from_far_below(contest):
    steep = named("steep", lambda seconds: min(1.0 + 0.3 * math.log2(seconds / 0.03), 1.5), Planning)
    times = contest(named("near", lambda seconds: 2.0 - 1e-3 / (1 + seconds)), steep, stop_at=2.0)
    assert len(steep.runs) == 2 < times["near"], "only the tries"
    contest(named("far", level(1.0)), steep, stop_at=2.0)
    granted = [seconds for seconds, _ in steep.runs[2:]]
    assert granted[-1] > 0.4, "the same course is believed where nothing else is better"


def test_a_paused_search_counts_its_own_time_alone(contest):
    bounds = [named(name, lambda seconds: rising(seconds) % 0.3) for name in "ab"]
    times = contest(*bounds)
    spent = [bound.runs[-1][1] for bound in bounds]
    assert min(times.values()) > 10, "both went on again and again"
    assert sum(spent) < 1.0
    for bound in bounds:
        assert all(before <= after for (_, before), (_, after) in pairwise(bound.runs))
        assert len({granted for granted, _ in bound.runs}) == 1, "one search, never begun anew"


def test_what_plans_is_tried_and_gets_all_that_is_left_where_that_promises_most(contest):
    planning = named("planning", rising, Planning)
    times = contest(named("still", level(1.5)), planning)
    first, second, *looks, last = (granted for granted, _ in planning.runs)
    assert 1.5 * first < second < 3 * first < 0.5 * last
    assert looks == pytest.approx([2 * second, 4 * second], rel=0.02), "what twice as much is worth before it gets all"
    assert times["planning"] == 5
    flat = named("flat", level(1.4), Planning)
    times = contest(named("still", level(1.5)), flat)
    assert len(flat.runs) == 2 < times["still"]


@pytest.mark.parametrize("goal", [math.inf, 3.0])
def test_what_plans_and_stands_still_after_a_look_leaves_the_clock(contest, goal):
    full = named("full", lambda seconds: min(1.0 + 20.0 * seconds, 1.9), Planning)
    times = contest(named("still", level(1.5)), full, stop_at=goal)
    granted = [seconds for seconds, _ in full.runs]
    assert granted[-1] < 0.4, "what a run of twice the time has shown to be worth nothing is not run again"
    assert times["still"] > 100
    late = named("late", lambda seconds: 2.0 if seconds > 0.07 else 1.3, Planning)
    contest(late, named("low", level(1.2)), stop_at=goal)
    assert len(late.runs) > 2, "two tries that prove nothing do not tell"


def test_with_a_goal_the_distance_shrinks_by_a_factor_whenever_time_doubles(contest):
    fast = named("fast", lambda seconds: 2.0 - 0.9 * min(1.0, 0.01 / max(seconds, 1e-3)) ** 1.0)
    near = named("near", lambda seconds: 2.0 - 0.02 * min(1.0, 0.01 / max(seconds, 1e-3)) ** 0.1)
    times = contest(fast, near, stop_at=2.0)
    assert times["fast"] > 3 * times["near"] > 0, "it halves its distance, which is larger at first"


def test_a_search_that_only_lets_itself_be_paused_is_told_once(contest):
    @dataclass(frozen=True)
    class Stuck(Promising):
        name: ClassVar[str] = "stuck"

        def run(self, problem, start, clock, device="cpu"):
            found = replace(start.moments, value=3.0, method=self.name, factors=None)
            while not clock.over:
                yield found

    assert contest(Stuck(), named("still", level(1.0)))["stuck"] == 1


def moving(now):
    return Clock(10.0, now=lambda: now[0])


def test_a_clock_and_its_parts_stand_still_while_it_is_paused():
    now = [0.0]
    clock = moving(now)
    own = clock.part(0.5)
    now[0] = 1.0
    part = own.part(0.5)
    own.pause()
    now[0] = 3.0
    own.go_on()
    assert (own.spent, own.left, part.spent, part.left) == (1.0, 4.0, 0.0, 2.0)
    later = own.part()
    assert (later.spent, later.left) == (0.0, 4.0)
    now[0] = 4.0
    assert (clock.spent, own.spent, part.spent, part.left, later.spent) == (4.0, 2.0, 1.0, 1.0, 1.0)
    own.pause()
    now[0] = 9.5
    own.go_on()
    assert own.left == part.left == later.left == clock.left == 0.5, "never beyond the whole"
    now[0] = 10.0
    assert own.over
    assert part.over


def test_a_stopped_clock_ends_what_is_paused():
    now = [0.0]
    clock = moving(now)
    own = clock.part()
    own.pause()
    clock.stop()
    now[0] = 1.0
    own.go_on()
    assert own.over
    assert own.left == 0.0
