"""Where each data set comes from, and what is usual for it."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reluopt.data import builtin
from reluopt.data.columnar import read_columnar_table
from reluopt.data.csv_file import read_text_table
from reluopt.data.dataset import Dataset
from reluopt.data.encoders import encode, encode_like
from reluopt.data.idx import read_idx_folder
from reluopt.data.labels import ask_about_few_values
from reluopt.data.npz import read_npz
from reluopt.data.patching import Patching, patching_of
from reluopt.data.samples import Samples
from reluopt.data.settings import AS_GIVEN, STANDARDISED, DataConfig, Preprocessing
from reluopt.data.table import TableSettings
from reluopt.errors import ConfigError, DataError


@dataclass(frozen=True)
class Source:
    """A way to get samples: its reader, the settings that the reader takes, and the usual preprocessing."""

    read: Callable[..., Samples]
    settings: tuple[str, ...]
    usual: Preprocessing


def read_text(path: Path, *, labels: bool = False, **settings: Any) -> Samples:
    """The samples of a text table; ``labels`` is that of :func:`encode`, the others are of :class:`TableSettings`."""
    chosen = TableSettings(**settings)
    return encode(read_text_table(path, chosen), chosen, labels=labels)


def read_columnar(path: Path, *, labels: bool = False, **settings: Any) -> Samples:
    """The samples of a Parquet or Feather file; the arguments are those of :func:`read_text`."""
    chosen = TableSettings(**settings)
    return encode(read_columnar_table(path, chosen), chosen, labels=labels)


BUILT_IN = {
    "breast_cancer": Source(builtin.breast_cancer_samples, (), STANDARDISED),
    "diabetes": Source(builtin.diabetes_samples, (), STANDARDISED),
    "digits": Source(builtin.digits_samples, (), STANDARDISED),
    "iris": Source(builtin.iris_samples, (), STANDARDISED),
    "wine": Source(builtin.wine_samples, (), STANDARDISED),
    "gaussian": Source(builtin.gaussian_samples, ("n", "d", "data_seed"), AS_GIVEN),
    "planted": Source(builtin.planted_samples, ("n", "d", "teacher_width", "noise", "data_seed"), AS_GIVEN),
}
#: The tasks that say that the target is labels.
CLASSES = ("classification", "multiclass")
TABLE_SETTINGS = tuple(f.name for f in dataclasses.fields(TableSettings))
TEXT = Source(read_text, TABLE_SETTINGS, STANDARDISED)
COLUMNAR = Source(read_columnar, TABLE_SETTINGS, STANDARDISED)
NPZ = Source(read_npz, ("max_bytes",), AS_GIVEN)
IDX_FOLDER = Source(read_idx_folder, ("split", "max_bytes"), STANDARDISED)
SOURCE_SETTINGS = (*TABLE_SETTINGS, "split", "n", "d", "teacher_width", "noise", "data_seed")

BY_SUFFIX = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".txt", ".data", ".dat"), TEXT),
    **dict.fromkeys((".parquet", ".pq", ".feather", ".arrow"), COLUMNAR),
    ".npz": NPZ,
}
_KINDS = "a table (.csv, .tsv, .txt, .data, also as .gz; .parquet, .feather), an .npz file, or a folder of IDX files"


def load_dataset(config: DataConfig) -> Dataset:
    """The data set of a configuration, checked and prepared.

    What is usual: breast_cancer, diabetes, digits, iris, wine, tables and IDX are standardised with a ones column,
    two-valued targets and digits become −1/+1, text of more values unit rows (``task="multiclass"`` does that for
    digits and numbers), other targets are standardised; gaussian, planted and NPZ stay as they are.

    Raises
    ------
    DataError : no such data set or file, or data that cannot be used.
    ConfigError : a setting that the data set does not take.
    """
    source, arguments = source_of(config.dataset)
    defaults = {f.name: f.default for f in dataclasses.fields(DataConfig)}
    given = {name: v for name in SOURCE_SETTINGS if (v := getattr(config, name)) != defaults[name]}
    for name in given:
        if name not in source.settings:
            takes = ", ".join(source.settings) or "none of the settings of other data sets"
            raise ConfigError(
                f"'{name}' is set, and the data set '{config.dataset}' does not use it.",
                f"Leave '{name}' out. This data set takes: {takes}; 'subset' is for every data set.",
            )
    if source is NPZ and config.patches is not None:
        given["images"] = True
    options = config.filled(source.usual)
    labels = {"labels": True} if source in (TEXT, COLUMNAR) and options.task in CLASSES else {}
    samples = source.read(*arguments, **given, **labels)
    if source is NPZ and config.task is None and config.positive is None:
        ask_about_few_values(samples)
    name = config.dataset if config.dataset in BUILT_IN else _name(samples.origin.name)
    test = None if config.test_file is None else _test_samples(config, source, given, samples)
    options, patching = _of_images(config, samples, options)
    return Dataset.from_samples(samples, name, options, test, patching)


def _of_images(config: DataConfig, samples: Samples, options: Preprocessing) -> tuple[Preprocessing, Patching | None]:
    """The options of rows of pixels, which keep their places and their scale, and the rule of the patches."""
    patching = patching_of(samples.image, config.patches, config.stride, config.pooling, options, samples.origin.name)
    if patching is None:
        return options, None
    return options.replace(scaling="none", bias=False), patching


def _test_samples(config: DataConfig, source: Source, given: dict[str, Any], samples: Samples) -> Samples:
    """The samples of ``test_file``, read by the rules that the samples to train on gave."""
    assert config.test_file is not None
    if config.test_fraction is not None:
        raise ConfigError("Both 'test_file' and 'test_fraction' are given.", "Give one of the two.")
    other, arguments = source_of(config.test_file)
    if other is not source or not arguments:
        raise ConfigError(
            f"'{config.test_file}' is not of the kind of '{config.dataset}'.", "Give two files of one kind."
        )
    if samples.reading is None:
        return source.read(*arguments, **given)
    chosen, known = TableSettings(**given), samples.reading.encoding
    of_text = source is TEXT
    table = read_text_table(arguments[0], chosen, known) if of_text else read_columnar_table(arguments[0], chosen)
    return encode_like(table, known, chosen)


def _name(file: str) -> str:
    path = Path(file)
    path = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return path.with_suffix("").as_posix()


def source_of(dataset: str) -> tuple[Source, tuple[Any, ...]]:
    """The source of a data set, and the arguments that say which file."""
    if dataset in BUILT_IN:
        return BUILT_IN[dataset], ()
    try:
        path = Path(dataset).expanduser()
        is_folder, is_there = path.is_dir(), path.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{dataset[:100]!r} is no path ({error}).", f"Give the path of {_KINDS}.") from None
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    suffix = suffixes[-2] if packed and len(suffixes) > 1 else suffixes[-1] if suffixes else ""
    source = BY_SUFFIX.get(suffix)
    if source is not None and (not packed or source is TEXT):
        return source, (path,)
    if is_folder:
        return IDX_FOLDER, (path,)
    if is_there:
        hint = " Save a spreadsheet as CSV." if suffix in (".xls", ".xlsx", ".ods") else ""
        raise DataError(f"The file '{dataset}' is of no known kind.", f"Give {_KINDS}.{hint}")
    close = difflib.get_close_matches(dataset.lower(), BUILT_IN, n=2, cutoff=0.5)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    raise DataError(
        f"There is no data set, file or folder '{dataset}'.",
        f"{hint}Built in are: {', '.join(BUILT_IN)}. Or give the path of {_KINDS}.",
    )
