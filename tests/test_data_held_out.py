"""Samples to test on: drawn or from a file, prepared by the rules of those that are trained on."""

import numpy as np
import pandas as pd
import pytest

from reluopt.data import DataConfig, Dataset, load_dataset
from reluopt.errors import ConfigError, DataError


def table(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    kind = rng.choice(["a", "b", "c"], n)
    return pd.DataFrame({"x": rng.normal(5, 2, n), "kind": kind, "price": rng.normal(100, 10, n)})


def test_a_share_is_held_out_and_prepared_by_the_others_rules(tmp_path):
    frame = table(50)
    frame.to_csv(tmp_path / "all.csv", index=False)
    common = {"dataset": str(tmp_path / "all.csv"), "target": "price"}
    data = load_dataset(DataConfig(**common, test_fraction=0.3, test_seed=3))
    assert data.test_X is not None and data.test_y is not None
    assert (data.n, len(data.test_X), data.test_X.shape[1]) == (35, 15, data.d)
    x, y = data.X[:, data.feature_names.index("x")], data.y
    assert (x.mean(), x.std()) == pytest.approx((0, 1), abs=1e-12)
    assert (y.mean(), y.std()) == pytest.approx((0, 1), abs=1e-12)
    # together they are all samples, in the units of those that are trained on
    whole = np.sort(np.concatenate([data.y, data.test_y]))
    mean, std = data.preprocessing["target_mean"], data.preprocessing["target_std"]
    assert mean + std * whole == pytest.approx(np.sort(frame["price"]))
    again = load_dataset(DataConfig(**common, test_fraction=0.3, test_seed=3))
    assert again.fingerprint == data.fingerprint
    assert load_dataset(DataConfig(**common, test_fraction=0.3, test_seed=4)).fingerprint != data.fingerprint
    assert load_dataset(DataConfig(**common)).test_X is None


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_to_test_on_has_the_same_columns_in_any_order(tmp_path, suffix):
    paths = {}
    for name, frame in (("train", table(40)), ("test", table(9, 1)[["price", "kind", "x"]])):
        paths[name] = tmp_path / f"{name}{suffix}"
        frame.to_csv(paths[name], index=False) if suffix == ".csv" else frame.to_parquet(paths[name])
    data = load_dataset(DataConfig(dataset=str(paths["train"]), target="price", test_file=str(paths["test"])))
    alone = load_dataset(DataConfig(dataset=str(paths["train"]), target="price"))
    assert data.fingerprint == alone.fingerprint
    assert data.preparation is not None and data.test_X is not None and data.test_y is not None
    rule, test = data.preparation, table(9, 1)
    column = list(data.feature_names).index("x")
    shift, scale = rule.features.shift[column], rule.features.scale[column]
    assert data.test_X[:, column] == pytest.approx((test["x"] - shift) / scale)
    assert data.test_y == pytest.approx((test["price"] - rule.target.target_mean) / rule.target.target_std)


def test_classes_are_mapped_alike(tmp_path):
    frame = table(40)
    frame["price"] = np.where(frame["x"] > 5, "yes", "no")
    frame.to_csv(tmp_path / "train.csv", index=False)
    only = frame[frame["price"] == "yes"].head(3)
    only.to_csv(tmp_path / "test.csv", index=False)
    config = DataConfig(dataset=str(tmp_path / "train.csv"), target="price", test_file=str(tmp_path / "test.csv"))
    data = load_dataset(config)
    assert data.test_y is not None and (data.test_y == 1).all()
    only.assign(price="maybe").to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(DataError, match="maybe"):
        load_dataset(config)
    only.assign(kind="new").to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(DataError, match="new"):
        load_dataset(config)
    with pytest.raises(ConfigError, match="test_fraction"):
        load_dataset(config.replace(test_fraction=0.5))
    with pytest.raises(ConfigError, match="kind"):
        load_dataset(config.replace(test_file="digits"))


def test_arrays_and_built_in_data():
    rng = np.random.default_rng(0)
    data = Dataset.from_arrays(rng.standard_normal((20, 2)), rng.standard_normal(20), test_fraction=0.25)
    assert data.test_X is not None and (data.n, len(data.test_X)) == (15, 5)
    digits = load_dataset(DataConfig(dataset="digits", subset=100, test_fraction=0.2))
    assert digits.test_y is not None and (digits.n, len(digits.test_y)) == (80, 20)
    assert set(digits.test_y) <= {-1.0, 1.0}
    with pytest.raises(DataError, match="left"):
        Dataset.from_arrays(rng.standard_normal((3, 2)), rng.standard_normal(3), test_fraction=0.9)
