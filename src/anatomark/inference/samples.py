"""New frames as samples: prepared as the run's evaluation prepares its frames, without annotations."""

from typing import NamedTuple

from anatomark.data.frames import FrameRecord, to_sample
from anatomark.data.media import Media
from anatomark.data.original import mark_corners
from anatomark.data.pixels import Pixels, to_grey
from anatomark.data.transforms import CropToBox, Transform
from anatomark.inference.sectors import SectorTracker
from anatomark.types import AnatomarkError, Sample


class Frame(NamedTuple):
    """A frame of a file.

    Attributes:
        media: the file.
        number: of the frame in it, from 0.
        pixels: as it came.
    """

    media: Media
    number: int
    pixels: Pixels


class Prepared(NamedTuple):
    """A frame as the model shall see it.

    Attributes:
        sample: the frame after the transform.
        sector_quality: how well the sector fits that was found in it; None where none was looked for.
    """

    sample: Sample
    sector_quality: float | None


class SampleMaker:
    """Makes samples of frames of which nothing is known, with their corners marked.

    Args:
        transform: of the run's evaluation.
        frustum: "annotated" for frames without sector; "estimate" fits one to every image and follows that of a
            recording, see :class:`~anatomark.inference.sectors.SectorTracker`.

    Raises:
        AnatomarkError: the transform needs annotations, or ``frustum`` is another word.
    """

    def __init__(self, *, transform: Transform, frustum: str) -> None:
        if frustum not in ("annotated", "estimate"):
            raise AnatomarkError(f"data.frustum is {frustum}; it must be annotated or estimate")
        _check_unannotated(transform)
        self._transform = transform
        self._sectors = SectorTracker() if frustum == "estimate" else None

    def __call__(self, frame: Frame) -> Prepared:
        """Makes one sample; the frames of a file come one after another.

        Raises:
            AnatomarkError: no sector fits any frame of the file, or the transform refuses this one.
        """
        file = frame.media
        key = file.path.name if file.n_frames == 1 else f"{file.path.name}, {frame.number}"
        record = FrameRecord(key=key, subject=file.path.name, file=file.path, spacing_mm=file.spacing_mm)
        sample, quality = to_sample(record, to_grey(frame.pixels)), None
        if self._sectors is not None:
            sample["frustum"], quality = self._sectors(file, sample["image"])
        return Prepared(self._transform(mark_corners(sample)), quality)


def _check_unannotated(transform: object) -> None:
    """Refuses a transform that needs annotations.

    Raises:
        AnatomarkError: it crops to an annotated box.
    """
    if isinstance(transform, CropToBox):
        raise AnatomarkError(
            f"the run crops frames to their annotated box {transform.name!r}, which new frames do not have; crop them"
            " beforehand, and give data.eval_transform= without its CropToBox step"
        )
    for step in getattr(transform, "steps", ()):
        _check_unannotated(step)
