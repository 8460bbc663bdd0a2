"""Media: files of one or many frames without annotations, read one frame at a time.

Images are PNG, JPEG, BMP and TIFF (all pages), DICOM files single and multi-frame, videos MP4, MOV and AVI. A DICOM
file may lack a suffix, as on many a scanner's disc.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import imageio.v3 as iio
import numpy as np
from PIL import Image

from anatomark.data.dicom import DicomFile, is_dicom
from anatomark.data.frames import Pixels, readable, to_8_bits
from anatomark.data.video import VideoFile
from anatomark.types import AnatomarkError

IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
STACKS = (".tif", ".tiff")
DICOMS = (".dcm", ".dicom", ".ima")
VIDEOS = (".mp4", ".m4v", ".mov", ".avi")
KNOWN = f"images ({', '.join(IMAGES + STACKS)}), DICOM ({', '.join(DICOMS)}) or videos ({', '.join(VIDEOS)})"


@runtime_checkable
class Media(Protocol):
    """A file of frames.

    Attributes:
        path: the file.
        n_frames: how many it says it holds; 0 where it does not say.
        spacing_mm: pixel size (x, y), where the file says it.
    """

    path: Path
    n_frames: int
    spacing_mm: tuple[float, float] | None

    def frames(self) -> Iterator[Pixels]:
        """Reads its frames one by one.

        Raises:
            AnatomarkError: the file is damaged, or ends early; names file and frame.
        """


class ImageFile:
    """An image, or the pages of a TIFF file.

    Args:
        path: the file.

    Raises:
        AnatomarkError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spacing_mm: tuple[float, float] | None = None
        with readable(path), Image.open(path) as image:
            # Cameras add previews to other images.
            self.n_frames = int(getattr(image, "n_frames", 1)) if path.suffix.lower() in STACKS else 1

    def frames(self) -> Iterator[Pixels]:
        with readable(self.path), iio.imopen(self.path, "r", plugin="pillow") as file:
            for index in range(self.n_frames):
                yield to_8_bits(np.asarray(file.read(index=index)), self.path)


def find_media(source: Path) -> list[Path]:
    """The files that an input names, in order: itself, or the images, DICOM files and videos of a folder.

    Hidden files and files of other kinds, such as tables, are left out of a folder.

    Raises:
        AnatomarkError: the input does not exist, is of another kind, or is a folder without any.
    """
    if source.is_dir():
        found = [path for path in sorted(source.iterdir()) if not path.name.startswith(".") and _is_media(path)]
        if not found:
            raise AnatomarkError(f"{source} holds no frames; give a folder with {KNOWN}")
        return found
    if not source.is_file():
        raise AnatomarkError(f"{source} does not exist; give input= a file or a folder with {KNOWN}")
    if not _is_media(source):
        raise AnatomarkError(f"{source}: frames are not read from {source.suffix or 'such'} files; give {KNOWN}")
    return [source]


def open_media(path: Path) -> Media:
    """Reads the head of a file.

    Raises:
        AnatomarkError: it cannot be read, or is a video and the ``video`` extra is not installed.
    """
    suffix = path.suffix.lower()
    if suffix in VIDEOS:
        return VideoFile(path)
    return ImageFile(path) if suffix in IMAGES + STACKS else DicomFile(path)


def name_media(paths: Sequence[Path]) -> dict[Path, str]:
    """A name for each file that can begin a file name: its stem, with the suffix where another file has that too."""
    stems = [path.stem.lower() for path in paths]
    return {path: path.stem if stems.count(path.stem.lower()) == 1 else path.name for path in paths}


def _is_media(path: Path) -> bool:
    return path.is_file() and (path.suffix.lower() in IMAGES + STACKS + DICOMS + VIDEOS or is_dicom(path))
