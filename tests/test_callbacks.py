from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from anatomark.callbacks import MapImages
from anatomark.report.map_figures import draw_maps
from anatomark.types import AnatomarkError, Batch, Prediction, Sample

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '(train|val)_dataloader' does not have many workers"),
    # Lightning 2.6 asks torch 2.13's tree specs in the old way.
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
]

HEIGHT, WIDTH, STRIDE = 32, 48, 8


def make_sample(index: int) -> Sample:
    return Sample(
        key=f"frame{index}",
        subject=f"s{index}",
        image=torch.full((1, HEIGHT, WIDTH), float(index)) + torch.rand(1, HEIGHT, WIDTH),
        spacing_mm=torch.tensor([0.1, 0.1]),
        fixations=torch.tensor([[10.0, 20.0, 300.0], [30.0, 10.0, 150.0]]),
    )


def collate(samples: list[Sample]) -> Batch:
    return Batch(
        samples=samples,
        image=torch.stack([sample["image"] for sample in samples]),
        fixations=torch.stack([sample["fixations"] for sample in samples]),
    )


class TinyModel(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, STRIDE, STRIDE)
        self.predicted: list[list[str]] = []

    def predict(self, batch: Batch) -> list[Prediction]:
        assert len(batch["samples"]) == len(batch["image"]) == len(batch["fixations"])
        assert not torch.is_grad_enabled()
        self.predicted.append([sample["key"] for sample in batch["samples"]])
        maps = torch.sigmoid(self.layer(batch["image"]))
        return [
            Prediction(key=sample["key"], maps=m, map_stride=STRIDE)
            for sample, m in zip(batch["samples"], maps, strict=True)
        ]

    def training_step(self, batch: Batch) -> Tensor:
        loss = self.layer(batch["image"]).square().mean()
        self.log("train/loss", loss, batch_size=len(batch["samples"]))
        return loss

    def validation_step(self, batch: Batch) -> None:
        self.log("val/loss", self.layer(batch["image"]).square().mean(), batch_size=len(batch["samples"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def fit(folder: Path, callback: MapImages, loggers: list[Logger], **options: object) -> TinyModel:
    loader = DataLoader([make_sample(i) for i in range(5)], batch_size=2, collate_fn=collate)
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=loggers,
        callbacks=[callback],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
        **{"max_epochs": 2, **options},
    )
    model = TinyModel()
    trainer.fit(model, loader, loader)
    return model


def test_csv_logger_alone_gets_one_file_per_drawn_epoch(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="", version="")
    model = fit(tmp_path, MapImages(n_images=3, every_n_epochs=2), [logger], max_epochs=4)
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == ["epoch_000.png", "epoch_002.png"]
    # The first three of five frames, over the batches of two, in both epochs; nothing in the sanity check.
    assert model.predicted == [["frame0", "frame1"], ["frame2"]] * 2
    with Image.open(tmp_path / "maps" / "epoch_000.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10


def test_fast_dev_run_writes_nothing(tmp_path: Path) -> None:
    fit(tmp_path, MapImages(n_images=2), [], fast_dev_run=True)
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize("n_images", [2, 50])
def test_without_any_logger_the_file_lies_in_the_root_folder(tmp_path: Path, n_images: int) -> None:
    model = fit(tmp_path, MapImages(n_images=n_images), [], max_epochs=1)
    assert (tmp_path / "maps" / "epoch_000.png").exists()
    assert sum(map(len, model.predicted)) == min(n_images, 5)


def test_tensorboard_gets_the_picture_and_no_file_is_written(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    csv_logger = CSVLogger(tmp_path, name="", version="")
    tensorboard = TensorBoardLogger(tmp_path / "tb", name="", version="")
    fit(tmp_path, MapImages(n_images=3), [csv_logger, tensorboard])
    events = EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    assert len(events.Images("maps")) == 2
    assert not (tmp_path / "maps").exists()


def test_wandb_offline_gets_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(project="anatomark-test", save_dir=tmp_path, offline=True)
    try:
        fit(tmp_path, MapImages(n_images=3), [logger], max_epochs=1)
    finally:
        wandb.finish()
    pictures = list(tmp_path.glob("wandb/offline-run-*/files/media/images/maps*.png"))
    assert len(pictures) == 1
    assert not (tmp_path / "maps").exists()


def test_the_map_lies_over_the_cell_it_was_predicted_for() -> None:
    sample = make_sample(0)
    sample["image"] = torch.zeros(1, HEIGHT, WIDTH)
    maps = torch.zeros(2, HEIGHT // STRIDE, WIDTH // STRIDE)
    maps[1, 1, 4] = 0.02  # weak and in the second map: still the strongest there is
    figure = draw_maps([(sample, Prediction(key="frame0", maps=maps, map_stride=STRIDE))])
    overlay = figure.axes[1].images[1]
    array = np.asarray(overlay.get_array())
    assert array.shape == (HEIGHT // STRIDE, WIDTH // STRIDE)
    assert array[1, 4] == pytest.approx(1.0)
    assert tuple(overlay.get_extent()) == (-0.5, WIDTH - 0.5, HEIGHT - 0.5, -0.5)
    assert [label.get_ylabel() for label in figure.axes[:3]] == ["frame", "prediction", "target"]


def test_the_target_shows_fixations_at_their_pixels_sized_by_duration() -> None:
    sample = make_sample(0)
    figure = draw_maps([(sample, Prediction(key="frame0", maps=torch.rand(1, 4, 6), map_stride=STRIDE))])
    dots = figure.axes[2].collections[0]
    np.testing.assert_allclose(dots.get_offsets(), sample["fixations"][:, :2])
    assert dots.get_sizes()[0] == pytest.approx(2 * dots.get_sizes()[1])


def test_the_target_shows_the_attention_map_of_a_set_that_has_maps() -> None:
    sample = make_sample(0)
    sample["attention"] = torch.rand(1, HEIGHT, WIDTH)
    figure = draw_maps([(sample, Prediction(key="frame0", maps=torch.rand(1, 4, 6), map_stride=STRIDE))])
    shown = np.asarray(figure.axes[2].images[1].get_array())
    np.testing.assert_allclose(shown, sample["attention"][0] / sample["attention"].max(), rtol=1e-6)


@pytest.mark.parametrize("name", ["n_images", "every_n_epochs"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(AnatomarkError, match=f"{name} is 0"):
        MapImages(**{name: 0})
