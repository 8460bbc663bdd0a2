"""New frames as samples: prepared as the run's evaluation prepares its frames, without annotations."""

from pathlib import Path
from typing import NamedTuple

from anatomark.data.frames import FrameRecord, Pixels, to_grey, to_sample
from anatomark.data.media import Media
from anatomark.data.original import mark_corners
from anatomark.data.polar import fitted_frustum
from anatomark.data.transforms import CropToBox, Transform
from anatomark.types import AnatomarkError, Frustum, Sample


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


class SampleMaker:
    """Makes samples of frames of which nothing is known, with their corners marked.

    Args:
        transform: of the run's evaluation.
        frustum: "annotated" for frames without sector; "estimate" fits one to the first frame of every file, for all of
            its frames.

    Raises:
        AnatomarkError: the transform needs annotations, or ``frustum`` is another word.
    """

    def __init__(self, *, transform: Transform, frustum: str) -> None:
        if frustum not in ("annotated", "estimate"):
            raise AnatomarkError(f"data.frustum is {frustum}; it must be annotated or estimate")
        _check_unannotated(transform)
        self.transform = transform
        self.frustum = frustum
        self._fitted: tuple[Path, Frustum] | None = None

    def __call__(self, frame: Frame) -> Sample:
        """Makes one sample; the frames of a file come one after another.

        Raises:
            AnatomarkError: no sector fits the frame, or the transform refuses it.
        """
        file = frame.media
        key = file.path.name if file.n_frames == 1 else f"{file.path.name}, {frame.number}"
        record = FrameRecord(key=key, subject=file.path.name, file=file.path, spacing_mm=file.spacing_mm)
        sample = to_sample(record, to_grey(frame.pixels))
        if self.frustum == "estimate":
            # A fit takes longer than a prediction, and a recording seldom changes its depth.
            if self._fitted is None or self._fitted[0] != file.path:
                self._fitted = (file.path, fitted_frustum(sample))
            sample["frustum"] = self._fitted[1]
        return self.transform(mark_corners(sample))


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
