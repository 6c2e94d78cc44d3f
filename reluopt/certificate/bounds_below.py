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
    start, found, begun = Start(network=(case.U, case.alpha)), dict[str, LowerBound](), case.clock.spent
    for name in (name for name, bound in BOUNDS.items() if bound.quick and bound.takes(case.problem)):
        if case.stopped is None:
            start = _raced(case, [name], start, case.clock.part(FIRST_SHARE), objective, found, name)
    if not found:
        assert case.stopped is not None
        raise case.stopped  # nothing is proved yet
    _tightened(case, start, objective, found, least=case.clock.spent - begun)
    for bound in (bound for bound in foreign if bound.takes(case.problem)):
        if case.stopped is None and not case.clock.over:
            _from_outside(case, bound, start, found)
    return max(found.values(), key=lambda bound: bound.value), [_estimate(name, b) for name, b in found.items()]


def _tightened(case: Case, start: Start, objective: float, found: dict[str, LowerBound], least: float) -> None:
    """The best of a race of the bounds that are not quick; brisk ones have their time with every effort.

    None begins where less time is left than the quick ones took, ``least``: a first step and its proof take longer.
    """
    seconds, names = TIGHTENING_SECONDS[case.config.effort] * _larger(case.problem), None
    if not seconds:
        suitable = [bound for bound in BOUNDS.values() if bound.takes(case.problem) and bound.suits(case.problem)]
        brisk = [bound for bound in suitable if bound.brisk and not any(other.final for other in suitable)]
        seconds, names = max((bound.brisk for bound in brisk), default=0.0), [bound.name for bound in brisk]
    if not seconds or case.stopped is not None or case.clock.left <= least:
        return
    case.say(f"tightening the lower bound for up to {min(seconds, case.clock.left):.0f} s")
    best, clock = dict[str, LowerBound](), case.clock.part(0.8, seconds)
    _raced(case, names, start, clock, objective, best)
    if best:
        found["tightened"] = best["tightened"]


def _from_outside(case: Case, bound: Bound, start: Start, found: dict[str, LowerBound]) -> None:
    """Run a bound of another package; its best goes into ``found``, under its name. What breaks it is a note."""
    name = bound.name if bound.name not in found else f"{bound.name} (extra)"
    case.say(f"bounding by {name}")
    clock = case.clock.part(FIRST_SHARE)
    try:
        for claimed in bound.run(case.problem, start, clock, case.config.device):
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
    case: Case,
    names: list[str] | None,
    start: Start,
    clock: Clock,
    objective: float,
    found: dict[str, LowerBound],
    name: str = "tightened",
) -> Start:
    """Run some bounds, or a race; the best goes into ``found``. Ctrl-C ends them and keeps what they proved."""
    try:
        stop_at = objective * (1 - CLOSED)
        device = case.config.device
        for bound in race(case.problem, start, clock, names=names, quick=False, stop_at=stop_at, device=device):
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
