"""Docstrings as the reference shows them: the habits of this code into numpy's sections, roles into code."""

from __future__ import annotations

import re
from typing import Any

import griffe

#: Sections whose entries are "name : words", and how an entry begins there: it may share a line with another.
SECTIONS = ("Parameters", "Attributes", "Raises")
NAME = re.compile(r"(?:^|(?<=[.`] ))(\*{0,2}``?\w+``?|[*\w]+(?:, [*\w]+)*(?: \([\w, ]+\))?) : ")
ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")


def entries(name: str, lines: list[str]) -> list[str]:
    """The lines of a section with each entry as numpydoc has it: a name, and its words indented below."""
    shown, begun = [], False
    for line in lines:
        parts = NAME.split(line) if line[:1] not in ("", " ") or NAME.search(line) else [line]
        if not line or parts[0].strip():
            shown.append(f"    {parts[0].strip()}".rstrip() if begun else parts[0].rstrip())
        for title, words in zip(parts[1::2], parts[2::2], strict=True):
            shown += [title.replace("`", ""), f"    {words.strip()}"]
            begun = True
    return [*shown, ""]


def rewritten(text: str) -> str:
    """The whole docstring."""
    lines = ROLE.sub(r"``\1``", text).replace("``", "`").splitlines()
    heads = [i for i in range(len(lines) - 1) if lines[i + 1].startswith("---") and lines[i].strip()]
    shown = lines[: heads[0]] if heads else lines
    for i, end in zip(heads, [*heads, len(lines)][1:], strict=True):
        body = lines[i + 2 : end]
        shown += [lines[i], lines[i + 1], *(entries(lines[i], body) if lines[i] in SECTIONS else body)]
    return "\n".join(shown)


class Docstrings(griffe.Extension):
    """Called by mkdocstrings for every object of the reference."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite its docstring."""
        if obj.docstring:
            obj.docstring.value = rewritten(obj.docstring.value)
