"""TensorBoard entries read back with its own reader: the tags, one run only, no point twice."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from reluopt.runs import RunFolder
from reluopt.tracking.tensorboard import TensorBoard, flip_picture, log_certificate
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
CONFIG = TrainConfig(width=6, epochs=20, record_every=3, checkpoint_every=5)
RUNGS = [
    {"key": "objective", "label": "L(θ)", "value": 3.5, "kind": "measured", "meaning": "the network's objective"},
    {"key": "missing", "label": "p̃", "value": float("nan"), "kind": "measured", "meaning": "no time left"},
]


class CrashAt(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_record(self, state, record):
        if record.epoch == self.epoch:
            raise RuntimeError("killed")


def fit(run, *further, resume=False):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((17, 3)), rng.standard_normal(17)
    callbacks = [TensorBoard(run, hparams={"dataset": "noise"}), *further]
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
    assert shown["dataset"].string_value == "noise"
    assert shown["beta"].number_value == 0.3
    assert shown["width"].number_value == 6


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
    log_certificate(run, "First verdict.", RUNGS, {"stationarity": {"residual": 0.25, "note": "text"}}, step=20)
    log_certificate(run, "Second verdict.", RUNGS, {"stationarity": {"residual": 0.5, "kinks": 3}}, step=20)
    reader = read(run)
    assert [e.value for e in reader.Scalars("certificate/objective")] == [3.5]
    assert [e.value for e in reader.Scalars("certificate/stationarity/residual")] == [0.5]
    assert [e.value for e in reader.Scalars("certificate/stationarity/kinks")] == [3]
    assert "certificate/missing" not in reader.Tags()["scalars"]
    (text,) = reader.Tensors("certificate/verdict/text_summary")
    assert "Second verdict." in text.tensor_proto.string_val[0].decode()
    assert len(reader.Images("certificate/ladder")) == 1
    assert_same_as_metrics(run, reader)  # the training's points stay


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


def test_metrics_hold_plain_numbers(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    fit(run)
    for line in run.metrics_file.read_text().splitlines():
        assert all(isinstance(v, int | float) for v in json.loads(line).values())
