"""DICOM files of one or many frames, as 8-bit pixels."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Shaped

from anatomark.data.pixels import Pixels
from anatomark.types import AnatomarkError

_MAGIC, _MAGIC_AT = b"DICM", 128
_PHOTOMETRIC, _PIXEL_SPACING, _WINDOW_CENTRE, _WINDOW_WIDTH = "0028|0004", "0028|0030", "0028|1050", "0028|1051"


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do, whatever its name."""
    with path.open("rb") as file:
        return file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC


class DicomFile:
    """A DICOM image, compressed or not, in grey or in colour.

    Colour becomes RGB and MONOCHROME1 is inverted, so that bright is bright. Grey values of more than 8 bits are
    reduced by the file's window, or without one from its darkest to its brightest pixel. The pixel size is that of
    the Pixel Spacing attribute; calibrations of an ultrasound file's regions are not read.

    Args:
        path: the file.

    Raises:
        AnatomarkError: it cannot be read, or holds no pixel data.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = sitk.ImageFileReader()
        self._reader.SetImageIO("GDCMImageIO")
        self._reader.SetFileName(str(path))
        with _decodable(path):
            self._reader.ReadImageInformation()
        self.n_frames = self._reader.GetSize()[2] if self._reader.GetDimension() > 2 else 1
        spacing_x, spacing_y = self._reader.GetSpacing()[:2]
        # Without it the reader says 1 mm.
        self.spacing_mm = (spacing_x, spacing_y) if self._reader.HasMetaDataKey(_PIXEL_SPACING) else None

    def frames(self) -> Iterator[Pixels]:
        with _decodable(self.path):
            image = self._reader.Execute()
        # The decoder has no way to stop between frames: the pixels of one file are held at a time.
        values = sitk.GetArrayViewFromImage(image)
        values = values.reshape(self.n_frames, image.GetHeight(), image.GetWidth(), -1)
        low, high = self._range(values)
        for frame in values:
            if values.dtype == np.uint8:
                yield np.array(frame)
            else:
                grey = (frame.astype(np.float64) - low) * (255 / (high - low))
                yield np.round(grey.clip(0, 255)).astype(np.uint8)

    def _range(self, values: Shaped[np.ndarray, "n h w c"]) -> tuple[float, float]:
        """The values of black and white."""
        width = self._number(_WINDOW_WIDTH)
        centre = self._number(_WINDOW_CENTRE)
        # The window of an inverted image is one of the values before they were.
        inverted = self._reader.GetMetaData(_PHOTOMETRIC).strip() == "MONOCHROME1"
        if width is not None and centre is not None and width > 1 and not inverted:
            low = centre - 0.5 - (width - 1) / 2  # DICOM PS3.3, C.11.2.1.2.1
            return low, low + width - 1
        low, high = float(values.min()), float(values.max())
        return low, high if high > low else low + 1

    def _number(self, key: str) -> float | None:
        """The first value of an attribute, of which there may be several."""
        if not self._reader.HasMetaDataKey(key):
            return None
        try:
            return float(self._reader.GetMetaData(key).split("\\")[0])
        except ValueError:
            return None


@contextmanager
def _decodable(path: Path) -> Iterator[None]:
    """Says in one line what the reader's exceptions mean."""
    try:
        yield
    except RuntimeError as error:
        raise AnatomarkError(
            f"{path}: no DICOM file with readable pixel data; it holds none, or is damaged: export it again"
        ) from error
