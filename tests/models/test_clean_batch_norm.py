"""Batch norms are estimated as the evaluation runs: without dropout, from the last batches of an epoch."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from msen_training import collate, make_samples
from torch import Tensor, nn
from torch.utils.data import DataLoader

from anatomark.callbacks import CleanBatchNorm
from anatomark.types import AnatomarkError, Batch, Prediction


class Dropped(pl.LightningModule):
    """Dropout before a batch norm, and a layer that somebody froze."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4, momentum=0.3))
        self.frozen = nn.Dropout(0.5)
        self.seen: list[Tensor] = []

    def on_train_start(self) -> None:
        self.frozen.eval()

    def training_step(self, batch: Batch) -> Tensor:
        self.seen.append(batch["image"])
        return self.net(batch["image"]).square().mean()

    def validation_step(self, batch: Batch) -> None:
        self.at_validation = self.net[2].running_var.clone()

    def predict(self, batch: Batch) -> list[Prediction]:
        self.net(batch["image"])
        return []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def fit(folder: Path, **options: Any) -> Dropped:
    torch.manual_seed(0)
    model = Dropped()
    trainer = pl.Trainer(
        default_root_dir=folder,
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        callbacks=[CleanBatchNorm(**options)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader(make_samples(12), batch_size=4, shuffle=True, collate_fn=collate)
    trainer.fit(model, loader, DataLoader(make_samples(4), batch_size=4, collate_fn=collate))
    return model


@pytest.mark.parametrize("n_batches", [1, 2, 8])
def test_norms_hold_the_statistics_of_the_last_batches_without_dropout(tmp_path: Path, n_batches: int) -> None:
    model = fit(tmp_path, n_batches=n_batches)
    convolution, norm = model.net[1], model.net[2]
    outputs = [convolution(image).transpose(0, 1).flatten(1) for image in model.seen[3:][-n_batches:]]
    torch.testing.assert_close(norm.running_mean, torch.stack([o.mean(1) for o in outputs]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([o.var(1) for o in outputs]).mean(0))
    assert torch.equal(model.at_validation, norm.running_var)  # before the epoch is validated


def test_training_goes_on_as_it_was(tmp_path: Path) -> None:
    model = fit(tmp_path)
    assert model.net[2].momentum == 0.3
    assert model.net.training
    assert not model.frozen.training


def test_no_batches_are_refused() -> None:
    with pytest.raises(AnatomarkError, match="n_batches is 0; it must be at least 1"):
        CleanBatchNorm(n_batches=0)
