"""The page of a run: whole, self-contained, safe against names that forge, and refused where its certificate is."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import reluopt
from reluopt.certificate.markup import latex
from reluopt.cli.main import app
from reluopt.report import collect, render

EVIL = "<img src=x onerror=alert(1)>"
ALLOWED_ELSEWHERE = ("http://www.w3.org/",)  # the names of SVG's and XLink's namespaces; nothing is fetched


def call(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


class Page(HTMLParser):
    """The elements of a page, their attributes and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.words = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A trained and certified run on a table whose names are HTML, and a solved one."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({EVIL: rng.normal(size=20), "<script>x</script>": rng.normal(size=20)})
    frame["y"] = frame[EVIL].abs()
    file = folder / f"{EVIL}.csv"
    frame.to_csv(file, index=False)
    evil = folder / "<b>run"
    call(
        "train", file, "--target", "y", "--epochs", "200", "--width", "8", "--beta-fraction", "0.3", "--out", evil, "-q"
    )
    call("certify", evil, "--effort", "fast", "--gaussian-patterns", "0", "-q")
    call("solve", "planted", "--n", "15", "--d", "2", "--gap", "3", "--budget", "2", "--out", folder / "solved", "-q")
    return evil, folder / "solved"


def test_a_page_holds_everything_and_needs_nothing(runs, tmp_path):
    out = tmp_path / "page.html"
    call("report", *runs, "--out", out)
    text = out.read_text(encoding="utf-8")
    page = Page(text)
    words = " ".join(page.words)
    certificate = reluopt.Certificate.from_json((runs[0] / "certificate.json").read_text(encoding="utf-8"))
    for needed in (
        certificate.verdict,
        "The ladder",
        "Drift of the patterns",
        "Training",
        "Network and bound",
        "Neurons",
    ):
        assert needed in words
    assert "reluopt verify" in words
    assert "checked for this page" in words
    assert {"svg", "table"} <= page.elements
    for name, value in page.attributes:
        if name in ("src", "href", "xlink:href") or "url(" in (value or ""):
            assert value.startswith("#") or "url(#" in value
        assert "http" not in (value or "") or value.startswith(ALLOWED_ELSEWHERE)


def test_names_that_forge_stay_names(runs, tmp_path):
    views = [collect(reluopt.RunFolder.open(path), letter) for path, letter in zip(runs, "AB", strict=True)]
    page = Page(render(views))
    assert page.elements & {"script", "img", "b", "iframe", "object"} <= {"b"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert EVIL in " ".join(page.words)
    html = Page(reluopt.Certificate.from_json((runs[0] / "certificate.json").read_text(encoding="utf-8"))._repr_html_())
    assert html.elements <= {"div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"}


def test_the_same_run_gives_the_same_page(runs):
    first, again = (render([collect(reluopt.RunFolder.open(runs[0]))], made="today") for _ in range(2))
    assert first == again


def test_a_forged_certificate_is_refused_on_its_page(runs, tmp_path):
    file = runs[0] / "certificate.json"
    kept = file.read_text(encoding="utf-8")
    record = json.loads(kept)
    forged = 0.987654 * record["estimates"][-1]["value"]
    for estimate in record["estimates"]:
        if estimate["quantity"] == "p*":
            estimate["value"] = forged
    record["lower_bound"] = forged
    try:
        file.write_text(json.dumps(record), encoding="utf-8")
        call("report", runs[0], "--out", tmp_path / "page.html", code=1)
        text = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert "Refused" in text
        assert f"{forged:.4f}"[:6] not in text
        assert record["verdict"] not in text
        assert json.loads(call("report", runs[0], "--out", tmp_path / "j.html", "--json", code=1))["result"][
            "checks"
        ] == {str(runs[0]): "refused"}
    finally:
        file.write_text(kept, encoding="utf-8")


def test_a_run_without_anything_has_a_page(tmp_path):
    run = reluopt.RunFolder.create(tmp_path / "bare", {"data": {"dataset": "diabetes"}})
    page = Page(render([collect(run)]))
    assert "Not certified" in " ".join(page.words)


def test_no_page_is_overwritten_unasked(runs, tmp_path):
    out = tmp_path / "page.html"
    out.write_text("mine")
    result = CliRunner().invoke(app, ["report", str(runs[1]), "--out", str(out), "--no-check"])
    assert result.exit_code != 0
    assert out.read_text() == "mine"


def test_show_prints_a_ladder_or_a_comparison(runs):
    assert "The ladder" in call("show", runs[0])
    both = call("show", *runs)
    assert "within" in both
    record = json.loads(call("show", *runs, "--json"))["result"]["runs"]
    certificate = reluopt.Certificate.from_json((runs[0] / "certificate.json").read_text(encoding="utf-8"))
    assert record[0]["lower_bound"] == certificate.lower_bound
    assert record[1]["lower_bound"] <= record[1]["objective"]


def test_latex_is_literal(runs):
    certificate = reluopt.Certificate.from_json((runs[0] / "certificate.json").read_text(encoding="utf-8"))
    text = certificate.to_latex()
    assert text.startswith(r"\begin{tabular}")
    assert all(ord(sign) < 128 for sign in text)
    assert certificate["moment"].text() in text
    assert latex(r"50 % of a_b \input{x} $") == r"50 \% of a\_b \textbackslash{}input\{x\} \$"


@pytest.mark.parametrize("command", ["show", "report"])
def test_of_several_folders_those_that_are_no_runs_are_left_out_aloud(command, runs, tmp_path):
    (tmp_path / "grid").mkdir()
    out = ("--out", tmp_path / "page.html", "--no-check") if command == "report" else ()
    result = CliRunner().invoke(app, [command, *map(str, runs), str(tmp_path / "grid"), *map(str, out)])
    assert result.exit_code == 0, result.output
    assert "left out, no run" in result.stderr
    for folders in ([tmp_path / "grid"], [tmp_path / "grid", tmp_path]):
        refused = CliRunner().invoke(
            app, [command, *map(str, folders), *map(str, out), *(["--replace"] if out else [])]
        )
        assert refused.exit_code != 0
