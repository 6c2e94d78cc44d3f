"""The certificate of a network as one record: estimates, facts, a verdict; to JSON and back."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any, TypeVar

from reluopt import printing
from reluopt.bounds import LowerBound
from reluopt.certificate.estimates import (
    Biases,
    Estimate,
    Pricing,
    Quantity,
    Relation,
    Stationarity,
    Status,
    TheoryFacts,
)
from reluopt.certificate.markup import certificate_html, certificate_latex
from reluopt.errors import CertificateError

#: Of the JSON; ``schema.json`` beside this file describes it.
JSON_FORMAT = 2
#: What the JSON repeats for its readers, as the estimates give it.
DERIVED = ("lower_bound", "proved_within")

T = TypeVar("T")


@dataclass(frozen=True)
class Certificate:
    """Estimates of L(θ), p* and what lies between, facts beside them, and a verdict in plain words.

    The estimates stand in the order of what they speak of, not of their values: lower bounds on p* from the quickest to
    the tightest method; p̃(S(θ)) from below and from above; L_bal and L(θ); then comparisons (p̃ over Gaussian patterns
    and over the kept ones), which may lie anywhere above p*. Only this holds between values: each lower bound ≤ p* ≤
    p̃(S(θ)) ≤ L_bal ≤ L(θ).

    Attributes
    ----------
    verdict : what the numbers say, in two or three sentences.
    biases : of a converted model whose training does not charge its biases as L does. ``kept_patterns`` : |S_kept|.
    drift : the last drift record of the run.
    data, settings, network : what it is about and how it was made. ``seconds`` : wall-clock time.
    ``notes`` : what was left out or cut short.
    bound : the best lower bound with its evidence, for the certificate file; not part of the JSON.
    """

    verdict: str
    estimates: tuple[Estimate, ...]
    stationarity: Stationarity
    pricing: Pricing
    theory: TheoryFacts
    biases: Biases | None
    kept_patterns: int | None
    drift: dict[str, Any] | None
    data: dict[str, Any]
    settings: dict[str, Any]
    network: dict[str, Any]
    seconds: float
    format: int = JSON_FORMAT
    notes: tuple[str, ...] = field(default_factory=tuple)
    bound: LowerBound | None = field(default=None, repr=False, compare=False)

    def __getitem__(self, name: str) -> Estimate:
        """The estimate of that name."""
        for estimate in self.estimates:
            if estimate.name == name:
                return estimate
        raise KeyError(f"no estimate '{name}'; there are: {', '.join(e.name for e in self.estimates)}")

    @property
    def objective(self) -> float:
        """L(θ), rounded up."""
        return self["objective"].value

    @property
    def lower_bound(self) -> float:
        """The largest proved lower bound on p*: no network of any width has a smaller objective. 0 where none is."""
        best = best_lower_bound(self.estimates)
        return best.value if best is not None else 0.0

    @property
    def proved_within(self) -> float:
        """L(θ)/``lower_bound`` − 1, rounded up: L(θ) ≤ (1 + this)·p*; ``inf`` where no positive bound is proved."""
        return _up(printing.excess(self.objective, self.lower_bound))

    def to_json(self) -> str:
        """Strict JSON as ``schema.json`` describes it (a number that is not finite becomes null)."""
        content = asdict(dataclasses.replace(self, bound=None))
        del content["bound"]
        content |= {name: getattr(self, name) for name in DERIVED}
        return json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict and the ladder."""
        return certificate_html(self)

    def to_latex(self) -> str:
        """The ladder as a LaTeX ``tabular`` (it needs no package)."""
        return certificate_latex(self)

    @classmethod
    def from_json(cls, text: str) -> Certificate:
        """Read what ``to_json`` wrote.

        Raises
        ------
        CertificateError : text that is not such a certificate, or of another format.
        """
        try:
            content = json.loads(text)
            if content["format"] != JSON_FORMAT:
                raise ValueError(f"format {content['format']}, expected {JSON_FORMAT}")
            for name in DERIVED:  # they follow from the estimates
                content.pop(name)
            return _typed(cls, content)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CertificateError(
                f"This is not a certificate of reluopt: {error}.", "Make one with 'reluopt certify RUN'."
            ) from error


def best_lower_bound(estimates: Iterable[Estimate]) -> Estimate | None:
    """The largest proved lower bound on p*."""
    proved = [
        e for e in estimates
        if e.quantity is Quantity.OPTIMUM and e.relation is Relation.AT_LEAST and e.status is Status.PROVED
    ]  # fmt: skip
    return max(proved, key=lambda e: e.value, default=None)


def _up(value: Fraction | float) -> float:
    """The smallest float64 ≥ value."""
    if isinstance(value, float):
        return value
    nearest = float(value)
    return nearest if Fraction(nearest) >= value else math.nextafter(nearest, math.inf)


def _plain(value: Any) -> Any:
    """The same structure with every non-finite number replaced by None."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _typed(kind: type[T], content: dict[str, Any]) -> T:
    """A record of dataclasses from JSON's plain values, with the types of its fields."""
    if not isinstance(content, dict):
        raise TypeError(f"{kind.__name__} is {type(content).__name__}")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _value(hints[name], value) for name, value in content.items()})


def _value(hint: Any, value: Any) -> Any:
    if isinstance(hint, types.UnionType):
        return None if value is None else _value(typing.get_args(hint)[0], value)
    if typing.get_origin(hint) is tuple:
        return tuple(_value(typing.get_args(hint)[0], item) for item in value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _typed(hint, value)
    if hint is float:
        return math.nan if value is None else _number(value)
    if isinstance(hint, type) and not isinstance(value, hint):
        return hint(value) if issubclass(hint, str) else _refuse(hint, value)
    return value


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else _refuse(float, value)


def _refuse(kind: type, value: Any) -> Any:
    raise TypeError(f"{str(value)[:60]!r} is not of type {kind.__name__}")
