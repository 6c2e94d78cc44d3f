"""The settings of data: which, how its table is read, what is done to it. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from reluopt.config import Config, setting
from reluopt.data.table import TableSettings

#: The files of an IDX folder.
SPLITS = ("train", "t10k")


@dataclass(frozen=True, kw_only=True)
class Preprocessing(Config):
    """What is done to the raw samples; an unset choice is what is usual for the data set."""

    scaling: str | None = setting(
        None,
        "standardise (mean 0, population standard deviation 1), centre (mean 0), unit_rows (norm 1), or none; "
        "unset: the data set's usual.",
        choices=("standardise", "centre", "unit_rows", "none"),
    )
    bias: bool | None = setting(None, "Append a column of ones, the bias; unset: the data set's usual.")
    task: str | None = setting(
        None,
        "classification (two classes become -1/+1, more are multiclass; digits: 0-4/5-9), multiclass (one output a "
        "class; digits: ten), regression (numbers as they are), or auto "
        "(classification where there are two values or digits, else regression; whole numbers with a few values are "
        "asked about); unset: the data set's usual.",
        choices=("auto", "classification", "multiclass", "regression"),
    )
    positive: str | None = setting(
        None, "The label that becomes +1, all others become -1; unset: the higher, or alphabetically last, of two."
    )
    standardise_target: bool | None = setting(
        None,
        "Shift and scale y to mean 0, standard deviation 1; unset: done for numbers in a table, not for two classes, "
        "arrays (NPZ) or made-up data.",
    )
    subset: int | None = setting(None, "Keep this many samples, drawn at random before any scaling.", minimum=2)
    subset_seed: int = setting(0, "Seed of the random subset.", minimum=0)
    test_fraction: float | None = setting(
        None,
        "Hold this share of the samples out, drawn at random: not trained on, for test metrics.",
        above=0.0,
        maximum=0.9,
    )
    test_seed: int = setting(0, "Seed of the samples that are held out.", minimum=0)

    def filled(self, usual: Preprocessing) -> Preprocessing:
        """These choices, with the unset ones taken from ``usual``."""
        names = [f.name for f in dataclasses.fields(Preprocessing)]
        own = {name: getattr(self, name) for name in names}
        if own["task"] is None and own["positive"] is not None:  # a positive label is one of classes
            own["task"] = "classification"
        return Preprocessing(**{k: getattr(usual, k) if v is None else v for k, v in own.items()})


#: What is done to arrays that a user made: nothing.
AS_GIVEN = Preprocessing(scaling="none", bias=False, task="regression", standardise_target=False)

#: What is usual for a raw table. ``standardise_target`` stays unset: numbers are standardised, classes are not.
STANDARDISED = Preprocessing(scaling="standardise", bias=True, task="auto")


@dataclass(frozen=True, kw_only=True)
class DataConfig(Preprocessing, TableSettings):
    """Which data set, and what is done to it. Settings that are not set are what is usual for the data set."""

    dataset: str = setting(
        "breast_cancer",
        "A built-in data set (breast_cancer, diabetes, digits, iris, wine, gaussian, planted), or the path of a table "
        "(.csv, .tsv, .txt, .data, each also as .gz; .parquet, .feather), of an .npz file, or of a folder of IDX "
        "files.",
    )
    patches: int | None = setting(
        None,
        "Images (IDX, digits, NPZ with X (n, height, width)): square patches of this size, pooled over each image, "
        "which is a convolution with ReLU and pooling; scaling is that of all pixels together.",
        minimum=1,
    )
    stride: int | None = setting(None, "Step between the patches (their size if unset).", minimum=1)
    pooling: str | None = setting(None, "Pooling of the patches (average if unset).", choices=("average", "sum"))
    test_file: str | None = setting(None, "A file of the same kind with samples to test on; they are not trained on.")
    split: str | None = setting(None, "IDX folder: which files; unset: train if it is there.", choices=SPLITS)
    n: int | None = setting(None, "gaussian, planted: number of samples (100 if unset).", minimum=2)
    d: int | None = setting(None, "gaussian, planted: number of features (10 if unset).", minimum=1)
    teacher_width: int | None = setting(None, "planted: neurons of the hidden network (5 if unset).", minimum=1)
    noise: float | None = setting(
        None, "planted: noise as a fraction of the clean target's standard deviation (0.1 if unset).", minimum=0
    )
    data_seed: int | None = setting(None, "gaussian, planted: seed of the made-up data (0 if unset).", minimum=0)
