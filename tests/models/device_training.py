"""Trains a tiny saliency network on one or two devices: ``python device_training.py FOLDER FRAMES DEVICES``."""

import json
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DistributedSampler

from anatomark.data.datamodules import FrameDataModule
from anatomark.data.frames_folder import FramesFolder
from anatomark.data.gaze import GazeFilter, ScreenGeometry
from anatomark.data.samplers import device_of
from anatomark.data.transforms import Compose, Fit, Spatial, Standardise
from anatomark.instantiation import make_trainer
from anatomark.models.saliency import SaliencyModel
from anatomark.nets.saliency import SaliencyNet
from anatomark.nets.sononet import SonoNetTrunk

GLOBAL_BATCH = 4


class OddFrames(FrameDataModule):
    """With an odd number of frames to test on, which two devices cannot share evenly."""

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        self.records["test"] = self.records["test"][: len(self.records["test"]) // 2 * 2 - 1]


def make_data(frames: Path, devices: int) -> OddFrames:
    gaze = GazeFilter(screen=ScreenGeometry(frame_origin_px=(480, 220), frame_scale=10.0))
    still = Compose(steps=[Spatial(steps=[Fit(height=64, width=96)]), Standardise()])
    return OddFrames(
        root=frames,
        source=partial(FramesFolder, gaze=gaze),
        train_transform=still,
        eval_transform=still,
        batch_size=GLOBAL_BATCH // devices,
        n_folds=3,
        # The same draw, which each device takes its part of.
        sampling=lambda records: DistributedSampler(records, *reversed(device_of()), seed=0),  # type: ignore[arg-type]
    )


def make_model() -> SaliencyModel:
    """With an optimiser that does not make steps of the rounding of a gradient that is zero, as Adam does."""
    torch.manual_seed(0)
    net = SaliencyNet(trunk=SonoNetTrunk(pools=(1, 2)), head="dilated", hidden=8, features="head")
    return SaliencyModel(net=net, reduction=2, optimizer=partial(torch.optim.SGD, lr=0.05, momentum=0.9))


def train(folder: Path, frames: Path, devices: int, **options: Any) -> dict[str, float]:
    """Trains two epochs and tests, in double precision so that sums round alike in any order; the metrics of both."""
    pl.seed_everything(0, verbose=False)
    strategy = {"strategy": "ddp_find_unused_parameters_true", "sync_batchnorm": True} if devices > 1 else {}
    trainer = make_trainer(
        {"max_epochs": 2, "accelerator": "cpu", "devices": devices, "precision": "64-true", **strategy, **options},
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    model, data = make_model(), make_data(frames, devices)
    trainer.fit(model, data)
    metrics = dict(trainer.callback_metrics)
    trainer.test(model, data, verbose=False)
    return {name: float(value) for name, value in {**metrics, **trainer.callback_metrics}.items()}


def main() -> None:
    """Writes the metrics of the first device."""
    warnings.simplefilter("ignore")
    folder, devices = Path(sys.argv[1]), int(sys.argv[3])
    metrics = train(folder, Path(sys.argv[2]), devices)
    if device_of()[0] == 0:
        (folder / f"metrics_{devices}.json").write_text(json.dumps(metrics))


if __name__ == "__main__":
    main()
