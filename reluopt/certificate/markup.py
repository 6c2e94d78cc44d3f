"""The ladder of a certificate as HTML and as LaTeX; every text is escaped, every proved number rounded outward."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import jinja2

from reluopt.certificate.estimates import Quantity

if TYPE_CHECKING:
    from reluopt.certificate.certificate import Certificate

#: What LaTeX reads as a command, and how it is written instead.
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "θ": r"$\theta$", "β": r"$\beta$", "κ": r"$\kappa$",
    "≥": r"$\geq$", "≤": r"$\leq$", "∞": r"$\infty$", "‖": r"$\Vert$", "α": r"$\alpha$", "√": r"$\surd$",
    "−": "$-$", "p̃": r"$\tilde p$", "²": r"$^2$", "₊": "$_+$", "<": r"\textless{}", ">": r"\textgreater{}",
    "·": r"$\cdot$", "∇": r"$\nabla$", "ℓ": r"$\ell$",
}  # fmt: skip
_SIGNS = re.compile("|".join(re.escape(sign) for sign in sorted(_LATEX, key=len, reverse=True)))

LADDER = """<table class="reluopt-ladder">
<thead><tr><th>estimate</th><th>value</th><th>known as</th><th>meaning</th></tr></thead>
<tbody>{% for row in rows %}
<tr class="{{ row.kind }}"><td>{{ row.label }}</td><td class="number">{{ row.value }}</td>\
<td>{{ row.known }}</td><td>{{ row.meaning }}</td></tr>{% endfor %}
</tbody></table>"""

ALONE = """<div class="reluopt-certificate">
<p><strong>{{ verdict }}</strong></p>
{{ ladder }}
{% for note in notes %}<p>note: {{ note }}</p>{% endfor %}
</div>"""


@cache
def environment() -> jinja2.Environment:
    """The templates' environment: everything is escaped, and a name that is missing is an error."""
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)


def ladder_rows(certificate: Certificate) -> list[dict[str, str]]:
    """The rows of the ladder, p* between the lower bounds and everything else."""
    below = [e for e in certificate.estimates if e.quantity is Quantity.OPTIMUM]
    above = [e for e in certificate.estimates if e.quantity is not Quantity.OPTIMUM]
    rows = [
        {"kind": str(e.status), "label": e.label, "value": e.text(), "known": str(e.status), "meaning": e.meaning}
        for e in (*below, *above)
    ]
    optimum = {
        "kind": "optimum", "label": "p*", "value": "?", "known": "",
        "meaning": "the global optimum over all widths is in between",
    }  # fmt: skip
    return [*rows[: len(below)], optimum, *rows[len(below) :]]


def ladder_html(certificate: Certificate) -> str:
    """The ladder as an HTML table."""
    return environment().from_string(LADDER).render(rows=ladder_rows(certificate))


def certificate_html(certificate: Certificate) -> str:
    """Verdict, ladder and notes: what a notebook shows."""
    from markupsafe import Markup

    ladder = Markup(ladder_html(certificate))
    template = environment().from_string(ALONE)
    return template.render(verdict=certificate.verdict, ladder=ladder, notes=certificate.notes)


def latex(text: str) -> str:
    """A text as LaTeX sets it literally; Greek and signs in mathematics."""
    return _SIGNS.sub(lambda found: _LATEX[found.group()], text)


def certificate_latex(certificate: Certificate) -> str:
    """The ladder as a ``tabular`` of four columns."""
    lines = [
        " & ".join(latex(row[name]) for name in ("label", "value", "known", "meaning")) + r" \\"
        for row in ladder_rows(certificate)
    ]
    head = r"\begin{tabular}{lrlp{0.45\linewidth}}" + "\n" + r"\hline" + "\nestimate & value & known as & meaning "
    return head + r"\\" + "\n" + r"\hline" + "\n" + "\n".join(lines) + "\n" + r"\hline" + "\n" + r"\end{tabular}" + "\n"
