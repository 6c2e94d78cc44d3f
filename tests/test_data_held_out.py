"""Samples to test on: drawn or from a file, prepared by the rules of those that are trained on."""

import numpy as np
import pandas as pd
import pytest

from reluopt.data import DataConfig, Dataset, load_dataset, remarks
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


@pytest.mark.parametrize("settings", [{"test_fraction": 0.5, "test_seed": 1}, {"subset": 6}, {}])
def test_missing_cells_are_filled_by_the_means_of_what_is_trained_on(tmp_path, settings):
    x = np.where(np.arange(20) % 2, 1000.0, 1.0) * (1 + np.arange(20) / 100)
    x[[0, 1, 7, 8]] = np.nan
    frame = pd.DataFrame({"x": x, "kind": ["a", "b", None, "b"] * 5, "y": np.arange(20.0)})
    frame.to_csv(tmp_path / "all.csv", index=False)
    data = load_dataset(
        DataConfig(
            dataset=str(tmp_path / "all.csv"), target="y", missing="mean", scaling="none", bias=False,
            standardise_target=False, **settings,
        )
    )  # fmt: skip
    trained = frame.loc[data.y.astype(int)]
    mean, share = trained["x"].mean(), (trained["kind"].dropna() == "b").mean()
    np.testing.assert_allclose(data.X[:, 0], trained["x"].fillna(mean), rtol=1e-14)
    np.testing.assert_allclose(data.X[trained["kind"].isna(), 1], share, rtol=1e-14)
    np.testing.assert_allclose(data.transform(frame)[[0, 1, 7, 8], 0], mean, rtol=1e-14)
    if data.test_X is not None:
        np.testing.assert_allclose(data.test_X[:, 0], frame.loc[data.test_y.astype(int), "x"].fillna(mean), rtol=1e-14)


def test_an_infinite_cell_is_named_beside_missing_ones(tmp_path):
    (tmp_path / "all.csv").write_text("x,y\n1,2\n,3\ninf,4\n2,5\n")
    with pytest.raises(DataError, match=r"line 4.*infinite"):
        load_dataset(DataConfig(dataset=str(tmp_path / "all.csv"), target="y", missing="mean"))


def with_gaps(folder):
    """A file to train on, and one to test on that lacks three targets and two of its features."""
    table(20).to_csv(folder / "train.csv", index=False)
    test = table(20, 1)
    test.loc[:2, "price"] = np.nan
    test.loc[5:6, "x"] = np.nan
    test.to_csv(folder / "test.csv", index=False)
    return DataConfig(dataset=str(folder / "train.csv"), target="price", test_file=str(folder / "test.csv"))


@pytest.mark.parametrize(
    ("missing", "dropped"),
    [
        ("drop-rows", {"the target is missing": 3, "a cell is missing": 2}),
        ("mean", {"the target is missing": 3}),
    ],
)
def test_what_is_dropped_of_a_file_to_test_on_is_said(tmp_path, missing, dropped):
    data = load_dataset(with_gaps(tmp_path).replace(missing=missing))
    assert data.test_X is not None and len(data.test_X) == 20 - sum(dropped.values())
    assert (data.preprocessing["test_rows_in_file"], data.preprocessing["test_rows_dropped"]) == (20, dropped)
    said = [remark for remark in remarks(data) if "test file" in remark]
    assert said == [f"{rows} of 20 rows of the test file dropped: {why}" for why, rows in dropped.items()]


def test_a_gap_in_a_file_to_test_on_is_refused_by_its_column(tmp_path):
    config = with_gaps(tmp_path)
    with pytest.raises(DataError, match=r"test\.csv, line 2, column 'price', the target: .* 3 targets are missing"):
        load_dataset(config)
    frame = pd.read_csv(tmp_path / "test.csv")
    frame.dropna(subset="price").to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(DataError, match=r"test\.csv, line 4, column 'x': .* 2 cells are missing"):
        load_dataset(config)
    frame.assign(price=np.nan).to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(DataError, match=r"test\.csv: every row has a missing cell"):
        load_dataset(config.replace(missing="drop-rows"))


@pytest.mark.parametrize("labels", [("a", "b"), (1, 2)])
def test_a_split_that_leaves_one_class_says_so(tmp_path, labels):
    table(20).assign(kind=[labels[0]] * 19 + [labels[1]]).to_csv(tmp_path / "all.csv", index=False)
    config = DataConfig(dataset=str(tmp_path / "all.csv"), target="kind", test_fraction=0.5)
    for seed in range(8):
        if 19 in np.random.default_rng(seed).permutation(20)[:10]:
            with pytest.raises(DataError, match=r"to train on are alike, .* held out\.\n.*--test-seed"):
                load_dataset(config.replace(test_seed=seed))
        else:
            assert set(load_dataset(config.replace(test_seed=seed)).y) == {-1.0, 1.0}


@pytest.mark.parametrize("labels", [("a", "b", "c"), (1, 2, 3)])
def test_a_class_that_is_held_out_as_a_whole_is_no_wrong_label(tmp_path, labels):
    frame = table(20)
    frame["kind"] = [labels[i % 2] for i in range(19)] + [labels[2]]
    frame.to_csv(tmp_path / "all.csv", index=False)
    config = DataConfig(dataset=str(tmp_path / "all.csv"), target="kind", task="multiclass", test_fraction=0.5)
    seeds = range(12)
    held = [seed for seed in seeds if 19 in np.random.default_rng(seed).permutation(20)[:10]]
    assert 0 < len(held) < len(seeds)
    for seed in seeds:
        if seed in held:
            with pytest.raises(DataError, match=f"label '{labels[2]}' .*are held out.*\n.*--test-seed"):
                load_dataset(config.replace(test_seed=seed))
        else:
            assert load_dataset(config.replace(test_seed=seed)).y.shape == (10, 3)
