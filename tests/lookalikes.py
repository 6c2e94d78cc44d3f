"""Files that look like ten that people have (statsmodels, pydataset, UCI): made from a seed, without their rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Lookalike:
    """A file's name and text, what its user says, and what comes of it: samples, features (with the ones column)."""

    name: str
    text: str
    settings: dict[str, object]
    n: int
    d: int
    dropped: int = 0
    labels: tuple[str, str] | None = None


def _lines(rows: list[list[object]], sep: str = ",", head: list[str] | None = None) -> str:
    shown = [sep.join(map(str, row)) for row in ([head] if head else []) + rows]
    return "\n".join(shown) + "\n"


def _numbers(rng: np.random.Generator, n: int, d: int, decimals: int = 2) -> list[list[object]]:
    return [list(map(float, row)) for row in rng.normal(50.0, 12.0, (n, d)).round(decimals)]


def iris(rng: np.random.Generator) -> Lookalike:
    """UCI's iris.data: no header, the label last; here two kinds."""
    rows = [
        [*row, f"Iris-{kind}"] for row, kind in zip(_numbers(rng, 40, 4), ["setosa", "virginica"] * 20, strict=True)
    ]
    labels = ("Iris-setosa", "Iris-virginica")
    return Lookalike("iris.data", _lines(rows), {"target": "last"}, 40, 5, labels=labels)


def mtcars(rng: np.random.Generator) -> Lookalike:
    """R's row names in an unnamed first column."""
    rows = [[f'"Car {i}"', *row] for i, row in enumerate(_numbers(rng, 32, 4))]
    return Lookalike("mtcars.csv", _lines(rows, head=['""', "mpg", "disp", "hp", "wt"]), {"target": "mpg"}, 32, 4)


def titanic(rng: np.random.Generator) -> Lookalike:
    """Row numbers, categories, ages that are NA, a label of words."""
    rows: list[list[object]] = []
    for i in range(1, 41):
        age = "NA" if i % 8 == 0 else int(rng.integers(1, 80))
        rows.append([i, ["1st", "2nd", "3rd"][i % 3], age, ["male", "female"][i % 2], ["no", "yes"][i // 2 % 2]])
    settings = {"target": "survived", "missing": "drop-rows"}
    head = ["Unnamed: 0", "class", "age", "sex", "survived"]
    return Lookalike("titanic.csv", _lines(rows, head=head), settings, 35, 6, 5, ("no", "yes"))


def diamonds(rng: np.random.Generator) -> Lookalike:
    """Two columns of categories beside numbers."""
    rows = [[carat, ["Fair", "Good", "Ideal"][i % 3], "DEF"[i % 3 - i % 2], 300 + 97 * i]
            for i, (carat,) in enumerate(_numbers(rng, 45, 1))]  # fmt: skip
    return Lookalike("diamonds.csv", _lines(rows, head=["carat", "cut", "color", "price"]), {"target": "price"}, 45, 8)


def german(rng: np.random.Generator) -> Lookalike:
    """Decimal commas between semicolons, in the target too."""
    rows = [[str(v).replace(".", ",") for v in row] for row in _numbers(rng, 30, 3)]
    return Lookalike("preise.csv", _lines(rows, ";", ["Fläche", "Baujahr", "Preis"]), {"target": "Preis"}, 30, 3)


def wine(rng: np.random.Generator) -> Lookalike:
    """UCI's winequality: semicolons, quoted names, whole numbers that may be classes."""
    rows = [[*row, 3 + i % 6] for i, row in enumerate(_numbers(rng, 36, 3, 3))]
    head = ['"fixed acidity"', '"citric acid"', '"alcohol"', '"quality"']
    settings = {"target": "quality", "task": "regression"}
    return Lookalike("winequality.csv", _lines(rows, ";", head), settings, 36, 4)


def adult(rng: np.random.Generator) -> Lookalike:
    """UCI's adult.data: no header, a space behind every comma, question marks."""
    kinds, classes = ["Private", "State-gov"], ["<=50K", ">50K"]
    rows: list[list[object]] = []
    for i in range(40):
        kind = "?" if i % 10 == 9 else kinds[i % 2]
        rows.append([int(rng.integers(17, 80)), kind, int(rng.integers(1, 99)), classes[i // 2 % 2]])
    settings = {"target": "last", "missing": "drop-rows"}
    return Lookalike("adult.data", _lines(rows, ", "), settings, 36, 4, 4, ("<=50K", ">50K"))


def airquality(rng: np.random.Generator) -> Lookalike:
    """Missing cells in a feature and in the target: a row without a target goes, a feature's mean takes its place."""
    rows = _numbers(rng, 30, 3, 1)
    rows[3][0] = rows[9][0] = "NA"
    rows[5][1] = "NA"
    settings = {"target": "Ozone", "missing": "mean"}
    return Lookalike("airquality.csv", _lines(rows, head=["Ozone", "Solar.R", "Wind"]), settings, 28, 3, 2)


def tips(rng: np.random.Generator) -> Lookalike:
    """Categories of two values each."""
    rows = [[*row, ["Male", "Female"][i % 2], ["No", "Yes"][i // 2 % 2]] for i, row in enumerate(_numbers(rng, 32, 2))]
    return Lookalike("tips.csv", _lines(rows, head=["total_bill", "tip", "sex", "smoker"]), {"target": "tip"}, 32, 4)


def longley(rng: np.random.Generator) -> Lookalike:
    """Sixteen years, columns of very unlike sizes, a byte order mark and Windows' line ends."""
    rows = [[1947 + i, *row, round(234289 + 20000 * math.sin(i), 1)] for i, row in enumerate(_numbers(rng, 16, 2))]
    text = "\ufeff" + _lines(rows, head=["year", "GNP.deflator", "Unemployed", "GNP"]).replace("\n", "\r\n")
    settings = {"target": "GNP", "index_column": "none"}
    return Lookalike("longley.csv", text, settings, 16, 4)


MAKERS: tuple[Callable[[np.random.Generator], Lookalike], ...] = (
    iris, mtcars, titanic, diamonds, german, wine, adult, airquality, tips, longley,
)  # fmt: skip
