"""Frames: what is known of a frame before it is read, and the data set that reads it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import Dataset

from anatomark.data.packed_records import PackedRecords
from anatomark.data.pixels import GreyImage, read_image, to_8_bits, to_grey, to_tensor
from anatomark.data.transforms import Transform
from anatomark.types import AnatomarkError, Ellipse, Frustum, Sample

Mask = Bool[np.ndarray, "h w"]
MaskReader = Callable[[tuple[int, int]], Mask]
"""Reads the mask of a frame of this (width, height); see :mod:`~anatomark.data.frame_masks`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameRecord:
    """Everything about a frame but its pixels; coordinates in px of the file.

    Attributes:
        key: unique id.
        subject: id of the person scanned.
        file: image file.
        split: "train", "val" or "test" where the data set fixes it or a split has been made.
        plane: standard plane or view.
        label: name of the class, of the main one where the frame shows several.
        also: names of the other classes it shows.
        clip: id of the video the frame is of.
        spacing_mm: pixel size (x, y).
        size: (width, height) the annotations refer to, checked when the image is read.
        viewings: gaze of each viewing of the frame, rows (x px, y px, duration ms).
        points: centres, name -> (x, y).
        boxes: name -> (x0, y0, x1, y1).
        ellipse: head outline.
        frustum: sector geometry.
        mask: reads the structure to segment.
    """

    key: str
    subject: str
    file: Path
    split: str | None = None
    plane: str | None = None
    label: str | None = None
    also: tuple[str, ...] = ()
    clip: str | None = None
    spacing_mm: tuple[float, float] | None = None
    size: tuple[int, int] | None = None
    viewings: tuple[Float[Tensor, "_ 3"], ...] = ()
    points: Mapping[str, Float[Tensor, "2"]] = field(default_factory=dict)
    boxes: Mapping[str, Float[Tensor, "4"]] = field(default_factory=dict)
    ellipse: Ellipse | None = None
    frustum: Frustum | None = None
    mask: MaskReader | None = None


@runtime_checkable
class FrameSource(Protocol):
    """A data set in the layout it is downloaded in.

    Attributes:
        name: what reports call it; says "phantom" or "simulated gaze" where that is so.
    """

    name: str

    def __call__(self) -> list[FrameRecord]:
        """All frames.

        Raises:
            AnatomarkError: the files are not what they should be.
        """


class FrameDataset(Dataset[Sample]):
    """Reads frames as samples.

    Args:
        records: the frames.
        transform: applied to each sample.
        classes: class names, whose indices are the labels; empty for no labels.
        single_viewing: give one random viewing of a frame's gaze instead of all together.
        cache: keep decoded frames in memory, one byte per pixel, and as much for each mask.
    """

    def __init__(
        self,
        records: Sequence[FrameRecord],
        *,
        transform: Transform | None = None,
        classes: Sequence[str] = (),
        single_viewing: bool = False,
        cache: bool = False,
    ) -> None:
        self.records = records if isinstance(records, PackedRecords) else PackedRecords(records)
        self.transform = transform
        self.classes = tuple(classes)
        self.single_viewing = single_viewing
        self._cached: dict[int, tuple[GreyImage, Mask | None]] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        image, mask = self._decoded(index, record)
        sample = to_sample(record, image, mask=mask, classes=self.classes, single_viewing=self.single_viewing)
        return sample if self.transform is None else self.transform(sample)

    def _decoded(self, index: int, record: FrameRecord) -> tuple[GreyImage, Mask | None]:
        kept = {} if self._cached is None else self._cached
        if index not in kept:
            image = read_grey(record)
            kept[index] = image, None if record.mask is None else record.mask((image.shape[1], image.shape[0]))
        return kept[index]


def read_grey(record: FrameRecord) -> GreyImage:
    """Reads a frame as :func:`to_grey` of :func:`to_8_bits`.

    Raises:
        AnatomarkError: the file cannot be read, is no grey or RGB image of 8 or 16 bits, or has another size
            than its annotations.
    """
    pixels = to_8_bits(read_image(record.file), record.file)
    if record.size is not None and pixels.shape[1::-1] != record.size:
        found, expected = (f"{w} x {h}" for w, h in (pixels.shape[1::-1], record.size))
        raise AnatomarkError(
            f"{record.file} is {found} px but its annotations are made for {expected}; correct one of them"
        )
    return to_grey(pixels)


def to_sample(
    record: FrameRecord,
    image: GreyImage,
    *,
    mask: Mask | None = None,
    classes: Sequence[str] = (),
    single_viewing: bool = False,
) -> Sample:
    """Joins a record with its pixels."""
    sample: Sample = {
        "key": record.key,
        "subject": record.subject,
        "image": to_tensor(image),
        "spacing_mm": torch.tensor(record.spacing_mm or (torch.nan, torch.nan)),
    }
    if record.split is not None:
        sample["split"] = record.split
    if record.plane is not None:
        sample["plane"] = record.plane
    if classes and record.label is not None:
        sample["label"] = classes.index(record.label)
        sample["present"] = torch.tensor([name == record.label or name in record.also for name in classes])
    if record.viewings:
        chosen = int(torch.randint(len(record.viewings), ())) if single_viewing else slice(None)
        sample["fixations"] = record.viewings[chosen] if isinstance(chosen, int) else torch.cat(record.viewings)
    if record.points:
        sample["points"] = dict(record.points)
    if record.boxes:
        sample["boxes"] = dict(record.boxes)
    if record.ellipse is not None:
        sample["ellipse"] = record.ellipse
    if record.frustum is not None:
        sample["frustum"] = record.frustum
    if mask is not None:
        sample["mask"] = torch.from_numpy(mask).float()[None]
    return sample
