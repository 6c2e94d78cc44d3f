"""TensorBoard entries read back with its own reader: the tags, one run only, no point twice."""

import json
import re
from fractions import Fraction

import numpy as np
import pytest
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2, metadata
from tensorboard.plugins.hparams import plugin_data_pb2

from reluopt.runs import RunFolder
from reluopt.sweep.hparams import log_row
from reluopt.sweep.sweeping import RESULTS
from reluopt.tracking.certificate_board import log_certificate
from reluopt.tracking.pictures import drawn, flip_figure, flip_picture
from reluopt.tracking.tensorboard import TensorBoard
from reluopt.training import Callback, TrainConfig, Trainer

TAGS = {
    "train/objective",
    "train/loss",
    "train/stationarity_residual",
    "patterns/preserved_from_init",
    "patterns/preserved_from_previous",
    "patterns/entries_preserved",
    "patterns/worst_sample_preserved",
    "patterns/distinct",
    "patterns/active_neurons",
}
CERTIFICATE = [
    "certificate/lower_bound", "certificate/proved_within_percent", "certificate/own_patterns_within_percent",
    "certificate/own_patterns",
]  # fmt: skip
CONFIG = TrainConfig(width=6, epochs=20, record_every=3, checkpoint_every=5)
ESTIMATES = [
    {"label": label, "quantity": quantity, "relation": relation, "value": value, "status": status, "meaning": meaning}
    for label, quantity, relation, value, status, meaning in (
        ("lower |bound|", "p*", ">=", 98.41995793, "proved", "m"),
        ("p̃", "p̃(S(θ))", ">=", 100.1, "proved", "m"),
        ("L(θ)", "L(θ)", "<=", 103.2, "proved", "‖u‖ = |α|"),
        ("p̃", "p̃(S(θ))", "<=", float("nan"), "unknown", "no time"),
    )
]
FACTS = [("L(θ) − d_S(z)", "0.1, 0.02 of L", "proved", "left"), ("largest |price|", "1 β", "measured", "above β")]


class CrashAt(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_record(self, state, record):
        if record.epoch == self.epoch:
            raise RuntimeError("killed")


def fit(run, *further, resume=False):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((17, 3)), rng.standard_normal(17)
    callbacks = [TensorBoard(run, hparams={"data.dataset": "noise"}), *further]
    Trainer(CONFIG.make_network(3), X, y, 0.3, CONFIG, run=run, callbacks=callbacks, progress=False).fit(resume)


def read(run):
    everything = dict.fromkeys(("scalars", "images", "tensors"), 0)
    return EventAccumulator(str(run.path), size_guidance=everything).Reload()


def steps(events):
    return [event.step for event in events]


def assert_same_as_metrics(run, reader):
    records = run.metrics()
    assert set(reader.Tags()["scalars"]) >= TAGS
    for tag in set(records[0]) - {"epoch"}:
        events = reader.Scalars(tag)
        assert steps(events) == [record["epoch"] for record in records]
        np.testing.assert_allclose([e.value for e in events], [record[tag] for record in records], rtol=1e-6)


def test_every_record_is_there_in_one_run(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    fit(run)
    reader = read(run)
    assert_same_as_metrics(run, reader)
    assert steps(reader.Images("patterns/flipped"))[-1] == 20
    assert 1 < len(reader.Images("patterns/flipped")) < len(run.metrics())
    assert not [f for f in run.path.rglob("events*") if f.parent != run.path], "a subfolder would be a second run"


def test_the_settings_are_in_the_same_run(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    fit(run)
    content = read(run).summary_metadata["_hparams_/session_start_info"].plugin_data.content
    shown = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert shown["data.dataset"].string_value == "noise"
    assert shown["beta"].number_value == 0.3
    assert shown["train.width"].number_value == 6


@pytest.mark.parametrize("epoch", [0, 12, 20])
def test_no_point_shows_twice_after_a_resume(tmp_path, epoch):
    run, whole = RunFolder.create(tmp_path / "run"), RunFolder.create(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        fit(run, CrashAt(epoch))
    fit(run, resume=True)
    fit(whole)
    reader = read(run)
    assert_same_as_metrics(run, reader)
    assert steps(reader.Images("patterns/flipped")) == steps(read(whole).Images("patterns/flipped"))


def test_a_certificate_is_in_the_same_run_and_replaces_the_one_before(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    fit(run)
    Figure().savefig(run.ladder_file)
    log_certificate(run, "First verdict.", [{**found, "value": 1.0} for found in ESTIMATES], FACTS, step=20)
    log_certificate(run, "Second verdict.", ESTIMATES, FACTS, step=20)
    reader = read(run)
    shown = {tag: reader.Scalars(tag) for tag in reader.Tags()["scalars"] if tag.startswith("certificate/")}
    assert {tag: len(events) for tag, events in shown.items()} == dict.fromkeys(CERTIFICATE, 1)
    values = {tag: Fraction(events[0].value) for tag, events in shown.items()}
    bound, objective, own = Fraction(98.41995793), Fraction(103.2), Fraction(100.1)
    # rounded to the proved side, also in the float32 that TensorBoard keeps
    assert bound * (1 - Fraction(1, 10**6)) < values["certificate/lower_bound"] <= bound
    assert own * (1 - Fraction(1, 10**6)) < values["certificate/own_patterns"] <= own
    for tag, exact in ((CERTIFICATE[1], objective / bound - 1), (CERTIFICATE[2], 1 - own / objective)):
        assert 100 * exact <= values[tag] < 100 * exact * (1 + Fraction(1, 10**6))
    (text,) = reader.Tensors("certificate/verdict/text_summary")
    assert "Second verdict." in text.tensor_proto.string_val[0].decode()
    rows = [line for line in text.tensor_proto.string_val[0].decode().splitlines() if line.startswith("|")]
    assert len(rows) == len(ESTIMATES) + len(FACTS) + 2 * 2
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}, "a bar within a cell ends it"
    assert len(reader.Images("certificate/ladder")) == 1
    assert_same_as_metrics(run, reader)  # the training's points stay
    # the chart of L, p̃(S) and the bound has all three
    stored = reader.Tensors(metadata.CONFIG_SUMMARY_TAG)[-1]
    layout = layout_pb2.Layout.FromString(stored.tensor_proto.string_val[0])
    charts = [list(chart.multiline.tag) for category in layout.category for chart in category.chart]
    tags = reader.Tags()["scalars"]
    seen = [{tag for tag in tags if any(re.search(r, tag) for r in chart)} for chart in charts]
    assert seen[0] == {"train/objective", "certificate/lower_bound", "certificate/own_patterns"}
    assert seen[1] == {"patterns/preserved_from_init", "patterns/entries_preserved"}


def test_the_picture_has_the_most_flipped_first_and_keeps_the_mean():
    rng = np.random.default_rng(0)
    flipped = rng.random((1000, 70)) < rng.random((1000, 1)) * rng.random((1, 70))
    picture = flip_picture(flipped, side=50)
    assert picture.shape == (50, 50)
    assert picture.min() >= 0 and picture.max() <= 1
    rows, columns = picture.mean(axis=1), picture.mean(axis=0)
    assert rows[0] > rows[25] > rows[-1] and columns[0] > columns[25] > columns[-1]
    whole = flip_picture(flipped[:40, :30], side=50)
    assert whole.shape == (40, 30)
    assert whole.sum() == flipped[:40, :30].sum()


def test_the_picture_of_flips_says_what_its_colours_are():
    figure = flip_figure(np.eye(5, 7, dtype=bool), 3)
    picture, bar = figure.axes
    assert "neurons" in picture.get_xlabel() and "samples" in picture.get_ylabel()
    assert "flipped" in bar.get_ylabel()
    assert "epoch 3: 14.3%" in picture.get_title(loc="left")
    assert drawn(figure).shape[2] == 3


def described(place):
    """The names of the settings and outcomes in the order in which TensorBoard shows them, and the session's values."""
    tensors = EventAccumulator(str(place)).Reload().summary_metadata
    read_as = plugin_data_pb2.HParamsPluginData.FromString
    experiment = read_as(tensors["_hparams_/experiment"].plugin_data.content).experiment
    session = read_as(tensors["_hparams_/session_start_info"].plugin_data.content).session_start_info
    infos = sorted(experiment.hparam_infos, key=lambda info: (not info.differs, info.name))
    return [info.name for info in infos], [m.name.tag for m in experiment.metric_infos], set(session.hparams)


def test_runs_and_rows_of_a_sweep_have_one_vocabulary(tmp_path):
    """TensorBoard takes the columns from either: no column of the other may be missing there."""
    run = RunFolder.create(tmp_path / "run")
    fit(run)
    settings = {**{f"train.{k}": v for k, v in CONFIG.to_mapping().items()}, "data.dataset": "noise"}
    results = dict.fromkeys(RESULTS) | {
        "n": 17, "d": 3, "beta": 0.3, "objective": 5.0, "stationarity_residual": 0.1, "preserved": 1.0, "patterns": 4,
        "lower_bound": 4.0, "own_below": 4.9,
    }  # fmt: skip
    row = {**settings, **results, "seconds": 1.0, "error": None}
    place = log_row(tmp_path / "sweep", row, ["train.width"], list(settings))
    names, metrics, values = described(run.path)
    row_names, row_metrics, row_values = described(place)
    assert set(names) == set(row_names) and metrics == row_metrics
    assert values == row_values
    assert metrics[:3] == ["train/objective", *CERTIFICATE[:2]]
    assert row_names[0] == "train.width"
    assert set(names[:5]) == {"beta", "data.dataset", "train.epochs", "train.seed", "train.width"}
    scalars = set(EventAccumulator(str(place)).Reload().Tags()["scalars"])
    assert scalars == set(metrics)
    assert scalars <= set(read(run).Tags()["scalars"]) | set(CERTIFICATE)


def test_metrics_hold_plain_numbers(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    fit(run)
    for line in run.metrics_file.read_text().splitlines():
        assert all(isinstance(v, int | float) for v in json.loads(line).values())
