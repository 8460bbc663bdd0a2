"""Data modules of a few small frames."""

from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from anatomark.data.datamodules import FrameDataModule
from anatomark.data.frames import FrameRecord
from anatomark.data.frames_folder import FramesFolder
from anatomark.data.transforms import Compose, Fit, Spatial
from frames_fixture import GAZE

FIT = Compose(steps=[Spatial(steps=[Fit(height=32, width=40)])])


@dataclass
class Listed:
    """A source of records made in the test."""

    records: list[FrameRecord]
    name: str = "listed"

    def __call__(self):
        return self.records


def module(records, **options):
    """Data module of records, or of the frames folder at a path."""
    folder = isinstance(records, Path)
    return FrameDataModule(
        root=records if folder else "unused",
        source=(lambda root: FramesFolder(root=root, gaze=GAZE)) if folder else lambda root: Listed(records),
        **{
            "train_transform": FIT,
            "eval_transform": FIT,
            "batch_size": 3,
            "n_folds": 3,
            "val_fraction": 0.5,
            "allow_missing_gaze": not folder,
            **options,
        },
    )


def ready(records, **options):
    made = module(records, **options)
    made.setup()
    return made


def record(folder, key, *, grey=0, **fields):
    file = folder / f"{key}.png"
    iio.imwrite(file, np.full((32, 40), grey, np.uint8))
    return FrameRecord(**{"key": key, "subject": key, "file": file, **fields})


def keys(batches):
    return [s["key"] for batch in batches for s in batch["samples"]]
