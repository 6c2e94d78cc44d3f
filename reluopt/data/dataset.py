"""Dataset: X and y that passed every check, with their names, their history and their fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from reluopt.data.arrays import as_samples
from reluopt.data.checks import check_data
from reluopt.data.origin import Origin
from reluopt.data.patching import Patching
from reluopt.data.preparation import Preparation
from reluopt.data.preprocessing import preprocess
from reluopt.data.samples import Samples
from reluopt.data.settings import AS_GIVEN, Preprocessing
from reluopt.errors import DataError
from reluopt.fingerprints import data_fingerprint
from reluopt.gate import RowsAndTargets, as_vector, require_usable
from reluopt.plain_arrays import Called, as_numbers
from reluopt.pooling import Pooling


@dataclass(frozen=True, eq=False)
class Dataset(RowsAndTargets):
    """Data to train on and to certify. Making one runs every check; do not write into its arrays.

    Attributes
    ----------
    X : (n, d) float64, C-contiguous, rows x_i; a bias is the last column, all ones.
    y : (n,) float64 targets, or (n, C): unit rows of several classes, or several targets.
    name : of the data set.
    feature_names : d names.
    preprocessing : what was done to the raw samples, as plain values that JSON can hold.
    origin : where the samples came from; it names rows in messages.
    test_X, test_y : (k, d), (k,) or (k, C) samples that are held out, prepared by the same rules; None without any.
    preparation : the rules by which further samples become rows of X; None for arrays that were prepared elsewhere.

    Raises
    ------
    DataError : see :func:`reluopt.data.check_data`.
    """

    X: Float[np.ndarray, "n d"] | Any  # of any kind that the gate takes, which makes float64 of it
    y: Float[np.ndarray, "n ..."] | Any
    name: str
    feature_names: tuple[str, ...]
    preprocessing: dict[str, Any] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin, repr=False)
    preparation: Preparation | None = field(default=None, repr=False)
    test_X: Float[np.ndarray, "k d"] | Any = field(default=None, repr=False)
    test_y: Float[np.ndarray, "k ..."] | Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("X", "y", "test_X", "test_y"):
            values = getattr(self, name)
            if values is not None or name in ("X", "y"):
                array = as_numbers(values, called := Called(name, self.name))
                object.__setattr__(self, name, as_vector(array) if name.endswith("y") else array)
                if name.startswith("test"):  # of the others the check below knows the columns
                    require_usable(array, called)
        patching = None if self.preparation is None else self.preparation.patching
        blank = patching is not None and (patching.bias or patching.shift != 0.0)
        check_data(self.X, self.y, self.feature_names, self.origin, zero_rows=blank)

    @classmethod
    def from_samples(
        cls,
        samples: Samples,
        name: str,
        options: Preprocessing,
        test: Samples | None = None,
        patching: Patching | None = None,
    ) -> Dataset:
        """Preprocess raw samples with options as the data set fills them in (:meth:`Preprocessing.filled`).

        ``test`` : samples to test on, beside those that ``options`` may hold out. ``patching`` : of images.
        """
        done = preprocess(samples, options, test)
        patching = None if patching is None else patching.fitted(done.X, done.origin.name)
        held_out, preparation = done.test or (None, None), replace(done.preparation, patching=patching)
        record = done.record if patching is None else done.record | {"patches": patching.to_mapping()}
        return cls(done.X, done.y, name, done.feature_names, record, done.origin, preparation, *held_out)

    @property
    def raw(self) -> Float[np.ndarray, "n d"]:
        """X, if it is what it was before any preparation.

        Raises
        ------
        DataError : X was scaled, has a bias column, or lost features.
        """
        if self.preparation is not None and not self.preparation.features.changes_nothing:
            raise DataError(
                f"{self.name} is a data set whose samples are prepared already, and raw ones are needed.",
                "Give the samples as they were before: transform and predict prepare them; of prepared rows "
                "reluopt.neurons.predict(data.X, *network.weights()) gives the outputs.",
            )
        return self.X

    @cached_property
    def pooled(self) -> tuple[Float[np.ndarray, "N e"], Pooling | None]:
        """The rows of the training problem and their pooling: X and None, or the patches of images, equal ones once."""
        if self.preparation is None or self.preparation.patching is None:
            return self.X, None
        rows, pooling = self.preparation.patching.apply(self.X)
        return pooling.merged(rows)

    @property
    def pooled_test(self) -> tuple[Float[np.ndarray, "N e"] | None, Pooling | None]:
        """The same of the samples to test on; None and None without any."""
        if self.test_X is None or self.preparation is None or self.preparation.patching is None:
            return self.test_X, None
        return self.preparation.patching.apply(self.test_X)

    @classmethod
    def from_arrays(
        cls,
        X: Any,
        y: Any = None,
        *,
        name: str = "arrays",
        feature_names: Sequence[str] | None = None,
        **preprocessing: Any,
    ) -> Dataset:
        """A data set from your own numpy, torch or pandas data or lists; X and y are copied.

        Parameters
        ----------
        X, y : (n, d) features and (n,) or (n, C) targets, of any real type, or a data set in the place of both. y (n,)
            may hold text labels if ``task="classification"`` or ``"multiclass"``.
        feature_names : d names; the columns of a data frame give theirs.
        preprocessing : the settings of :class:`Preprocessing` (``scaling="standardise"``, ``bias=True``,
            ``task="classification"``, ``standardise_target=True``, ``subset``, ``subset_seed``); without them the
            arrays are taken as they are.

        Raises
        ------
        DataError : data that cannot be used.
        ConfigError : a preprocessing setting that does not exist or is outside of what is allowed.
        """
        options = Preprocessing.from_mapping(preprocessing, where="Dataset.from_arrays").filled(AS_GIVEN)
        return cls.from_samples(as_samples(X, y, name, feature_names), name, options)

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.X.shape[0]

    @property
    def d(self) -> int:
        """Number of features, the ones column of a bias included."""
        return self.X.shape[1]

    @property
    def has_bias_column(self) -> bool:
        """Whether the last column of X is all ones."""
        return bool((self.X[:, -1] == 1.0).all())

    @property
    def labels(self) -> dict[str, str] | None:
        """The labels by what became of them: "-1" and "+1" of two, the numbers of the outputs of several; else None."""
        return self.preprocessing.get("labels")

    @property
    def output_names(self) -> tuple[str, ...] | None:
        """The names of several outputs: classes, or target columns; None where they have none."""
        return None if self.preparation is None else self.preparation.output_names

    def transform(self, X: Any) -> Float[np.ndarray, "k d"]:
        """Further raw samples as rows of X, by the rules that these data gave: see :meth:`Preparation.transform`.

        Raises
        ------
        DataError : data that were prepared elsewhere and have no rules; samples that do not fit the rules.
        """
        if self.preparation is None:
            raise DataError(
                f"{self.name} was made of prepared arrays and has no rules for further samples.",
                "Make it with Dataset.from_arrays or load_dataset.",
            )
        return self.preparation.transform(X)

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of X and y as 64 hexadecimal digits; any change of one bit changes it.

        The hashed bytes, all little-endian, without gaps:

        1. n and d as two unsigned 64-bit integers (16 bytes); with several outputs their number C as a third one,
        2. X as IEEE 754 float64, row after row (8·n·d bytes),
        3. y as IEEE 754 float64, row after row (8·n·C bytes).

        The same in three lines: ``h = hashlib.sha256(struct.pack("<QQ", n, d))``,
        ``h.update(X.astype("<f8").tobytes(order="C"))``, ``h.update(y.astype("<f8").tobytes())``.
        """
        return data_fingerprint(self.X, self.y)
