"""The part of a certificate that is below p*: the quick bounds one after another, then the one that suits, then guests.

The cheap proofs come first; when the time is over, what was proved by then stands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from reluopt.bounds import LowerBound
from reluopt.bounds.protocol import Bound, Start
from reluopt.bounds.registry import BOUNDS, race
from reluopt.certificate.case import Case
from reluopt.certificate.config import CertifyConfig
from reluopt.certificate.estimates import Estimate, Quantity, Relation, Status
from reluopt.certificate.reading import proved_again
from reluopt.clock import Clock
from reluopt.problem import Problem

#: How long the lower bound may be tightened after the quick ones, and the whole certificate may take.
TIGHTENING_SECONDS = {"fast": 0.0, "standard": 15.0, "thorough": 120.0}
WHOLE_SECONDS = {"fast": 60.0, "standard": 90.0, "thorough": 240.0}
#: Products XᵀX of more than LARGE multiplications get more time, as their root, at most MORE times as much.
LARGE, MORE = 3e8, 4.0
#: The share of the clock that the quick bounds may take.
FIRST_SHARE = 0.4
#: The tightening stops where it has come this near to the network.
CLOSED = 1e-6


def _larger(problem: Problem) -> float:
    """How much more time large data get."""
    return min(MORE, max(1.0, math.sqrt(problem.n * problem.d**2 / LARGE)))


def whole_seconds(problem: Problem, config: CertifyConfig) -> float:
    """Seconds for the whole certificate."""
    if config.time_limit is not None:
        return config.time_limit
    return WHOLE_SECONDS[config.effort] * (1.0 if config.effort == "fast" else _larger(problem))


def lower_bounds(
    case: Case, objective: float, known: LowerBound | None, foreign: Sequence[Bound] = ()
) -> tuple[LowerBound, list[Estimate]]:
    """The best lower bound on p*, and the best of every method: no network of any width has a smaller objective."""
    if known is not None:
        known = replace(proved_again(case.problem, known, known.method), seconds=known.seconds)
        return known, [_estimate("tightened", known)]
    case.say("bounding the global optimum from below")
    start, found = Start(network=(case.U, case.alpha)), dict[str, LowerBound]()
    for name in (name for name, bound in BOUNDS.items() if bound.quick and bound.takes(case.problem)):
        if case.stopped is None:
            start = _raced(case, [name], start, case.clock.part(FIRST_SHARE), objective, found)
    if not found:
        assert case.stopped is not None
        raise case.stopped  # nothing is proved yet
    seconds = TIGHTENING_SECONDS[case.config.effort] * _larger(case.problem)
    able = {name: bound for name, bound in BOUNDS.items() if bound.takes(case.problem)}
    slow = [name for name, bound in able.items() if not bound.quick and bound.suits(case.problem)][:1]
    if seconds and slow and case.stopped is None and not case.clock.over:
        case.say(f"tightening the lower bound for up to {min(seconds, case.clock.left):.0f} s")
        tightened = dict[str, LowerBound]()
        _raced(case, slow, start, case.clock.part(0.8, seconds), objective, tightened)
        if tightened:
            found["tightened"] = tightened[slow[0]]
    for bound in (bound for bound in foreign if bound.takes(case.problem)):
        if case.stopped is None and not case.clock.over:
            _from_outside(case, bound, start, found)
    return max(found.values(), key=lambda bound: bound.value), [_estimate(name, b) for name, b in found.items()]


def _from_outside(case: Case, bound: Bound, start: Start, found: dict[str, LowerBound]) -> None:
    """Run a bound of another package; its best goes into ``found``, under its name. What breaks it is a note."""
    name = bound.name if bound.name not in found else f"{bound.name} (extra)"
    case.say(f"bounding by {name}")
    clock = case.clock.part(FIRST_SHARE)
    try:
        for claimed in bound.run(case.problem, start, clock, "cpu"):
            one = proved_again(case.problem, claimed, bound.name)
            if name not in found or one.value >= found[name].value:
                found[name] = one
            if clock.over:
                return
    except KeyboardInterrupt as stop:
        case.stop(stop)
    except Exception as error:
        case.notes.append(f"the bound '{name}' of another package ended with an error: {error}")


def _raced(
    case: Case, names: list[str], start: Start, clock: Clock, objective: float, found: dict[str, LowerBound]
) -> Start:
    """Run some bounds; the best of each goes into ``found``. Ctrl-C ends them and keeps what they proved."""
    try:
        for bound in race(case.problem, start, clock, names=names, stop_at=objective * (1 - CLOSED)):
            name = names[0]
            if name not in found or bound.value >= found[name].value:
                found[name] = bound
            start = start.after(bound)
    except KeyboardInterrupt as stop:
        case.stop(stop)
    return start


def _estimate(name: str, bound: LowerBound) -> Estimate:
    label = {"closed form": "closed-form lower bound"}.get(name, f"{name} lower bound")
    meaning = f"no network of any width is below this ({bound.method})"
    short = name.replace(" ", "_")
    return Estimate(
        short, label, Quantity.OPTIMUM, Relation.AT_LEAST, bound.value, Status.PROVED, bound.method, meaning
    )
