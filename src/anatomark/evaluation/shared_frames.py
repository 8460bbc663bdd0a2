"""Frames that many runs test: read once for all rows of a table instead of once per row, fold and evaluator."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from anatomark.data.datamodules import FrameDataModule
from anatomark.data.frames import FrameDataset, FrameRecord
from anatomark.data.volume_datamodule import VolumeDataModule
from anatomark.data.volume_records import VolumeDataset
from anatomark.instantiation import instantiate
from anatomark.types import Sample

DataModule = FrameDataModule | VolumeDataModule

# Keys of a data configuration that change no sample in evaluation form.
_OF_TRAINING = (
    *("fold", "n_folds", "val_fraction", "split_seed", "batch_size", "num_workers", "pin_memory", "cache"),
    *("train_transform", "sampling", "single_viewing", "allow_missing_gaze", "shuffle_gaze"),
)


class KeptSamples:
    """The samples that were read last, as many as fit into some memory.

    Args:
        max_bytes: of all their tensors; 1 GiB holds 4,600 grey frames of 240 x 240 px. Polar ones, which bring the
            frame they were made of, are larger.
    """

    def __init__(self, *, max_bytes: int = 2**30) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[tuple[str, str], tuple[Sample, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[str, str], read: Callable[[], Sample]) -> Sample:
        """The sample of a key, read if it is not kept."""
        if key not in self._kept:
            sample = read()
            size = _tensor_bytes(sample)
            self._kept[key] = sample, size
            self._bytes += size
            while self._bytes > self.max_bytes and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1][1]
        self._kept.move_to_end(key)
        return self._kept[key][0]


def _tensor_bytes(value: object) -> int:
    """The memory of all tensors in a sample, at any depth."""
    if isinstance(value, Tensor):
        return value.nbytes
    return sum(map(_tensor_bytes, value.values())) if isinstance(value, Mapping) else 0


class SharedDataset:
    """A data set whose samples others may have read already.

    Args:
        dataset: reads what nobody has read.
        name: the same for data sets that read a frame alike.
        kept: shared with the others.
    """

    def __init__(self, dataset: FrameDataset, *, name: str, kept: KeptSamples) -> None:
        self.dataset = dataset
        self.name = name
        self.kept = kept

    @property
    def records(self) -> Sequence[FrameRecord]:
        return self.dataset.records

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        sample = self.kept.get((self.name, record.key), lambda: self.dataset[index]).copy()
        if record.split is not None:
            sample["split"] = record.split  # another one in another fold
        return sample


class SharedFrames:
    """Data modules by configuration, and the samples that they share."""

    def __init__(self) -> None:
        self._modules: dict[str, DataModule] = {}
        self._kept = KeptSamples()

    def module(self, data: DictConfig) -> DataModule:
        """The data module of a configuration, set up."""
        name = OmegaConf.to_yaml(data, resolve=True)
        if name not in self._modules:
            module: DataModule = instantiate(data)
            module.setup()
            self._modules[name] = module
        return self._modules[name]

    def dataset(self, data: DictConfig, splits: Sequence[str]) -> SharedDataset | VolumeDataset:
        """The frames of some splits in evaluation form; volumes, too large to be kept, are read for every row."""
        samples = self.module(data).evaluation_dataset(splits)
        if isinstance(samples, VolumeDataset):
            return samples
        values = OmegaConf.to_container(data, resolve=True)
        assert isinstance(values, dict)
        name = OmegaConf.to_yaml({key: value for key, value in values.items() if key not in _OF_TRAINING})
        return SharedDataset(samples, name=name, kept=self._kept)
