"""Lightning data module of one-shot learning: slices of one reference volume, and whole volumes to predict."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader

from anatomark.data.scattering import Scattering
from anatomark.data.slice_draws import (
    DrawDataset,
    RandomSeeds,
    ResidentVolume,
    SliceDraw,
    SliceDrawing,
    as_batch,
    upright_patch,
)
from anatomark.data.volume_records import VolumeDataset, VolumeReader, VolumeRecord, VolumeSource
from anatomark.data.volume_splits import split_volumes
from anatomark.types import AnatomarkError, Batch
from anatomark.volume_types import VolumeBatch, VolumeSample

SliceTransform = Callable[[Float[Tensor, "b 1 h w"]], Float[Tensor, "b 1 h w"]]


class VolumeDataModule(pl.LightningDataModule):
    """Trains on random oblique slices of one annotated volume and validates on those of another (Wang et al. 2021).

    The slices of training are new in every epoch. Those of validation and of the test are fixed, of the validation
    volume in both: targets have no mask. Poses are about the axes of the reference also there, as in the search,
    whatever the order in which the validation volume is stored.

    Args:
        root: folder of the data set.
        source: makes the source of the volumes from ``root``.
        window: intensities that become 0 and 1, HU in CT; what lies beyond is clipped.
        reference: id of the annotated volume; null with ``validation``: the data set says which volumes they are.
        validation: id of the validation volume; all others are targets.
        spacing_mm: edge of the voxels that networks see.
        outside: value around a volume, once scaled; 0 for air.
        mask: "drawn", or "hull" to learn the convex hull of the mask.
        scattering: puts targets anywhere, to test what finds structures in them; None leaves them where they are.
        patch_size: side of a slice, voxels.
        translation: patches are shifted by up to so many voxels along each axis.
        rotation: and turned by up to so many degrees about each; "full" for any rotation.
        scale: and made larger or smaller by up to this share; not in validation.
        batch_size: slices per batch.
        steps: batches per epoch; 9 of 32 are the 300 slices of one of the paper's rounds.
        validation_steps: batches that validate.
        augmentation: applied to training slices, not to their masks.
    """

    def __init__(
        self,
        *,
        root: str | Path,
        source: Callable[..., VolumeSource],
        window: Sequence[float],
        reference: str | None = None,
        validation: str | None = None,
        spacing_mm: float = 0.25,
        outside: float = 0.0,
        mask: str = "drawn",
        scattering: Scattering | None = None,
        patch_size: int = 100,
        translation: float = 10.0,
        rotation: float | str = 20.0,
        scale: float = 0.0,
        batch_size: int = 32,
        steps: int = 9,
        validation_steps: int = 9,
        augmentation: SliceTransform | None = None,
    ) -> None:
        super().__init__()
        if len(window) != 2:
            raise AnatomarkError(f"data.window is {list(window)}; give two intensities, the lower one first")
        if not 0 <= outside <= 1:
            raise AnatomarkError(f"data.outside is {outside}; it must lie between 0 and 1, the ends of data.window")
        for name, number in (("steps", steps), ("validation_steps", validation_steps)):
            if number < 1:
                raise AnatomarkError(f"data.{name} is {number}; it must be at least 1")
        self.source = source(root=Path(root))
        self.reader = VolumeReader(
            spacing_mm=spacing_mm, window=(window[0], window[1]), mask=mask, scattering=scattering, outside=outside
        )
        self.reference = reference
        self.validation = validation
        self.outside = outside
        self.patch_size = patch_size
        self.steps = steps
        self.validation_steps = validation_steps
        self.augmentation = augmentation
        plain = partial(
            SliceDrawing, patch_size=patch_size, translation=translation, rotation=rotation, batch_size=batch_size
        )
        self.drawing = {"train": plain(scale=scale), "val": plain()}
        self.records: dict[str, list[VolumeRecord]] = {}
        self.predict_splits: Sequence[str] = ("test",)
        self._resident: dict[str, ResidentVolume] = {}

    def setup(self, stage: str | None = None) -> None:
        if self.records:
            return
        records = split_volumes(self.source(), reference=self.reference, validation=self.validation)
        for split in ("train", "val"):
            (record,) = records[split]
            sample = self.reader(record)
            _require_room(record, sample, self.patch_size)
            self._resident[split] = ResidentVolume(sample, patch_size=self.patch_size, outside=self.outside)
        self._require_different(records)
        self.records = records

    def train_dataloader(self) -> DataLoader[SliceDraw]:
        return self._slices("train", RandomSeeds(self.steps), self.steps)

    def val_dataloader(self) -> DataLoader[SliceDraw]:
        return self._slices("val", range(self.validation_steps), self.validation_steps)

    def test_dataloader(self) -> DataLoader[SliceDraw]:
        n = self.validation_steps
        return self._slices("val", range(n, 2 * n), n)

    def predict_dataloader(self) -> DataLoader[VolumeSample]:
        """One volume at a time, each with the reference."""
        collate = partial(_with_reference, reference=self._resident["train"].sample)
        return DataLoader(self.evaluation_dataset(self.predict_splits), batch_size=1, collate_fn=collate)

    def evaluation_dataset(self, splits: Sequence[str]) -> VolumeDataset:
        """The volumes of some of "train", "val" and "test", in order."""
        return VolumeDataset([record for split in splits for record in self.records[split]], reader=self.reader)

    def transfer_batch_to_device(
        self, batch: SliceDraw | VolumeBatch, device: torch.device, dataloader_idx: int
    ) -> Batch | VolumeBatch:
        """Cuts slices of the volume that is resident on the device; whole volumes stay where they are."""
        if not isinstance(batch, SliceDraw):
            return batch
        resident = self._resident[batch.split]
        image, mask = resident.cut(batch, device)
        if self.augmentation is not None and batch.split == "train":
            image = self.augmentation(image)
        return as_batch(batch, image, mask, resident.sample)

    def _slices(self, split: str, seeds: Iterable[int], n_batches: int) -> DataLoader[SliceDraw]:
        own, reference = (self._resident[name].sample["mask"] for name in (split, "train"))
        upright = upright_patch(own, reference.geometry)
        dataset = DrawDataset(split=split, upright=upright, drawing=self.drawing[split], n_batches=n_batches)
        return DataLoader(dataset, sampler=seeds, batch_size=None)

    def _require_different(self, records: dict[str, list[VolumeRecord]]) -> None:
        """Refuses a validation volume that is a copy of the reference."""
        first, second = (self._resident[split].sample["original"].voxels for split in ("train", "val"))
        if torch.equal(first, second):
            raise AnatomarkError(
                f"{records['train'][0].file} and {records['val'][0].file} hold the same voxels; validate on another"
                " volume than the reference"
            )


def _with_reference(samples: list[VolumeSample], *, reference: VolumeSample) -> VolumeBatch:
    return {"volumes": samples, "reference": reference}


def _require_room(record: VolumeRecord, sample: VolumeSample, patch_size: int) -> None:
    """Refuses patches that are smaller than the structure, of which they would never show all."""
    inside = (sample["mask"].voxels > 0).nonzero()
    extent = int((inside.amax(0) - inside.amin(0)).max()) + 1
    if extent > patch_size:
        spacing_mm = sample["volume"].geometry.spacing_mm[0]
        raise AnatomarkError(
            f"{record.mask}: the structure is {extent * spacing_mm:g} mm long and a patch {patch_size * spacing_mm:g};"
            f" set data.patch_size to at least {extent} or data.spacing_mm higher"
        )
