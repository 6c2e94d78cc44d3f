"""README's tables, made from the lines of results.jsonl; the README keeps them between two comments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reluopt import printing

#: Methods that prove a bound, in the order of the columns.
PROVED = (
    "closed_form",
    "moment",
    "affine",
    "pairwise",
    "splitting",
    "neighbours",
    "hyperplanes",
    "simplicial",
    "exact",
    "thorough",
)
ADAM, THEORY, SDP = "adam", "theory (KP Thm 3.8)", "dnn sdp (scs)"
START, END = "<!-- table: made by table.py --markdown -->", "<!-- end of the table -->"
NOTHING = "–"

Line = dict[str, Any]


def read(path: Path) -> list[Line]:
    """The lines of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def table(lines: list[Line]) -> list[str]:
    """Two markdown tables: an overview of the instances, then every method's ratio and seconds.

    Of several lines for the same instance and method the last counts; only bounds that the checker accepted are bounds.
    Where Adam's network is below the best known objective, it is the best known one.
    """
    found: dict[str, dict[str, Line]] = {}
    for line in lines:
        found.setdefault(line["instance"], {})[line["method"]] = dict(line)
    for by_method in found.values():
        reached = [line[key] for line in by_method.values() for key in ("best_known", "objective") if key in line]
        for line in by_method.values() if reached else ():
            line["best_known"] = min(reached)
            line["ratio"] = min(reached) / line["bound"] if line["bound"] else line["ratio"]
    return [*_overview(found), "", *_methods(found)]


def beside_sdp(line: Line) -> list[str]:
    """The moment bound and its semidefinite program (sdp.json) as a markdown table."""
    titles = ["instance", "moment bound, proved", "Theorem A by Clarabel", "relative difference"]
    titles += ["moment, processor", "Clarabel, processor", "times faster (processor / clock)"]
    cells = [line["instance"], printing.below(line["moment_value"], 8), _number(line["sdp_value"], ".8g")]
    cells += [f"{line['difference']:.1e}", f"{line['moment_cpu_seconds']:.2g} s", f"{line['sdp_cpu_seconds']:.0f} s"]
    return [_row(titles), "|---" * 7 + "|", _row([*cells, f"{line['cpu_ratio']:.0f} / {line['ratio']:.0f}"])]


def block(lines: list[Line], sdp: Line) -> str:
    """What the README has between the two comments."""
    return "\n".join([START, "", *table(lines), "", *beside_sdp(sdp), "", END])


def refresh(readme: Path, lines: list[Line], sdp: Line) -> None:
    """Put the tables between the two comments of the README."""
    before, rest = readme.read_text().split(START)
    readme.write_text(before + block(lines, sdp) + rest.split(END)[1])


def _overview(found: dict[str, dict[str, Line]]) -> list[str]:
    titles = ["instance", "β", "Adam's L", "best known L", "best proved bound", "its method", "best known / bound"]
    rows = [_row([*titles, "theory's factor"]), "|---" * 8 + "|"]
    for instance, by_method in found.items():
        best = max((by_method[m] for m in PROVED if _accepted(by_method.get(m))), key=_bound, default={})
        factor = _number(by_method.get(THEORY, {}).get("ratio"), ".3g")
        cells = [
            *(instance, _number(_any(by_method, "beta")), _number(_any(by_method, "objective"))),
            *(
                _number(_any(by_method, "best_known")),
                _bound_text(best.get("bound")),
                _name(best.get("method", NOTHING)),
            ),
            *(_ratio(best.get("ratio")), factor),
        ]
        rows.append(_row(cells))
    return rows


def _methods(found: dict[str, dict[str, Line]]) -> list[str]:
    columns = [m for m in PROVED if any(m in by_method for by_method in found.values())]
    rows = [
        _row(["instance", *(_name(m) for m in columns), "Adam", "DNN SDP by SCS, not proved"]),
        "|---" * (len(columns) + 3) + "|",
    ]
    for instance, by_method in found.items():
        cells = [_cell(by_method.get(m)) for m in columns]
        rows.append(_row([instance, *cells, _seconds(by_method.get(ADAM)), _unproved(by_method.get(SDP))]))
    return rows


def _cell(line: Line | None) -> str:
    if line is None:
        return NOTHING
    check = f"check {line['checker_seconds']:.2g} s" if line["verified"] else "REFUSED by the checker"
    where = " on a GPU" if line.get("device", "cpu") != "cpu" else ""
    return f"{_ratio(line['ratio'])} in {_seconds(line)}{where}, {check}"


def _unproved(line: Line | None) -> str:
    if line is None:
        return NOTHING
    return f"{_ratio(line['ratio'])} in {_seconds(line)} (processor {line['cpu_seconds']:.0f} s), {line['status']}"


def _accepted(line: Line | None) -> bool:
    return line is not None and line["verified"] and line["bound"] is not None


def _bound(line: Line) -> float:
    return line["bound"]


def _any(by_method: dict[str, Line], key: str) -> float | None:
    return next((line[key] for line in by_method.values() if key in line), None)


def _seconds(line: Line | None) -> str:
    return (
        NOTHING if line is None else f"{line['seconds']:.2g} s" if line["seconds"] < 10 else f"{line['seconds']:.0f} s"
    )


def _number(value: float | None, form: str = ".6g") -> str:
    return NOTHING if value is None else format(value, form)


def _bound_text(value: float | None) -> str:
    return NOTHING if value is None else printing.below(value)


def _ratio(value: float | None) -> str:
    """A ratio over a proved bound, rounded up, with more digits where it is close to one."""
    return NOTHING if value is None else printing.above(value, decimals=7 if value < 1.00005 else 4)


def _name(method: str) -> str:
    return method.replace("_", " ")


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
