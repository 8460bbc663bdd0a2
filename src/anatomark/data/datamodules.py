"""Lightning data modules: a source of records, a subject-disjoint split, transforms and loaders."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, RandomSampler, Sampler

from anatomark.data.classes import check_classes, check_labels, check_names
from anatomark.data.frames import FrameDataset, FrameRecord, FrameSource
from anatomark.data.loaders import make_loader
from anatomark.data.packed_records import PackedRecords
from anatomark.data.samplers import in_order
from anatomark.data.sectors import add_sectors
from anatomark.data.splits import check_disjoint, split_records
from anatomark.data.training_gaze import check_gaze, shuffle_gaze
from anatomark.data.transforms import Transform
from anatomark.types import AnatomarkError, Batch, Sample

Sampling = Callable[[Sequence[FrameRecord]], Sampler[int]]
"""Makes the sampler of an epoch's training frames."""


class FrameDataModule(pl.LightningDataModule):
    """Frames of one source, split by subject.

    Args:
        root: folder of the data set.
        source: makes the source of the frames from ``root``.
        train_transform: applied to training frames.
        eval_transform: applied to all other frames, and to training frames that an evaluator asks for.
        batch_size: frames per batch.
        fold: the fold that is the test set.
        n_folds: folds the subjects are divided into.
        val_fraction: share of the remaining subjects that validate; 0 for none.
        split_seed: seed of the division, independent of the training seed so that runs share their folds.
        single_viewing: train on one random viewing of a frame at a time instead of all viewings together.
        classes: class names, whose indices are the labels; empty for no labels.
        sampling: draws the training frames, see :mod:`~anatomark.data.samplers`; None: every frame once per epoch.
        allow_missing_gaze: train on frames and clips whose gaze is missing too.
        shuffle_gaze: give every training frame the gaze of another one, for an ablation. Evaluators that ask for
            training frames get their own gaze.
        frustum: where the sector of a frame comes from that is made polar: "annotated" knows those of the data set,
            "estimate" fits the others to their images at the start and refuses poor fits.
        masked_only: leave out frames without a mask, which a segmenter cannot learn from; after the split, so that the
            folds stay as they are.
        cache: keep decoded frames in memory.
        num_workers: loader processes.
        pin_memory: page-locked batches, for GPUs.
    """

    def __init__(
        self,
        *,
        root: str | Path,
        source: Callable[..., FrameSource],
        train_transform: Transform,
        eval_transform: Transform,
        batch_size: int = 32,
        fold: int = 0,
        n_folds: int = 5,
        val_fraction: float = 0.2,
        split_seed: int = 0,
        single_viewing: bool = False,
        classes: Sequence[str] = (),
        sampling: Sampling | None = None,
        allow_missing_gaze: bool = False,
        shuffle_gaze: bool = False,
        frustum: str = "annotated",
        masked_only: bool = False,
        cache: bool = False,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__()
        check_batch_size(batch_size)
        if num_workers < 0:
            raise AnatomarkError(f"data.num_workers is {num_workers}; it must be 0 (no workers) or more")
        if frustum not in ("annotated", "estimate"):
            raise AnatomarkError(f"data.frustum is {frustum}; it must be annotated or estimate")
        check_names(classes)
        self.source = source(root=Path(root))
        self.train_transform = train_transform
        self.eval_transform = eval_transform
        self.batch_size = batch_size
        self.split = {"fold": fold, "n_folds": n_folds, "val_fraction": val_fraction, "seed": split_seed}
        self.single_viewing = single_viewing
        self.classes = tuple(classes)
        self.sampling = sampling
        self.allow_missing_gaze = allow_missing_gaze
        self.shuffle_gaze = shuffle_gaze
        self.estimate_frusta = frustum == "estimate"
        self.masked_only = masked_only
        self.cache = cache
        self.loader_options: dict[str, Any] = {
            "num_workers": num_workers,
            "pin_memory": pin_memory,
            "persistent_workers": cache and num_workers > 0,  # the frames they keep would end with them every epoch
        }
        self.records: dict[str, Sequence[FrameRecord]] = {}
        self.predict_splits: Sequence[str] = ("test",)

    def setup(self, stage: str | None = None) -> None:
        if not self.records:
            every = self.source()
            check_labels(every, self.classes)
            records = split_records(every, **self.split)  # type: ignore[arg-type]
            check_disjoint(records)
            if all(record.split is None for record in every):
                check_classes(records["test"], self.classes, where=f"test split of fold {self.split['fold']}")
            if self.masked_only:
                records = self._masked(records)
            if self.estimate_frusta:
                records = add_sectors(records, workers=self.loader_options["num_workers"])
            self.records = {split: PackedRecords(part) for split, part in records.items()}

    def train_dataloader(self) -> DataLoader[Sample]:
        records = self._training_records()
        dataset = FrameDataset(
            records,
            transform=self.train_transform,
            classes=self.classes,
            cache=self.cache,
            single_viewing=self.single_viewing,
        )
        sampler = RandomSampler(dataset) if self.sampling is None else self.sampling(records)
        # A small last batch would weigh as much as a full one and have poor batch statistics.
        return self._loader(dataset, sampler=sampler, drop_last=len(sampler) > self.batch_size)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Sample] | list[Any]:
        return self._evaluation_loader(["val"]) if self.records["val"] else []

    def test_dataloader(self) -> DataLoader[Sample]:
        return self._evaluation_loader(["test"])

    def predict_dataloader(self) -> DataLoader[Sample]:
        return self._evaluation_loader(self.predict_splits)

    def evaluation_dataset(self, splits: Sequence[str]) -> FrameDataset:
        """The frames of some of "train", "val" and "test" without augmentation, in order."""
        parts = [self.records[split] for split in splits]
        records = parts[0] if len(parts) == 1 else [record for part in parts for record in part]
        return FrameDataset(
            records,
            transform=self.eval_transform,
            classes=self.classes,
            cache=self.cache,
        )

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Moves the stacked tensors; the samples themselves stay where they are."""
        # Only CUDA orders what follows after a copy that is still under way.
        started = device.type == "cuda"
        moved = {
            key: value.to(device, non_blocking=started) if isinstance(value, Tensor) else value
            for key, value in batch.items()
        }
        return cast(Batch, moved)

    def _masked(self, records: dict[str, list[FrameRecord]]) -> dict[str, list[FrameRecord]]:
        masked = {split: [record for record in part if record.mask is not None] for split, part in records.items()}
        if not any(masked.values()):
            raise AnatomarkError(
                f"no frame of {self.source.name} has a mask; add masks, or set data.masked_only=false where the model"
                " can do without"
            )
        return masked

    def _training_records(self) -> Sequence[FrameRecord]:
        records = self.records["train"]
        if not records:
            raise AnatomarkError(
                f"{self.source.name} has no training frames, only others to evaluate models on; train on another data"
                " set"
            )
        check_classes(records, self.classes, where=f"training split of fold {self.split['fold']}")
        if not self.allow_missing_gaze:
            check_gaze(records)
        return shuffle_gaze(records, seed=int(self.split["seed"])) if self.shuffle_gaze else records

    def _evaluation_loader(self, splits: Sequence[str]) -> DataLoader[Sample]:
        dataset = self.evaluation_dataset(splits)
        return self._loader(dataset, sampler=in_order(dataset))

    def _loader(self, dataset: FrameDataset, **options: Any) -> DataLoader[Sample]:
        return make_loader(dataset, batch_size=self.batch_size, collate_fn=collate, **options, **self.loader_options)


def check_batch_size(batch_size: Any) -> None:
    """Refuses what is no number of frames.

    Raises:
        AnatomarkError: it is none.
    """
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise AnatomarkError(f"data.batch_size is {batch_size}; it must be a whole number of at least 1")


def collate(samples: list[Sample]) -> Batch:
    """Stacks samples of equal image size into a batch; classes and masks only where every sample has one.

    A frame without gaze gets fixations of zero duration, which carry no weight.

    Raises:
        AnatomarkError: image sizes differ.
    """
    first = samples[0]
    for sample in samples:
        if sample["image"].shape != first["image"].shape:
            mine, others = tuple(sample["image"].shape), tuple(first["image"].shape)
            raise AnatomarkError(
                f"frame {sample['key']} is {mine} and {first['key']} {others} after the transforms;"
                " end them with a Fit step"
            )
    gaze = [sample.get("fixations", torch.zeros(0, 3)) for sample in samples]
    batch: Batch = {
        "samples": samples,
        "image": torch.stack([sample["image"] for sample in samples]),
        "fixations": pad_sequence(gaze, batch_first=True),
        "has_gaze": torch.tensor(["fixations" in sample for sample in samples]),
    }
    if all("label" in sample for sample in samples):
        batch["label"] = torch.tensor([sample["label"] for sample in samples])
    if all("present" in sample for sample in samples):
        batch["present"] = torch.stack([sample["present"] for sample in samples])
    if all("mask" in sample for sample in samples):
        batch["mask"] = torch.stack([sample["mask"] for sample in samples])
    return batch
