"""The ladder: what is known about a network's objective, rung by rung, and how each rung is known."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from reluopt import printing
from reluopt.bounds import LowerBound
from reluopt.errors import CertificateError

FORMAT = 1


class Kind(StrEnum):
    """How a number is known."""

    PROVED = "proved"  # a bound that holds with rounding accounted for
    MEASURED = "measured"  # computed in float64, not a bound with proof
    THEORY = "theory"  # what a theorem states, under its hypotheses


@dataclass(frozen=True)
class Rung:
    """One step of the ladder.

    ``side`` says where it stands: "below" p* (a lower bound), "above" p* (an upper bound or a network's value).
    A value that could not be had is NaN and its kind measured; ``meaning`` then says why.
    """

    key: str
    label: str
    value: float
    kind: Kind
    side: str
    meaning: str

    def text(self, digits: int = 8) -> str:
        """The value as it may be shown: proved bounds rounded outward, "unknown" where there is none."""
        return printing.rung(asdict(self), digits)


@dataclass(frozen=True)
class Certificate:
    """A ladder of rungs, facts beside it, and a verdict in plain words.

    The rungs stand in the order of what they speak of, not of their values: lower bounds on p* from the quickest to the
    tightest method; p̃(S(θ)) from below and from above; L_bal and L(θ); then comparisons (p̃ over Gaussian patterns and
    over the kept ones), which may lie anywhere above p*. Only this holds between values: each lower bound ≤ p* ≤
    p̃(S(θ)) ≤ L_bal ≤ L(θ).
    """

    verdict: str
    rungs: tuple[Rung, ...]
    facts: dict[str, Any]
    data: dict[str, Any]
    settings: dict[str, Any]
    network: dict[str, Any]
    seconds: float
    format: int = FORMAT
    notes: tuple[str, ...] = field(default_factory=tuple)
    #: The best lower bound with its evidence, for the certificate file; not part of the JSON.
    bound: LowerBound | None = field(default=None, repr=False, compare=False)

    def __getitem__(self, key: str) -> Rung:
        """The rung of that key."""
        for rung in self.rungs:
            if rung.key == key:
                return rung
        raise KeyError(f"no rung '{key}'; there are: {', '.join(r.key for r in self.rungs)}")

    def to_json(self) -> str:
        """Strict JSON (a number that is not finite becomes null)."""
        content = asdict(dataclasses.replace(self, bound=None))
        del content["bound"]
        return json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Certificate:
        """Read what ``to_json`` wrote.

        Raises
        ------
        CertificateError : text that is not such a certificate, or of another format.
        """
        try:
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']}, expected {FORMAT}")
            rungs = tuple(
                Rung(**{**r, "kind": Kind(r["kind"]), "value": math.nan if r["value"] is None else r["value"]})
                for r in content.pop("rungs")
            )
            return cls(rungs=rungs, notes=tuple(content.pop("notes")), **content)
        except (ValueError, KeyError, TypeError) as error:
            raise CertificateError(
                f"This is not a certificate of reluopt: {error}.", "Make one with 'reluopt certify RUN'."
            ) from error


def _plain(value: Any) -> Any:
    """The same structure with every non-finite number replaced by None."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
