"""The fitted preparation of a data set: everything that turns further samples of its kind into X."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from reluopt.config import short
from reluopt.data.arrays import as_features
from reluopt.data.checks import check_values
from reluopt.data.encoding import ColumnRule, Encoding, Fate
from reluopt.data.labels import NUMBERS, LabelRule
from reluopt.data.origin import Origin
from reluopt.data.patching import Patching
from reluopt.data.reading import Dropped, Reading
from reluopt.data.table import Table
from reluopt.errors import DataError
from reluopt.gate import is_data


@dataclass(frozen=True, eq=False)
class FeatureRule:
    """x ← (x_kept/divisor − shift)/scale, then perhaps x/‖x‖, then perhaps a one behind it.

    Attributes
    ----------
    kept : (d_raw,) mask of the features that are kept.
    divisor : of the raw values.
    shift, scale : (k,) the means and deviations, None where there is none.
    unit_rows : whether rows get norm 1.
    bias : whether a one is appended.
    """

    kept: Bool[np.ndarray, " d"]
    divisor: float
    shift: Float[np.ndarray, " k"] | None
    scale: Float[np.ndarray, " k"] | None
    unit_rows: bool
    bias: bool

    @property
    def changes_nothing(self) -> bool:
        """Whether the features are the raw ones."""
        scaled = self.divisor != 1.0 or self.shift is not None or self.scale is not None or self.unit_rows
        return not (scaled or self.bias) and bool(self.kept.all())

    def require_sound(self, width: int) -> None:
        """ValueError unless the rule, as read from a file, can be applied to so many features."""
        if self.kept.shape != (width,):
            raise ValueError(f"{width} features, and 'kept' says of {self.kept.size} whether they are")
        for name in ("shift", "scale"):
            values = getattr(self, name)
            if values is not None and values.shape != (int(self.kept.sum()),):
                raise ValueError(f"{int(self.kept.sum())} features are kept, and '{name}' has {values.size} numbers")
        _require_usable("shift", self.shift)
        for name in ("divisor", "scale"):
            _require_usable(name, getattr(self, name), positive=True)

    def apply(self, raw: np.ndarray, origin: Origin) -> Float[np.ndarray, "n e"]:
        """The features (n, e) of raw ones (n, d_raw)."""
        width = int(self.kept.sum())
        out = np.ones((len(raw), width + self.bias))
        X = out[:, :width]
        X[...] = raw[:, self.kept]
        if self.divisor != 1.0:
            X /= self.divisor
        if self.shift is not None:
            X -= self.shift
        if self.scale is not None:
            X /= self.scale
        if self.unit_rows:
            unit_rows(X, origin)
        return out


@dataclass(frozen=True)
class TargetRule:
    """What became of the target: classes by a label map, or numbers, perhaps (y − target_mean)/target_std.

    Of several columns of numbers mean and deviation are lists, one number a column.
    """

    labels: dict[str, str] | None
    standardise_target: bool = False
    target_mean: float | list[float] | None = None
    target_std: float | list[float] | None = None
    rule: LabelRule = NUMBERS

    def require_sound(self) -> None:
        """ValueError unless the rule, as read from a file, can be applied."""
        _require_usable("target_mean", self.target_mean)
        _require_usable("target_std", self.target_std, positive=True)
        if self.standardise_target and None in (self.target_mean, self.target_std):
            raise ValueError("a standardised target without its mean and deviation")
        if self.labels is not None and set(self.labels) not in ({"-1", "+1"}, set(map(str, range(len(self.labels))))):
            raise ValueError(f"'labels' is {short(self.labels)}")

    def apply(self, y: np.ndarray, origin: Origin) -> Float[np.ndarray, "n ..."]:
        """The targets (n,) or (n, C) of the training problem, of labels or numbers as they stand in the data."""
        return self._shifted(self.rule.apply(y, origin))

    def _shifted(self, y: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n ..."]:
        if self.target_mean is None or self.target_std is None:
            return y
        return (y - np.asarray(self.target_mean)) / np.asarray(self.target_std)

    def undo(self, f: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n ..."]:
        """Numbers in the units of the data, of outputs (n,) or (n, C) in those of the training problem."""
        if self.target_mean is None or self.target_std is None:
            return f
        return np.asarray(self.target_mean) + np.asarray(self.target_std) * f

    def to_mapping(self) -> dict[str, Any]:
        """Plain values; mean and deviation only where they were used."""
        facts = asdict(self)
        del facts["rule"]
        return facts if self.standardise_target else {k: facts[k] for k in ("labels", "standardise_target")}


@dataclass(frozen=True, eq=False)
class Preparation:
    """A data set's preparation, which can be stored (:meth:`to_mapping`) and applied to further samples.

    Attributes
    ----------
    raw_names : (d_raw,) the features before any of them was left out.
    features, target : the rules.
    reading : how the raw features came of a table, None for arrays.
    patching : how rows of pixels become pooled patches, None where rows are samples.
    """

    raw_names: tuple[str, ...]
    features: FeatureRule
    target: TargetRule
    reading: Reading | None = None
    patching: Patching | None = None

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of X's columns."""
        kept = tuple(name for name, keep in zip(self.raw_names, self.features.kept, strict=True) if keep)
        return kept + (("bias",) if self.features.bias else ())

    @property
    def constant(self) -> tuple[str, ...]:
        """The raw features that were left out because they are constant."""
        return tuple(name for name, keep in zip(self.raw_names, self.features.kept, strict=True) if not keep)

    def transform(self, X: Any) -> Float[np.ndarray, "n d"]:
        """The rows of the training problem's X (n, d) for further raw samples.

        Parameters
        ----------
        X : a data frame with the columns of the data (in any order, others are ignored), or raw features (n, d_raw);
            with ``patching`` also images (n, height, width) or (n, channels, height, width). A data set gives its X if
            that is raw.

        Raises
        ------
        DataError : a column that is not there, an unknown category, missing or infinite values, another width.
        """
        return self.apply(*self._raw(X))

    def _raw(self, X: Any) -> tuple[Float[np.ndarray, "n d"], Origin]:
        if is_data(X):
            X = X.raw
        if hasattr(X, "columns") and hasattr(X, "to_numpy"):
            table = Table.from_frame(X)
            return self.encoding.filled(self.encoding.features(table)), table.origin
        features = as_features(X, "X")[0]
        return features if self.patching is None else self.patching.flat(features, "X"), Origin("X")

    def apply(self, raw: Float[np.ndarray, "n d"], origin: Origin) -> Float[np.ndarray, "n e"]:
        """The rows of X of raw features (n, d_raw), which are checked; ``origin`` names rows in messages."""
        if raw.ndim != 2 or raw.shape[1] != len(self.raw_names):
            raise DataError(
                f"{origin.name} has shape {raw.shape}; the data of the training have {len(self.raw_names)} features.",
                "Give the same features, without the target.",
            )
        if len(raw):
            check_values(raw, self.raw_names, origin)
        return self.features.apply(raw, origin)

    @property
    def width(self) -> int:
        """How many inputs a network takes: the columns of X, or those of a patch."""
        return len(self.feature_names) if self.patching is None else self.patching.width

    @property
    def encoding(self) -> Encoding:
        """The rules of the columns; of data that came of no table: one column of numbers a feature."""
        if self.reading is not None:
            return self.reading.encoding
        return Encoding(tuple(ColumnRule(name, Fate.NUMBER) for name in self.raw_names))

    @property
    def output_names(self) -> tuple[str, ...] | None:
        """The names of several outputs: the labels of the classes, or the target columns; None where they have none."""
        labels = self.target.labels
        if labels is not None:
            return None if "-1" in labels else tuple(labels[str(k)] for k in range(len(labels)))
        names = self.encoding.targets
        return names if len(names) > 1 else None

    def columns(self) -> tuple[ColumnRule, ...]:
        """What became of each column of the file, those that turned out to be constant included."""
        if self.reading is None:
            return ()
        gone = set(self.constant)
        return tuple(
            ColumnRule(rule.name, Fate.CONSTANT, rule.why)
            if rule.features and all(name in gone for name in rule.features)
            else rule
            for rule in self.reading.encoding.columns
        )

    def to_mapping(self) -> dict[str, Any]:
        """The preparation as plain values that JSON can hold."""
        f, reading = self.features, self.reading
        return {
            "raw_names": list(self.raw_names),
            "features": {
                "kept": f.kept.tolist(),
                "divisor": f.divisor,
                "shift": None if f.shift is None else f.shift.tolist(),
                "scale": None if f.scale is None else f.scale.tolist(),
                "unit_rows": f.unit_rows,
                "bias": f.bias,
            },
            "target": asdict(self.target),
            **({} if self.patching is None else {"patching": self.patching.to_mapping()}),
            "reading": None
            if reading is None
            else {
                "encoding": reading.encoding.to_mapping(),
                "rows": reading.rows,
                "dropped": [asdict(d) for d in reading.dropped],
                "notes": list(reading.notes),
            },
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Preparation:
        """The inverse of :meth:`to_mapping`."""
        f, r = dict(mapping["features"]), mapping["reading"]
        f["kept"] = np.array(f["kept"], dtype=bool)
        f |= {key: None if f[key] is None else np.array(f[key], dtype=np.float64) for key in ("shift", "scale")}
        target = dict(mapping["target"])
        rule = LabelRule(target["rule"]["kind"], tuple(target["rule"]["values"]))
        target["labels"] = rule.labels or target["labels"]  # those of earlier releases are cut or rounded
        reading = None
        if r is not None:
            # earlier releases said only by the labels that the target is text
            encoding = Encoding.from_mapping({"text_target": rule.of_texts, **r["encoding"]})
            dropped = tuple(Dropped(**d) for d in r["dropped"])
            reading = Reading(encoding, r["rows"], dropped, tuple(r["notes"]))
        patching = None if mapping.get("patching") is None else Patching.from_mapping(mapping["patching"])
        names = tuple(mapping["raw_names"])
        if patching is not None and math.prod(patching.shape) != len(names):
            raise ValueError("images of another size than the features")
        found = cls(names, FeatureRule(**f), TargetRule(**{**target, "rule": rule}), reading, patching)
        found.features.require_sound(len(names))
        found.target.require_sound()
        return found


def _require_usable(name: str, values: Any, *, positive: bool = False) -> None:
    """ValueError unless all of the numbers, if there are some, are finite (and above 0)."""
    if values is not None and not (np.isfinite(values).all() and (not positive or (np.asarray(values) > 0).all())):
        raise ValueError(f"'{name}' is {short(values)}")


def unit_rows(X: Float[np.ndarray, "n d"], origin: Origin) -> None:
    """x_i ← x_i/‖x_i‖ in place; first by the largest entry, so that squares neither overflow nor vanish."""
    largest = np.maximum(X.max(axis=1), -X.min(axis=1))
    zero = np.flatnonzero(largest == 0.0)
    if len(zero):
        raise DataError(
            f"{origin.name}, {origin.row(int(zero[0]))}: all features are zero, so the row has no direction.",
            "Choose another scaling than unit_rows, or drop the sample.",
        )
    X /= largest[:, None]
    X /= np.sqrt(np.einsum("ij,ij->i", X, X))[:, None]
