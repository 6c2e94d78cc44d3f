"""The documentation names what is there: public names, commands, options, files; every page is in its contents."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import sys
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace

import pytest
import test_extensions
from commands import reluopt as reluopt_command
from letter import table
from typer.testing import CliRunner

import reluopt
from reluopt.cli.main import COMMANDS, app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_what_is_there(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`reluopt\.([A-Za-z_]\w*)(?:\.(\w+))?[`(]", text):
        found = getattr(reluopt, name[0])
        assert not name[1] or name[0] in ("certificate", "cli") or hasattr(found, name[1]), name
    blocks = "\n".join(text.split("```")[1::2])  # what is typed; a sentence may begin with "reluopt has" on its line
    for command in re.findall(r"^reluopt (\w+)", blocks, flags=re.MULTILINE):
        assert command in COMMANDS
    for link in re.findall(r"\]\(([^)#]+?\.md)", text):
        assert (page.parent / link).is_file(), link
    for place in re.findall(r"`((?:experiments|reluopt)/[\w./]+)`", text):
        assert (ROOT / place).exists(), place


def test_options_of_examples_exist():
    for page in PAGES:
        for command, rest in re.findall(r"^reluopt (\w+)(.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
            options = re.findall(r"--[a-z-]+", rest)
            if options:
                known = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300"}).output
                assert [option for option in options if option not in known] == [], (page.name, command)


def test_every_page_is_in_the_contents():
    contents = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES]
    assert [page for page in pages if page not in contents] == []


def test_no_page_names_a_machine():
    for page in PAGES:
        assert not re.search(r"/(work|home|tmp)/", page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a reader of the pages is: a table, new rows, and the run that the tutorial makes of them."""
    there = tmp_path_factory.mktemp("reader")
    table(there)
    settings = ("--epochs", "5", "--width", "3", "--beta", "1.0")
    train = ("train", "table.csv", "--target", "price", *settings, "--out", "runs/price")
    assert reluopt_command(*train, cwd=there).returncode == 0
    return there


#: Pages with Python; the notebooks' own are run by `make notebooks`.
EXAMPLES = [page for page in PAGES if page.parent.name != "notebooks" and "```python" in page.read_text("utf-8")]
#: What makes an example slow, and what a test takes in its place.
QUICK = {
    '"fast", gaussian_patterns=0': '"fast", gaussian_patterns=0, time_limit=1.0',
    "width=100)": "width=10, epochs=50)",
    "data.y, beta)\nprint": "data.y, beta, FAST)\nprint",
}


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda p: p.stem)
def test_the_python_of_a_page_runs(page, folder):
    """A page's blocks one after another, as in one notebook; those of own-*.md are modules (test_extensions.py)."""
    if page.stem.startswith("own-"):
        assert page.stem in test_extensions.OWN
        return
    known = {"FAST": reluopt.CertifyConfig(effort="fast", gaussian_patterns=0, time_limit=2.0)}
    with chdir(folder):
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
            for slow, quick in QUICK.items():
                block = block.replace(slow, quick)
            exec(compile(block, str(page), "exec"), known)


CODE = re.compile(r"^```(?:python|bash)\n(.*?)\n```$", flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_page_of_a_notebook_is_of_this_notebook(notebook):
    """`make notebook-pages` makes it: every cell, what it printed, and its figures."""
    page = (ROOT / "docs" / "notebooks" / f"{notebook.stem}.md").read_text(encoding="utf-8")
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert all("".join(cell["source"]).strip() in page for cell in cells)
    code = [
        block
        for source, kind in (("".join(cell["source"]).strip(), cell["cell_type"]) for cell in cells)
        for block in ([source] if kind == "code" else CODE.findall(source))
    ]
    assert CODE.findall(page) == code
    shown = re.findall(r"!\[\w+\]\((.*?)\)", page)
    assert shown
    assert {notebook.stem + "_files"} == {name.partition("/")[0] for name in shown}
    kept = {path.name for path in (ROOT / "docs" / "notebooks" / f"{notebook.stem}_files").iterdir()}
    assert kept == {name.partition("/")[2] for name in shown}
    assert "Traceback" not in page


def test_every_public_name_is_in_the_reference():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    shown = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)", text, flags=re.MULTILINE)}
    public = {name for name in reluopt.__all__ if not inspect.ismodule(getattr(reluopt, name))}
    errors = {name for name in public if name.endswith("Error")}  # of the module of errors, shown whole
    assert sorted(name for name in public - shown - errors if f"`reluopt.{name}`" not in text) == []


def test_the_reference_shows_each_parameter_and_each_error_by_its_name(monkeypatch):
    """numpy's sections, which mkdocstrings reads, of "name : words"; two errors may stand in one line."""
    monkeypatch.setitem(sys.modules, "griffe", SimpleNamespace(Extension=object, Object=object))
    spec = importlib.util.spec_from_file_location("docstrings", ROOT / "docs" / "docstrings.py")
    docstrings = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(docstrings)
    shown = docstrings.rewritten(inspect.getdoc(reluopt.Problem))
    parameters, errors = (part.split("\n\n")[0].splitlines() for part in re.split(r"\n\w+\n-+\n", shown)[1:3])
    named = [line for line in parameters if not line.startswith(" ")]
    assert named == list(inspect.signature(reluopt.Problem).parameters)
    assert [line for line in errors if not line.startswith(" ")] == ["DataError", "ConfigError"]
    assert docstrings.rewritten("See :func:`~reluopt.solvers.solve`.") == "See `solve`."
