"""From raw samples to the X and y that are trained on: subset, labels, scaling, bias column, in this order."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from reluopt.data.checks import SMALLEST_SPREAD, check_target, check_target_values, check_values, require_spread, varies
from reluopt.data.known import label_text
from reluopt.data.labels import LabelRule, label_rule, map_labels
from reluopt.data.origin import Origin
from reluopt.data.preparation import FeatureRule, Preparation, TargetRule, unit_rows
from reluopt.data.reading import Reading
from reluopt.data.samples import Samples, require_images
from reluopt.data.settings import Preprocessing
from reluopt.data.table import short
from reluopt.errors import DataError

#: Columns whose sizes differ by more than this factor bring a warning.
UNLIKE = 1e6

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Prepared:
    """The outcome of :func:`preprocess`: a new ``X`` (n, d), ``y`` (n,) or (n, C) and the record of what was done.

    ``test`` : X and y of the samples that are held out, None without any.
    """

    X: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, "n ..."]
    feature_names: tuple[str, ...]
    record: dict[str, Any]
    origin: Origin
    preparation: Preparation
    test: tuple[Float[np.ndarray, "k d"], Float[np.ndarray, "k ..."]] | None = None


def preprocess(samples: Samples, options: Preprocessing, test: Samples | None = None) -> Prepared:
    """Apply options as filled in by the data set. Means and deviations are those of the samples that are trained on.

    Samples to test on come from ``test``, or are drawn from ``samples`` (``test_fraction``).

    A constant feature is dropped under ``standardise`` and ``centre``, which would make it zero, and under
    ``none`` with a bias column, which it would repeat. The record names what was dropped.

    Raises
    ------
    DataError : unusable values, a constant target, labels that do not fit, a subset larger than the data, a zero row
        under ``unit_rows``, or nothing left but constant features.
    """
    _check_features(samples)
    if samples.y.dtype.kind == "f":
        check_target_values(samples.y, samples.origin)
    record: dict[str, Any] = {"source": samples.origin.name, "samples_in_source": len(samples.X)}
    record |= {"subset": options.subset, "subset_seed": None if options.subset is None else options.subset_seed}
    if options.subset is not None:
        samples = _subset(samples, options.subset, options.subset_seed)
    if options.test_fraction is not None:
        samples, test = _held_out(samples, options.test_fraction, options.test_seed)
        _require_two_targets(samples, test)
        record |= {"test_fraction": options.test_fraction, "test_seed": options.test_seed}
    if samples.reading is not None:
        record |= {"rows_in_file": samples.reading.rows}
    if samples.gaps:
        samples = _with_means(samples)
    y, target = _prepared_target(samples, options)
    X, features = _prepared_features(samples, options)
    preparation = Preparation(samples.feature_names, features, target, samples.reading)
    _warn_about_scales(X[:, : int(features.kept.sum())], preparation, samples.origin)
    dropped = {"dropped_constant_features": list(preparation.constant)}
    about = {"scaling": options.scaling, "bias": options.bias, "divisor": samples.divisor}
    record |= target.to_mapping() | about | dropped
    held_out = None
    if test is not None:
        if options.test_fraction is not None:
            _require_labels_trained_on(target.rule, test, samples)
        elif test.reading is not None:
            record |= {"test_rows_in_file": test.reading.rows, "test_rows_dropped": _dropped(test.reading)}
        held_out = _prepared_test(samples, test, preparation)
    return Prepared(X, y, preparation.feature_names, record, samples.origin, preparation, held_out)


def _held_out(samples: Samples, share: float, seed: int) -> tuple[Samples, Samples]:
    """(samples to train on, samples to test on), both in the order of the file."""
    n = len(samples.X)
    count = max(2, round(share * n))  # samples are two at least
    if n - count < 2:
        raise DataError(
            f"{samples.origin.name} has {n} samples; with {count} held out too few are left to train on.",
            "Hold a smaller share out.",
        )
    order = np.random.default_rng(seed).permutation(n)
    return samples.select(np.sort(order[count:])), samples.select(np.sort(order[:count]))


def _prepared_test(
    samples: Samples, test: Samples, preparation: Preparation
) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, "k ..."]]:
    """X and y of the samples to test on, by the rules that those to train on gave."""
    require_images(test.image, samples.image, test.origin.name)
    if test.feature_names != samples.feature_names:
        raise DataError(
            f"{test.origin.name} has other columns than {samples.origin.name}.", "Give both files the same columns."
        )
    _check_features(test)
    X = preparation.encoding.filled(test.X.copy()) if test.gaps else test.X
    return preparation.features.apply(X, test.origin), preparation.target.apply(test.y, test.origin)


def _require_two_targets(samples: Samples, test: Samples) -> None:
    """Refuse a split after which all that is trained on is of one class."""
    if (samples.y == samples.y[0]).all() and not (test.y == samples.y[0]).all():
        raise DataError(
            f"{samples.origin.name}: the targets of all samples to train on are alike, and all others are held out.",
            "Draw others with --test-seed, or hold a smaller share out.",
        )


def _require_labels_trained_on(rule: LabelRule, test: Samples, samples: Samples) -> None:
    """Refuse a split that takes all samples of a class away from those that are trained on."""
    if len(new := rule.new_labels(test.y)):
        label = short(label_text(test.y[new[0]].item()))
        raise DataError(
            f"{samples.origin.name}: all samples with the label '{label}' ({int((test.y == test.y[new[0]]).sum())}) "
            "are held out, and none is left to train on.",
            "Draw others with --test-seed, hold a smaller share out, or leave that class out of the file.",
        )


def _check_features(samples: Samples) -> None:
    X = np.nan_to_num(samples.X, nan=0.0, posinf=np.inf, neginf=-np.inf) if samples.gaps else samples.X
    check_values(X, samples.feature_names, samples.origin)


def _with_means(samples: Samples) -> Samples:
    """The samples to train on with their means in place of what is missing, and the rules that do so."""
    assert samples.reading is not None
    encoding = samples.reading.encoding.with_means(samples.X)
    reading = dataclasses.replace(samples.reading, encoding=encoding)
    return dataclasses.replace(samples, X=encoding.filled(samples.X.copy()), reading=reading)


def _dropped(reading: Reading) -> dict[str, int]:
    """How many rows were dropped, by why."""
    return {gone.why: gone.rows for gone in reading.dropped}


def _subset(samples: Samples, size: int, seed: int) -> Samples:
    """A random subset without replacement, in the order of the file."""
    n = len(samples.X)
    if size > n:
        raise DataError(
            f"A subset of {size} samples was asked for, and {samples.origin.name} has {n}.",
            f"Ask for at most {n}, or leave the subset out.",
        )
    return samples.select(np.sort(np.random.default_rng(seed).choice(n, size, replace=False)))


def _prepared_target(samples: Samples, options: Preprocessing) -> tuple[Float[np.ndarray, "n ..."], TargetRule]:
    """The target as classes or numbers, perhaps (y − mean)/std with the population deviation; the rule.

    Several columns of a table are standardised one by one, unless all hold two values only: they are labels.
    """
    y, label_map = map_labels(samples, str(options.task), options.positive)
    check_target(y, samples.origin)
    rule = label_rule(samples, y, label_map, options.positive)
    standardise = options.standardise_target
    if standardise is None:
        standardise = label_map is None and (y.ndim == 1 or (samples.reading is not None and not _two_valued(y)))
    if not standardise:
        return y, TargetRule(label_map, rule=rule)
    if y.ndim == 2:
        names = [f"target {k + 1} of {y.shape[1]}" for k in range(y.shape[1])]
        require_spread(y.min(axis=0), y.max(axis=0), len(y), names, samples.origin.name)
    if y.ndim == 2 and (constant := np.flatnonzero(np.ptp(y, axis=0) < SMALLEST_SPREAD)).size:
        raise DataError(
            f"{samples.origin.name}: target {int(constant[0]) + 1} of {y.shape[1]} is constant.",
            "Leave it out, or set standardise_target = false.",
        )
    mean, std = y.mean(axis=0).tolist(), y.std(axis=0).tolist()
    return (y - mean) / std, TargetRule(label_map, True, mean, std, rule)


def _two_valued(y: Float[np.ndarray, "n C"]) -> bool:
    """Whether every column holds its smallest and its largest number only."""
    return bool(((y == y.min(axis=0)) | (y == y.max(axis=0))).all())


def _prepared_features(samples: Samples, options: Preprocessing) -> tuple[Float[np.ndarray, "n e"], FeatureRule]:
    """The scaled features with the bias, and the rule that makes them."""
    keep = _kept_features(samples, options)
    X, shift, scale = _scaled(samples, keep, options)
    unit_rows = options.scaling == "unit_rows"
    return X, FeatureRule(keep, samples.divisor, shift, scale, unit_rows, bool(options.bias))


def _warn_about_scales(X: Float[np.ndarray, "n d"], preparation: Preparation, origin: Origin) -> None:
    """Weight decay treats all columns alike, so columns of very different size are hardly what is meant."""
    sizes = np.maximum(X.max(axis=0), -X.min(axis=0))
    some = np.flatnonzero(sizes)
    if not len(some):
        return
    low, high = some[np.argmin(sizes[some])], some[np.argmax(sizes[some])]
    if sizes[high] > UNLIKE * sizes[low]:
        names = preparation.feature_names
        logger.warning(
            "%s: the columns are of very different size, from %.1e ('%s') to %.1e ('%s'), and weight decay treats them "
            "alike. Set scaling = \"standardise\" (--scaling standardise).",
            origin.name, sizes[low], short(names[low]), sizes[high], short(names[high]),
        )  # fmt: skip


def _kept_features(samples: Samples, options: Preprocessing) -> Bool[np.ndarray, " d"]:
    """Mask (d,) of the features that are kept."""
    n, d = samples.X.shape
    drops = options.scaling in ("standardise", "centre") or (options.scaling == "none" and options.bias)
    if not drops:
        return np.ones(d, dtype=bool)
    low, high = (extreme.astype(np.float64) for extreme in (samples.X.min(axis=0), samples.X.max(axis=0)))
    names = [f"column '{short(name)}'" for name in samples.feature_names]
    require_spread(low, high, n, names, samples.origin.name)
    keep = varies(low, high, n)
    if not keep.any():
        raise DataError(
            f"{samples.origin.name}: every feature is constant over the {n} samples.",
            "Choose a larger or other subset, or data whose features vary.",
        )
    return keep


def _scaled(
    samples: Samples, keep: Bool[np.ndarray, " d"], options: Preprocessing
) -> tuple[Float[np.ndarray, "n e"], Float[np.ndarray, " k"] | None, Float[np.ndarray, " k"] | None]:
    """The scaled features with the ones column, one new array worked on in place; the means and the deviations."""
    width = int(keep.sum())
    out = np.ones((len(samples.X), width + bool(options.bias)))
    X = out[:, :width]
    X[...] = samples.X if keep.all() else samples.X[:, keep]
    if samples.divisor != 1.0:
        X /= samples.divisor
    shift = scale = None
    if options.scaling in ("standardise", "centre"):
        shift = X.mean(axis=0)
        X -= shift
    if options.scaling == "standardise":
        scale = np.sqrt(np.einsum("ij,ij->j", X, X) / len(X))
        X /= scale
    if options.scaling == "unit_rows":
        unit_rows(X, samples.origin)
    return out, shift, scale
