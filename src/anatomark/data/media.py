"""Media: files of one or many frames without annotations, read one frame at a time.

Images are PNG, JPEG, BMP and TIFF (all pages), DICOM files single and multi-frame, videos MP4, MOV and AVI. A DICOM
file may lack a suffix, as on many a scanner's disc.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn, Protocol, runtime_checkable

import imageio.v3 as iio
from PIL import Image

from anatomark.data.dicom import DicomFile, is_dicom
from anatomark.data.pixels import PLUGIN, Pixels, read_page, readable, to_8_bits
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
        with readable(self.path), iio.imopen(self.path, "r", plugin=PLUGIN) as file:
            for index in range(self.n_frames):
                yield to_8_bits(read_page(file, index=index), self.path)


def find_media(source: Path) -> list[Path]:
    """The files that an input names, in order: itself, or the images, DICOM files and videos of a folder.

    A folder is searched with all below it, linked folders included. What is hidden, files of other kinds, such as
    tables, and DICOM directories are left out.

    Raises:
        AnatomarkError: the input does not exist, is of another kind, or is a folder without any or whose links go in
            circles.
        OSError: a folder cannot be read.
    """
    if source.is_dir():
        found = sorted(path for path in _visible_files(source) if _is_media(path))
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


def name_media(paths: Sequence[Path], root: Path) -> dict[Path, str]:
    """A name for each file that can begin the path of a picture: its path below ``root`` without the suffix, or with it
    where another file has the same without, is called so, or a folder is called as the picture would be."""
    taken = Counter(name for path in paths for name in {_folded(path), _folded(path.with_suffix(""))})
    folders = {folder for path in paths for folder in path.parents}
    taken.update(_folded(folder.with_suffix("")) for folder in folders if folder.suffix.lower() == ".png")
    names = {}
    for path in paths:
        alone = taken[_folded(path.with_suffix(""))] == 1
        names[path] = (path.with_suffix("") if alone else path).relative_to(root).as_posix()
    return names


def _folded(path: Path) -> str:
    """A path as file systems see it that tell no capitals from small letters."""
    return str(path).lower()


def _visible_files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_raise):
        here = Path(folder)
        if here != root and here.resolve() in (above.resolve() for above in here.parents):
            raise AnatomarkError(f"{here} leads back to a folder that holds it; remove the link")
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (here / name for name in files if not name.startswith("."))


def _raise(error: OSError) -> NoReturn:
    raise error


def _is_media(path: Path) -> bool:
    if not path.is_file() or path.name.upper() == "DICOMDIR":
        return False
    return path.suffix.lower() in IMAGES + STACKS + DICOMS + VIDEOS or is_dicom(path)
