"""Printed bounds: never stronger than what was proved, never long, never far; and every place that prints them."""

import ast
import json
import math
import re
from dataclasses import asdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from reluopt import printing
from reluopt.certificate import facts
from reluopt.certificate.certificate import Certificate
from reluopt.certificate.estimates import (
    Estimate,
    PatternGap,
    Pricing,
    Quantity,
    Relation,
    Stationarity,
    Status,
    TheoryFacts,
)
from reluopt.certificate.verdict_text import verdict
from reluopt.cli import show, sweep, theory
from reluopt.rigor import rounding
from reluopt.runs import RunFolder
from reluopt.tracking.certificate_board import log_certificate
from reluopt.tracking.plots import ladder_figure

anything = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.fractions(),
    st.integers(),
    st.decimals(allow_nan=False, allow_infinity=False, places=5, min_value=-1000, max_value=1000).map(Fraction),
)
digits = st.integers(1, 17)


@given(anything, digits)
def test_a_printed_lower_bound_is_never_above_the_value_and_an_upper_one_never_below(value, digits):
    low, high = Fraction(printing.below(value, digits)), Fraction(printing.above(value, digits))
    assert low <= Fraction(value) <= high
    # and no further off than one unit of its last digit
    size = max(abs(low), abs(high))
    assert high - low <= size * Fraction(10) ** (1 - digits)


@given(anything, st.integers(0, 6))
def test_with_a_number_of_decimals_too(value, decimals):
    low, high = printing.below(value, decimals=decimals), printing.above(value, decimals=decimals)
    assert Fraction(low) <= Fraction(value) <= Fraction(high)
    if abs(value) < 1000:
        assert Fraction(high) - Fraction(low) <= Fraction(1, 10**decimals)


@given(anything, digits)
def test_texts_stay_short_and_a_measured_value_is_between_its_two_neighbours(value, digits):
    texts = [f(value, digits) for f in (printing.below, printing.nearest, printing.above)]
    assert max(map(len, texts)) <= digits + (8 if isinstance(value, float) else 24)
    low, middle, high = map(Fraction, texts)
    assert low <= middle <= high and middle in (low, high)


@given(st.floats(0.0), st.integers(1, 5))
def test_a_percentage_is_never_below_the_true_one_and_short(fraction, digits):
    text = printing.percent_above(fraction, digits)
    if math.isinf(fraction):
        assert text == printing.UNKNOWN
        return
    shown = Fraction(text.removesuffix(" %"))
    assert shown >= 100 * Fraction(fraction)
    assert shown <= 100 * Fraction(fraction) * (1 + Fraction(10) ** (1 - digits))
    assert len(text) <= digits + 10


@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300))
def test_within_is_exact_before_it_is_rounded(upper, lower):
    shown = Fraction(printing.percent_above(printing.excess(upper, lower)).removesuffix(" %"))
    assert Fraction(lower) * (1 + shown / 100) >= Fraction(upper)


@given(st.floats(allow_nan=False))
def test_float32_keeps_the_side(value):
    assert rounding.float32_below(value) <= value <= rounding.float32_above(value)
    for single in (rounding.float32_below(value), rounding.float32_above(value)):
        assert float(np.float32(single)) == single


@pytest.mark.parametrize(
    ("value", "low", "middle", "high"),
    [
        (98.41995793, "98.4199", "98.42", "98.42"),
        (-98.41995793, "-98.42", "-98.42", "-98.4199"),
        (0.0, "0", "0", "0"),
        (1234567.0, "1.23456e+06", "1.23457e+06", "1.23457e+06"),
        (1e-320, "9.99988e-321", "9.99989e-321", "9.99989e-321"),
        (1.7976931348623157e308, "1.79769e+308", "1.79769e+308", "1.7977e+308"),
        (math.nan, "unknown", "unknown", "unknown"),
        (math.inf, "unknown", "∞", "unknown"),
        (7, "7", "7", "7"),
    ],
)
def test_examples(value, low, middle, high):
    assert (printing.below(value), printing.nearest(value), printing.above(value)) == (low, middle, high)


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.0485, "4.9 %"), (0.5, "50 %"), (0.000123, "0.013 %"), (0.0, "0 %"), (-1.0, "0 %"), (8.76e-9, "8.8e-07 %"),
        (1234.5, "130000 %"), (1e300, "1.1e+302 %"), (math.nan, "unknown"), (Fraction(1, 3), "34 %"),
    ],
)  # fmt: skip
def test_percentages(fraction, text):
    assert printing.percent_above(fraction) == text


@given(st.floats(1e-5, 1e9), digits)
def test_a_measured_value_is_written_as_python_writes_it(value, digits):
    assert Decimal(printing.nearest(value, digits)) == Decimal(f"{value:.{digits}g}")


# -- every place ---------------------------------------------------------------------------------------------------

#: A bound with many digits, so that rounding to the nearest goes to either side of it at 2 to 9 digits.
LOWER, UPPER = 98.41995793516846, 103.20849416437351
#: What names a proved number in the code; solvers' own gaps are measured and called *solution* there.
ROOT = Path(__file__).resolve().parents[1]
PROVED = r"lower|bound|(?<!resi)dual\b|within|proved|rung|own_patterns_gap|excess"
#: A printed number.
PATTERN = r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?"


def estimates(lower, upper):
    middle = math.sqrt(lower) * math.sqrt(upper)
    return [
        Estimate(name, label, quantity, relation, value, status, "method", "how")
        for name, label, quantity, relation, value, status in (
            ("moment", "moment lower bound", Quantity.OPTIMUM, Relation.AT_LEAST, lower, Status.PROVED),
            ("own_dual", "p̃(S(θ)) from below", Quantity.OWN, Relation.AT_LEAST, middle, Status.PROVED),
            ("own_primal", "p̃(S(θ)) from above", Quantity.OWN, Relation.AT_MOST, math.nan, Status.MEASURED),
            ("balanced", "L_bal", Quantity.BALANCED, Relation.AT_MOST, upper, Status.PROVED),
            ("objective", "L(θ)", Quantity.OBJECTIVE, Relation.AT_MOST, upper, Status.PROVED),
        )
    ]


PRICING = Pricing(1e300, 0.1)
pairs = st.tuples(st.floats(1e-300, 1e300), st.floats(1.0, 1e3)).map(lambda p: (p[0], p[0] * p[1]))


def numbers(text):
    return [Fraction(found) for found in re.findall(PATTERN, text)]


@given(pairs)
@example((LOWER, UPPER))
@example((5e-324, 1.7e308))
def test_the_verdict(pair):
    lower, upper = pair
    text = verdict(estimates(lower, upper), PRICING, None)
    assert len(text) < 600
    own, least, here, within, _ = numbers(text)
    middle = math.sqrt(lower) * math.sqrt(upper)
    assert own >= 100 * (1 - Fraction(middle) / Fraction(upper))
    assert least <= Fraction(lower) and here >= Fraction(upper)
    assert within >= 100 * (Fraction(upper) / Fraction(lower) - 1)


@given(pairs, st.integers(2, 9))
@example((LOWER, UPPER), 8)
def test_an_estimate_by_its_relation_and_status(pair, digits):
    texts = {found.name: printing.estimate(asdict(found), digits) for found in estimates(*pair)}
    values = {found.name: found.value for found in estimates(*pair)}
    assert texts["own_primal"] == printing.UNKNOWN
    for key in ("moment", "own_dual"):
        assert Fraction(texts[key]) <= Fraction(values[key])
    for key in ("balanced", "objective"):
        assert Fraction(texts[key]) >= Fraction(values[key])


def assert_outward(shown):
    """The texts of the ladder, in the order of ``estimates``."""
    assert Fraction(shown[0]) <= Fraction(LOWER)
    assert Fraction(shown[1]) <= Fraction(estimates(LOWER, UPPER)[1].value)
    assert Fraction(shown[-1]) >= Fraction(UPPER) and Fraction(shown[-2]) >= Fraction(UPPER)


def test_the_ladders_of_the_command_and_of_tensorboard(tmp_path):
    ladder = [asdict(found) for found in estimates(LOWER, UPPER)]
    gap = PatternGap(1, LOWER, 1.0, 0.1)
    certificate = Certificate(
        verdict="", estimates=tuple(estimates(LOWER, UPPER)), pricing=PRICING, theory=TheoryFacts(1.0, 1.0, 1.0),
        stationarity=Stationarity(gap, gap, gap, 0.0, 0.0, 0.0, 1, 0, False, "", 0.0, 0.0), biases=None,
        kept_patterns=None, drift=None, data={"n": 1, "d": 1}, settings={}, network={}, seconds=1.0,
    )  # fmt: skip
    table = show._ladder_table(certificate)
    cells = list(table.columns[1].cells)
    assert_outward([cell for cell in map(str, cells) if re.fullmatch(PATTERN, cell)])
    run = RunFolder.create(tmp_path / "run")
    log_certificate(run, "verdict", ladder, step=1)
    reader = EventAccumulator(str(run.path), size_guidance={"tensors": 0}).Reload()
    (text,) = reader.Tensors("certificate/verdict/text_summary")
    lines = [line.split(" | ") for line in text.tensor_proto.string_val[0].decode().splitlines() if "how" in line]
    assert_outward([line[1] for line in lines if re.fullmatch(PATTERN, line[1])])


def test_the_picture_of_the_ladder():
    figure = ladder_figure([asdict(found) for found in estimates(LOWER, UPPER)])
    texts = [text.get_text().strip() for text in figure.axes[0].texts]
    assert_outward([text for text in texts if re.fullmatch(PATTERN, text)])


def test_the_facts_beside_the_ladder():
    text = facts._gap(1.23454e-5, 1.2345e-7)
    assert numbers(text)[0] >= Fraction(1.23454e-5) and numbers(text)[1] >= Fraction(1.2345e-7)


def test_the_rows_of_a_sweep():
    assert Fraction(sweep._cell("lower_bound", LOWER)) <= Fraction(LOWER)
    assert Fraction(sweep._cell("proved_ratio", 1.00000049)) >= Fraction(1.00000049)
    assert sweep._cell("objective", 0.1 + 0.2) == "0.3"


def test_the_bound_beside_the_theory():
    assert Fraction(theory._number("lower bound of p*", LOWER)) <= Fraction(LOWER)
    assert Fraction(theory._number("upper bound", UPPER)) >= Fraction(UPPER)


def test_no_bound_is_formatted_in_another_way():
    """A format such as ``{bound:.6g}`` rounds to the nearest: no expression that names a bound may have one."""
    found = []
    for name, source in sources():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
                spec = ast.unparse(node.format_spec).strip("f'\"")
                if re.search(r"\.\d+[gfe%]", spec) and re.search(PROVED, ast.unparse(node.value)):
                    found.append(f"{name}: {ast.unparse(node.value)}:{spec}")
    assert found == []


def sources():
    """All Python of the package, the studies, the notebooks and the README."""
    for path in [p for folder in ("reluopt", "experiments") for p in sorted((ROOT / folder).rglob("*.py"))]:
        yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            lines = [line for line in cell["source"] if not line.startswith(("%", "!"))]
            if cell["cell_type"] == "code" and len(lines) == len(cell["source"]):
                yield path.name, "".join(lines)
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL):
        yield "README.md", code
