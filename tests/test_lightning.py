"""DriftCallback by Lightning where it is installed, and its hooks called by hand where it is not."""

import importlib

import numpy as np
import pytest
import torch
from torch import nn

from reluopt.errors import ConfigError
from reluopt.integrations.lightning import DriftCallback

X = np.random.default_rng(0).standard_normal((40, 3))
Y = np.maximum(X[:, :1], 0)


def model(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)).to(dtype)


class Module(nn.Module):
    """What a LightningModule has of it."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.head, self.model, self.logged = nn.Linear(1, 2), model(dtype), []

    def log_dict(self, values):
        self.logged.append(values)


def moved(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn_like(parameter)


def pattern(module):
    layer = module.model[0]
    return (torch.from_numpy(X) @ layer.weight.double().T + layer.bias.double() >= 0).numpy()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_every_epoch_is_compared_with_the_start_also_after_a_checkpoint(dtype):
    module = Module(dtype)
    start = pattern(module)
    callback = DriftCallback(X, layer="model.0")
    callback.on_train_start(None, module)
    moved(module)
    callback.on_train_epoch_end(None, module)
    assert callback.last.entries_preserved == pytest.approx((pattern(module) == start).mean())
    assert module.logged[0]["patterns/preserved_from_init"] == callback.last.preserved_from_init

    later = DriftCallback(torch.from_numpy(X), layer="model.0", log=False)
    later.load_state_dict(callback.state_dict())
    assert later.state_dict().keys() == callback.state_dict().keys()
    later.on_train_start(None, module)
    moved(module)
    later.on_train_epoch_end(None, module)
    assert later.last.entries_preserved == pytest.approx((pattern(module) == start).mean())
    assert len(module.logged) == 1


def test_a_checkpoint_of_other_samples_or_another_layer_is_refused_before_the_training():
    module, callback = Module(), DriftCallback(X, layer="model.0")
    callback.on_train_start(None, module)
    for later, words in (
        (DriftCallback(X[:-1], layer="model.0"), f"{len(X)} samples"),
        (DriftCallback(X, layer="model.1"), "no Linear"),
    ):
        later.load_state_dict(callback.state_dict())
        with pytest.raises(ConfigError, match=words):
            later.on_train_start(None, module)


@pytest.mark.parametrize("layer", [None, "model.1", "nothing"])
def test_a_layer_that_is_none_or_takes_other_samples_is_named(layer):
    with pytest.raises(ConfigError, match=r"head|model"):
        DriftCallback(X, layer=layer).on_train_start(None, Module())


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_lightning_calls_it(package, tmp_path):
    pytest.importorskip(package)
    lightning = importlib.import_module(package)

    class Fit(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = model()

        def training_step(self, batch, _):
            return nn.functional.mse_loss(self.model(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.1)

    samples = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    batches = torch.utils.data.DataLoader(samples, batch_size=20)
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "default_root_dir": tmp_path}
    module, callback = Fit(), DriftCallback(X)
    start = pattern(module)
    trainer = lightning.Trainer(max_epochs=2, callbacks=[callback], **options)
    trainer.fit(module, batches)
    assert trainer.callback_metrics["patterns/entries_preserved"] == pytest.approx(callback.last.entries_preserved)
    trainer.save_checkpoint(tmp_path / "two.ckpt")

    later, again = DriftCallback(X), Fit()
    lightning.Trainer(max_epochs=3, callbacks=[later], **options).fit(again, batches, ckpt_path=tmp_path / "two.ckpt")
    assert later.last.entries_preserved == pytest.approx((pattern(again) == start).mean())
