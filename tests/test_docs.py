"""The documentation names what is there: public names, commands, options, files; every page is in its contents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
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
    for command in re.findall(r"^reluopt (\w+)", text, flags=re.MULTILINE):
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


@pytest.mark.parametrize("name", ["tutorial", "torch", "extend", "data"])
def test_the_python_of_a_page_is_python(name):
    page = next(page for page in PAGES if page.stem == name)
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        compile(block, str(page), "exec")
