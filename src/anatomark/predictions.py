"""The ``predictions/<checkpoint>/`` folder of a run: a file per frame, written while predicting, then streamed."""

import shutil
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import quote

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BasePredictionWriter

from anatomark.data.frames import FrameRecord
from anatomark.types import AnatomarkError, Batch, Prediction, Sample

FIELDS = ("maps", "map_stride", "logits", "features")
GROUPS = ("other_maps", "points")
"""Fields that hold several arrays by name, stored as ``<field>/<name>``."""


def save_prediction(prediction: Prediction, folder: Path) -> None:
    """Writes one prediction; features are stored in half precision, everything else exactly."""
    arrays: dict[str, Any] = {name: np.asarray(_cpu(prediction[name])) for name in FIELDS if name in prediction}  # type: ignore[literal-required]
    if "features" in arrays:
        arrays["features"] = arrays["features"].astype(np.float16)
    for group in GROUPS:
        for name, value in prediction.get(group, {}).items():  # type: ignore[attr-defined]
            arrays[f"{group}/{name}"] = _cpu(value).numpy()
    path = _path(folder, prediction["key"])
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.savez(file, **arrays)
    temporary.rename(path)


def load_prediction(folder: Path, key: str, *, run: str) -> Prediction:
    """Reads the prediction of one frame.

    Raises:
        AnatomarkError: there is none.
    """
    path = _path(folder, key)
    if not path.is_file():
        raise AnatomarkError(f"{folder} holds no prediction of frame {key}; evaluate the run again")
    with np.load(path) as arrays:
        tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    prediction: Prediction = {"key": key, "maps": tensors["maps"], "run": run}
    if "map_stride" in tensors:
        prediction["map_stride"] = int(tensors["map_stride"])
    if "logits" in tensors:
        prediction["logits"] = tensors["logits"]
    if "features" in tensors:
        prediction["features"] = tensors["features"].float()
    for group in GROUPS:
        start = f"{group}/"
        named = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
        if named:
            prediction[group] = named  # type: ignore[literal-required]
    return prediction


class PredictionWriter(BasePredictionWriter):
    """Writes predictions as they are made; the folder appears, whole, when the last one is written."""

    def __init__(self, *, folder: Path) -> None:
        super().__init__(write_interval="batch")
        self.folder = folder
        self.unfinished = folder.with_name(folder.name + ".tmp")

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        shutil.rmtree(self.unfinished, ignore_errors=True)
        self.unfinished.mkdir(parents=True)

    def write_on_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: Sequence[Prediction],
        batch_indices: Sequence[int] | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        for one in prediction:
            save_prediction(one, self.unfinished)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.unfinished.rename(self.folder)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        shutil.rmtree(self.unfinished, ignore_errors=True)


@runtime_checkable
class Frames(Protocol):
    """A data set of which it is known what frame an index means."""

    @property
    def records(self) -> Sequence[FrameRecord]:
        """What is known of each frame."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Reads a frame."""
        ...


class RunPredictions:
    """The samples of a run with its stored predictions.

    Args:
        dataset: the frames in evaluation form, each marked with its split.
        folder: where the predictions lie.
        run: name of the run.
        data_set: name of the data set, as reports call it.
    """

    def __init__(self, *, dataset: Frames, folder: Path, run: str, data_set: str) -> None:
        self.dataset = dataset
        self.folder = folder
        self.run = run
        self.data_set = data_set

    def pairs(
        self, splits: Collection[str], sample_splits: Collection[str] = ()
    ) -> Iterator[tuple[Sample, Prediction | None]]:
        """Streams the frames of some splits.

        Args:
            splits: splits whose frames come with their predictions.
            sample_splits: splits whose frames come with None.
        """
        for index, record in enumerate(self.dataset.records):
            if record.split in splits:
                yield self.dataset[index], load_prediction(self.folder, record.key, run=self.run)
            elif record.split in sample_splits:
                yield self.dataset[index], None


class PooledPredictions:
    """The streams of several runs, such as the folds of a cross-validation, one after another.

    Can be iterated any number of times.

    Args:
        streams: the runs.
        splits: splits whose frames come with their predictions.
        sample_splits: splits whose frames come with None.
    """

    def __init__(
        self, streams: Sequence[RunPredictions], *, splits: Collection[str], sample_splits: Collection[str] = ()
    ) -> None:
        self.streams = tuple(streams)
        self.splits = splits
        self.sample_splits = sample_splits

    def __iter__(self) -> Iterator[tuple[Sample, Prediction | None]]:
        return chain.from_iterable(stream.pairs(self.splits, self.sample_splits) for stream in self.streams)

    def find(self, keys: Sequence[str], split: str) -> dict[str, tuple[Sample, Prediction]]:
        """Some frames of a split with their predictions, in the order of ``keys``."""
        found = {
            record.key: (stream.dataset[index], load_prediction(stream.folder, record.key, run=stream.run))
            for stream in self.streams
            for index, record in enumerate(stream.dataset.records)
            if record.split == split and record.key in keys
        }
        return {key: found[key] for key in keys}


def _path(folder: Path, key: str) -> Path:
    return folder / f"{quote(key, safe='')}.npz"


def _cpu(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach().cpu()
    return value.float() if value.dtype == torch.bfloat16 else value  # of mixed precision; NumPy has no such type
