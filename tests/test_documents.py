"""Numbers in documents are those that the repository's scripts wrote."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from reluopt.certificate.config import CertifyConfig

ROOT = Path(__file__).resolve().parents[1]


def module(path: Path):
    spec = importlib.util.spec_from_file_location(path.parent.name, path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_readme_has_the_table_of_the_first_light_study():
    folder = ROOT / "experiments" / "first_light"
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))["results"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in module(folder / "run.py").table(results) if line not in readme] == []


def test_readmes_name_files_that_exist():
    for readme in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("experiments/**/README.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", readme.read_text()):
            assert (readme.parent / target).exists(), f"{readme}: {target}"


def test_the_readme_lists_every_notebook():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert len(notebooks) >= 3
    assert [path.name for path in notebooks if f"](notebooks/{path.name})" not in readme] == []


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs(path):
    """So that they show what this version gives, and nothing of the machine they were written on."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_the_example_of_the_convex_programs_runs(capsys):
    code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    exec(code, {})
    assert "CONVERGED" in capsys.readouterr().out


def test_the_python_example_of_the_readme_runs(capsys):
    """With fewer epochs, so that it takes a second."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code is not None
    quick = code[1].replace("width=100", "width=10, epochs=100").replace("beta)\nprint", "beta, QUICK)\nprint")
    exec(quick, {"QUICK": CertifyConfig(effort="fast", time_budget=2.0)})
    printed = capsys.readouterr().out
    assert "no network of any width" in printed
    assert printed.count("proved") >= 3


def test_the_map_of_the_house_is_true():
    """Every room and module has its place in CONTRIBUTING's tree, and what stands there exists."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tree = text.partition("    reluopt/\n")[2].partition("\n    tests/")[0]
    lines = [line[6:].partition("   ")[0] for line in tree.splitlines() if line[:6] == " " * 6 and line[6] != " "]
    named = {name.strip(" /").partition("/")[0] for line in lines for name in line.split(",")}
    there = {path.name for path in (ROOT / "reluopt").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert named == {name for name in there if not name.startswith("__")}
