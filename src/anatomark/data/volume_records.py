"""Volumes: what is known of a volume before it is read, how it is made ready for networks, and the data set."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch.utils.data import Dataset

from anatomark.data.landmark_files import read_landmarks, require_inside, require_same_names
from anatomark.data.scattering import Scattering
from anatomark.data.volumes import read_mask, read_volume
from anatomark.geometry.hulls import convex_hull
from anatomark.geometry.resampling import resample_isotropic, resample_mask_isotropic
from anatomark.geometry.volumes import Volume, VolumeGeometry
from anatomark.types import AnatomarkError
from anatomark.volume_types import Landmarks, VolumeSample


@dataclass(frozen=True, kw_only=True)
class VolumeRecord:
    """Everything about a volume but its voxels.

    Attributes:
        key: unique id.
        subject: id of the person scanned.
        file: the volume, a file or the folder of a DICOM series.
        mask: mask of the structure of interest.
        landmarks: file of the annotated points.
        second_rater: file of the same points by somebody else.
        split: "train" (the reference), "val" or "test" where the data set fixes it or a split has been made.
    """

    key: str
    subject: str
    file: Path
    mask: Path | None = None
    landmarks: Path | None = None
    second_rater: Path | None = None
    split: str | None = None


@runtime_checkable
class VolumeSource(Protocol):
    """A data set of volumes in the layout it is downloaded in.

    Attributes:
        name: what reports call it; says "phantom" where that is so.
    """

    name: str

    def __call__(self) -> list[VolumeRecord]:
        """All volumes.

        Raises:
            AnatomarkError: the files are not what they should be.
        """


@dataclass(frozen=True, kw_only=True)
class VolumeReader:
    """Reads volumes the way networks see them.

    Attributes:
        spacing_mm: edge of the cubic voxels; Wang et al. 2021 use 0.25 mm.
        window: intensities that become 0 and 1, HU in CT; what lies beyond is clipped.
        mask: "drawn", or "hull" for the convex hull of the drawn mask, which a shell such as a skull is learnt by.
        scattering: puts targets anywhere, to test what finds structures in them.
        outside: value around a volume, once scaled.

    Raises:
        AnatomarkError: a value cannot be.
    """

    spacing_mm: float = 0.25
    window: tuple[float, float]
    mask: str = "drawn"
    scattering: Scattering | None = None
    outside: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.spacing_mm) and self.spacing_mm > 0):
            raise AnatomarkError(f"data.spacing_mm is {self.spacing_mm}; it must be finite and above 0")
        low, high = self.window
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise AnatomarkError(f"data.window is [{low}, {high}]; give two finite intensities, the lower one first")
        if self.mask not in ("drawn", "hull"):
            raise AnatomarkError(f"data.mask is {self.mask}; it must be drawn or hull")

    def __call__(self, record: VolumeRecord) -> VolumeSample:
        """Reads and checks a volume and its annotations.

        Raises:
            AnatomarkError: a file is missing or cannot be used; the mask lies in another frame, is empty or reaches
                the border of the volume; a landmark lies outside; the second rater's points have other names.
        """
        original = self._scaled(record)
        sample: VolumeSample = {
            "key": record.key,
            "subject": record.subject,
            "volume": original,
            "original": original,
            "split": record.split or "test",
        }
        if record.mask is not None:
            sample["mask"] = _whole_mask(record.mask, original.geometry)
        if record.landmarks is not None:
            sample["landmarks"] = _landmarks(record.landmarks, original.geometry)
        if record.second_rater is not None:
            sample["second_rater"] = _second_rater(record, sample, original.geometry)
        if self.scattering is not None and sample["split"] == "test":
            sample = self.scattering(sample, outside=self.outside)
        sample["volume"] = resample_isotropic(sample["original"], spacing_mm=self.spacing_mm)
        # Smoothing may exceed the window by rounding.
        sample["volume"].voxels.clamp_(0, 1)
        if "mask" in sample:
            sample["mask"] = self._resampled_mask(record, sample["mask"])
        return sample

    def _scaled(self, record: VolumeRecord) -> Volume:
        read = read_volume(record.file)
        low, high = self.window
        scaled = ((read.voxels - low) / (high - low)).clamp(0, 1)
        if scaled.min() == scaled.max():
            raise AnatomarkError(
                f"{record.file}: nothing is seen of its intensities, {read.voxels.min():g} to {read.voxels.max():g},"
                f" in the window from {low:g} to {high:g}; set data.window to the range that shows the structure"
            )
        return Volume(voxels=scaled, geometry=read.geometry)

    def _resampled_mask(self, record: VolumeRecord, drawn: Volume) -> Volume:
        try:
            if self.mask == "hull":
                drawn = Volume(voxels=convex_hull(drawn.voxels > 0).float(), geometry=drawn.geometry)
            return resample_mask_isotropic(drawn, spacing_mm=self.spacing_mm)
        except AnatomarkError as error:
            raise AnatomarkError(f"{record.mask}: {error}") from error


class VolumeDataset(Dataset[VolumeSample]):
    """Reads volumes as samples, each when it is asked for.

    Args:
        records: the volumes.
        reader: reads them.
    """

    def __init__(self, records: Sequence[VolumeRecord], *, reader: VolumeReader) -> None:
        self.records = tuple(records)
        self.reader = reader

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> VolumeSample:
        return self.reader(self.records[index])


def _whole_mask(path: Path, frame: VolumeGeometry) -> Volume:
    """Reads a mask and refuses a structure that reaches the outermost voxels: part of it may lie outside the volume.

    The hull of a mask reaches no further than the mask.
    """
    mask = read_mask(path, frame)
    inside = mask.voxels > 0
    for axis, name in enumerate("kji"):
        ends = inside.movedim(axis, 0)
        for end, side in ((0, "first"), (-1, "last")):
            if bool(ends[end].any()):
                raise AnatomarkError(
                    f"{path}: the structure reaches the {side} voxels along {name}: the volume may cut it off; give"
                    " a volume that holds all of it"
                )
    return mask


def _landmarks(path: Path, geometry: VolumeGeometry) -> Landmarks:
    landmarks = read_landmarks(path)
    require_inside(path, landmarks, geometry)
    return landmarks


def _second_rater(record: VolumeRecord, sample: VolumeSample, geometry: VolumeGeometry) -> Landmarks:
    assert record.second_rater is not None
    if record.landmarks is None:
        raise AnatomarkError(f"{record.second_rater}: volume {record.key} has no landmarks of a first rater; give them")
    second = _landmarks(record.second_rater, geometry)
    require_same_names(record.landmarks, sample["landmarks"], record.second_rater, second)
    return second
