"""Which data, and how it is prepared: the settings of ``reluopt train`` and ``reluopt data``."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reluopt.config import setting
from reluopt.data import builtin
from reluopt.data.dataset import Dataset
from reluopt.data.files import DELIMITERS, read_csv, read_npz
from reluopt.data.idx import SPLITS, read_idx_folder
from reluopt.data.preprocess import AS_GIVEN, STANDARDISED, Preprocessing
from reluopt.data.samples import Samples
from reluopt.errors import ConfigError, DataError


@dataclass(frozen=True, kw_only=True)
class DataConfig(Preprocessing):
    """Which data set, and what is done to it. Settings that are not set are what is usual for the data set."""

    dataset: str = setting(
        "breast_cancer",
        "A built-in data set (breast_cancer, diabetes, digits, gaussian, planted), or the path of a .csv or .npz "
        "file or of a folder with MNIST-like IDX files.",
    )
    target: str | None = setting(None, "CSV: the name of the target column.")
    delimiter: str | None = setting(
        None, "CSV: what separates the cells; unset: found from the header.", choices=tuple(DELIMITERS)
    )
    split: str | None = setting(None, "IDX folder: which files; unset: train if it is there.", choices=SPLITS)
    n: int | None = setting(None, "gaussian, planted: number of samples (100 if unset).", minimum=2)
    d: int | None = setting(None, "gaussian, planted: number of features (10 if unset).", minimum=1)
    teacher_width: int | None = setting(None, "planted: neurons of the hidden network (5 if unset).", minimum=1)
    noise: float | None = setting(
        None, "planted: noise as a fraction of the clean target's standard deviation (0.1 if unset).", minimum=0
    )
    data_seed: int | None = setting(None, "gaussian, planted: seed of the made-up data (0 if unset).", minimum=0)


@dataclass(frozen=True)
class Source:
    """A way to get samples: its reader, the settings that the reader takes, and the usual preprocessing."""

    read: Callable[..., Samples]
    settings: tuple[str, ...]
    usual: Preprocessing


BUILT_IN = {
    "breast_cancer": Source(builtin.breast_cancer_samples, (), STANDARDISED),
    "diabetes": Source(builtin.diabetes_samples, (), STANDARDISED),
    "digits": Source(builtin.digits_samples, (), STANDARDISED),
    "gaussian": Source(builtin.gaussian_samples, ("n", "d", "data_seed"), AS_GIVEN),
    "planted": Source(builtin.planted_samples, ("n", "d", "teacher_width", "noise", "data_seed"), AS_GIVEN),
}
CSV = Source(read_csv, ("target", "delimiter"), STANDARDISED)
NPZ = Source(read_npz, (), AS_GIVEN)
IDX_FOLDER = Source(read_idx_folder, ("split",), STANDARDISED)
SOURCE_SETTINGS = ("target", "delimiter", "split", "n", "d", "teacher_width", "noise", "data_seed")


def load_dataset(config: DataConfig) -> Dataset:
    """The data set of a configuration, checked and prepared.

    What is usual: breast_cancer, diabetes, digits, CSV and IDX are standardised with a ones column, two-valued
    targets and digits become −1/+1, other targets are standardised; gaussian, planted and NPZ stay as they are.

    Raises
    ------
    DataError : no such data set or file, or data that cannot be used.
    ConfigError : a setting that the data set does not take.
    """
    source, arguments = _source(config.dataset)
    given = {name: getattr(config, name) for name in SOURCE_SETTINGS if getattr(config, name) is not None}
    for name in given:
        if name not in source.settings:
            takes = ", ".join(source.settings) or "none of the settings of other data sets"
            raise ConfigError(
                f"'{name}' is set, and the data set '{config.dataset}' does not use it.",
                f"Leave '{name}' out. This data set takes: {takes}; 'subset' is for every data set.",
            )
    samples = source.read(*arguments, **given)
    name = config.dataset if config.dataset in BUILT_IN else Path(samples.origin.name).with_suffix("").as_posix()
    return Dataset.from_samples(samples, name, config.filled(source.usual))


def _source(dataset: str) -> tuple[Source, tuple[Any, ...]]:
    """The source of a data set, and the arguments that say which file."""
    if dataset in BUILT_IN:
        return BUILT_IN[dataset], ()
    path = Path(dataset).expanduser()
    by_suffix = {".csv": CSV, ".tsv": CSV, ".npz": NPZ}
    if path.suffix.lower() in by_suffix:
        return by_suffix[path.suffix.lower()], (path,)
    if path.is_dir():
        return IDX_FOLDER, (path,)
    names = ", ".join(BUILT_IN)
    if path.is_file():
        raise DataError(f"The file '{dataset}' is of no known kind.", "Give a .csv or .npz file, or an IDX folder.")
    close = difflib.get_close_matches(dataset.lower(), BUILT_IN, n=2, cutoff=0.5)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    raise DataError(
        f"There is no data set, file or folder '{dataset}'.",
        f"{hint}Built in are: {names}. Or give the path of a .csv or .npz file or of an IDX folder.",
    )
