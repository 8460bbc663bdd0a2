"""The ``predictions/<checkpoint>/`` folder of a run: a file per frame or volume, written at once, then streamed."""

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import quote

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BasePredictionWriter

from anatomark.subjects import Record
from anatomark.types import AnatomarkError, Prediction, Sample
from anatomark.volume_types import VolumePrediction

AnyPrediction = Prediction | VolumePrediction


def save_prediction(prediction: AnyPrediction, folder: Path) -> None:
    """Writes one prediction; features are stored in half precision, everything else exactly.

    A field that holds several arrays by name is stored as ``<field>/<name>``.
    """
    arrays: dict[str, Any] = {}
    for field, value in prediction.items():
        if isinstance(value, Mapping):
            arrays |= {f"{field}/{name}": _array(one) for name, one in value.items()}
        elif field not in ("key", "run"):
            arrays[field] = _array(value).astype(np.float16) if field == "features" else _array(value)
    path = _path(folder, prediction["key"])
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.savez(file, **arrays)
    temporary.rename(path)


def load_prediction(folder: Path, key: str, *, run: str) -> Any:
    """Reads the prediction of one frame or volume: a :class:`Prediction` or :class:`VolumePrediction`, as it was saved.

    Raises:
        AnatomarkError: there is none.
    """
    path = _path(folder, key)
    if not path.is_file():
        raise AnatomarkError(f"{folder} holds no prediction of {key}; evaluate the run again")
    prediction: dict[str, Any] = {"key": key, "run": run}
    with np.load(path) as arrays:
        for stored in arrays.files:
            field, _, name = stored.partition("/")
            value = torch.from_numpy(arrays[stored])
            if name:
                prediction.setdefault(field, {})[name] = value
            else:
                prediction[field] = value
    if "map_stride" in prediction:
        prediction["map_stride"] = int(prediction["map_stride"])
    if "features" in prediction:
        prediction["features"] = prediction["features"].float()
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
        prediction: Sequence[AnyPrediction],
        batch_indices: Sequence[int] | None,
        batch: Any,
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
class Samples(Protocol):
    """A data set of frames or volumes of which it is known what an index means."""

    @property
    def records(self) -> Sequence[Record]:
        """What is known of each."""
        ...

    def __getitem__(self, index: int) -> Any:
        """Reads one."""
        ...


class RunPredictions:
    """The samples of a run with its stored predictions.

    Args:
        dataset: the frames or volumes in evaluation form, each marked with its split.
        folder: where the predictions lie.
        run: name of the run.
        data_set: name of the data set, as reports call it.
    """

    def __init__(self, *, dataset: Samples, folder: Path, run: str, data_set: str) -> None:
        self.dataset = dataset
        self.folder = folder
        self.run = run
        self.data_set = data_set

    def pairs(self, splits: Collection[str], sample_splits: Collection[str] = ()) -> Iterator[tuple[Any, Any]]:
        """Streams some splits: samples with their predictions.

        Args:
            splits: splits that come with their predictions.
            sample_splits: splits that come with None.
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
        splits: splits that come with their predictions.
        sample_splits: splits that come with None.
    """

    def __init__(
        self, streams: Sequence[RunPredictions], *, splits: Collection[str], sample_splits: Collection[str] = ()
    ) -> None:
        self.streams = tuple(streams)
        self.splits = splits
        self.sample_splits = sample_splits

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
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


def _array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value  # of mixed precision; NumPy has no such type
    return np.asarray(value)
