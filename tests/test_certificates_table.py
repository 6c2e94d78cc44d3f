"""The study of the certificates: its lines, its tables, and the README that shows them."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from reluopt import printing
from reluopt.bounds import exact, moment

FOLDER = Path(__file__).resolve().parents[1] / "experiments" / "certificates"


def module(name):
    spec = importlib.util.spec_from_file_location(f"certificates_{name}", FOLDER / f"{name}.py")
    loaded = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # where dataclasses look for it
    spec.loader.exec_module(loaded)
    return loaded


readme_table = module("readme_table")
slopes = module("slopes")


def line(method, **changes):
    blank = {"instance": "one", "method": method, "bound": None, "seconds": 1.0, "ratio": None}
    return blank | {"verified": False, "checker_seconds": None} | changes


def test_the_readme_holds_the_tables_of_the_results():
    lines, sdp = readme_table.read(FOLDER / "results.jsonl"), readme_table.read(FOLDER / "sdp.json")[0]
    readme = (FOLDER / "README.md").read_text()
    assert readme_table.block(lines, sdp) in readme
    assert slopes.table(readme_table.read(FOLDER / "slopes.jsonl")) in readme


def test_refreshing_changes_what_is_between_the_comments_only(tmp_path):
    readme, sdp = tmp_path / "README.md", readme_table.read(FOLDER / "sdp.json")[0]
    readme.write_text(f"before\n{readme_table.START}\nold\n{readme_table.END}\nafter\n")
    readme_table.refresh(readme, [line("moment", bound=2.0, ratio=1.5, verified=True, checker_seconds=0.1)], sdp)
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "1.5000 in 1 s, check 0.1 s" in text


def test_only_what_the_checker_accepted_is_a_proved_bound():
    rows = readme_table.table(
        [
            line("moment", bound=1.0, ratio=4.0, verified=True, checker_seconds=0.1),
            line("moment", bound=2.0, ratio=2.0, verified=True, checker_seconds=0.1, beta=0.5, best_known=4.0),
            line("splitting", bound=3.0, ratio=1.33, verified=False, checker_seconds=0.1),
            line("dnn sdp (scs)", bound=3.9, ratio=1.03, status="solved", cpu_seconds=0.7),
            line("theory (KP Thm 3.8)", ratio=45.6),
            line("adam", objective=4.5),
        ]
    )
    assert rows[2] == "| one | 0.5 | 4.5 | 4 | 2 | moment | 2.0000 | 45.6 |"
    assert "REFUSED by the checker" in rows[-1]
    assert rows[-1].endswith("| 1 s | 1.0257 in 1 s (processor 1 s), solved |")
    assert "not proved" in rows[-3]


def test_a_network_below_the_best_known_objective_is_the_best_known():
    rows = readme_table.table(
        [
            line("moment", bound=2.0, ratio=2.0, verified=True, checker_seconds=0.1, beta=0.5, best_known=4.0),
            line("adam", objective=3.0),
        ]
    )
    assert rows[2] == "| one | 0.5 | 3 | 3 | 2 | moment | 1.5000 | – |"


def test_ratios_are_rounded_up():
    rows = readme_table.table([line("exact", bound=1.0, ratio=1.00000003, verified=True, checker_seconds=0.1)])
    assert "1.0000001" in rows[-1]


def test_lines_of_a_small_instance():
    table = module("table")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6, 2))
    y = np.maximum(X @ rng.standard_normal(2), 0) + 0.3 * rng.standard_normal(6)
    case = table.Instance("small", X, y, 0.5, float(0.5 * y @ y))
    made = table.lines([case], {"moment", "exact", "theory", "dnn"}, (1.0, True, "cpu"), False, 1)
    found = {line["method"]: line for line in made}
    keys = ["instance", "method", "bound", "seconds", "ratio", "verified", "checker_seconds"]
    assert list(found) == ["moment", "exact", "theory (KP Thm 3.8)", "dnn sdp (scs)"]
    assert all(list(line)[:7] == keys for line in found.values())
    assert found["moment"]["bound"] == pytest.approx(moment(X, y, 0.5).value, rel=1e-6)
    assert found["moment"]["verified"]
    sdp = found["dnn sdp (scs)"]
    assert not sdp["verified"]
    assert sdp["status"]  # whatever its solver says
    # a relaxation: above the moment bound and below p*, to its solver's accuracy
    assert moment(X, y, 0.5).value * (1 - 1e-3) <= sdp["bound"] <= exact(X, y, 0.5).value * (1 + 1e-3)
    assert sdp["ratio"] == pytest.approx(case.best_known / sdp["bound"])


def test_an_instance_that_nothing_was_chosen_on_has_what_a_user_gets(monkeypatch):
    table = module("table")
    X = np.random.default_rng(1).standard_normal((6, 2))
    case = table.Instance("new", X, X[:, 0], 0.1, 1.0, epochs=20, fresh=True)
    monkeypatch.setattr(table, "SOLVE_SECONDS", 0.2)
    made = list(table.lines([case], set(), (0.2, False, "cpu"), False, 1))
    networks, proved = ["adam", "solve"], ["closed_form", "moment", "affine", "thorough", "exact"]
    assert [line["method"] for line in made] == networks + proved
    best = min(case.best_known, *(line["objective"] for line in made if "objective" in line))
    assert all(line["ratio"] == best / line["bound"] for line in made if line["bound"])
    assert all(line["verified"] for line in made if line["bound"])


def test_the_moment_bound_meets_its_semidefinite_program():
    found = module("sdp").study("diabetes", 20, 0.1, 0)
    assert found["sdp_status"]  # whatever its solver says
    assert abs(found["difference"]) < 1e-3
    assert found["ratio"] == found["sdp_seconds"] / found["moment_seconds"]
    row = readme_table.beside_sdp(found)[-1]
    assert row.startswith(f"| diabetes_20x11_b0.1 | {printing.below(found['moment_value'], 8)} | ")


def test_the_ranks_beyond_simplices_are_a_table(capsys):
    module("ranks").main(seconds=0.2, samples=16, ranks=[2])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["| rank | simplicial | hyperplanes | cliques |", "|---|---|---|---|"]
    ratios = [float(cell) for cell in lines[2].split("|")[2:5]]
    assert len(lines) == 3 and all(ratio >= 1 for ratio in ratios)
